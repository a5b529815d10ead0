#!/bin/sh
# Written by psweep_dask. Submits the jobs of this study to the machine 'a\'; echo x $HOME \\ " é'.
# Those that were submitted before are passed over: started again, it goes on where it was stopped.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
lock=$here/'.run_a'"'"'; echo x $HOME \ " é.lock'
if ! mkdir "$lock" 2>/dev/null; then
    read -r pid host <"$lock/owner"
    if [ "$host" != "$(uname -n)" ] || kill -0 "$pid" 2>/dev/null; then
        printf '%s\n' "$0: process $pid on $host is at it already; if not, remove $lock" >&2
        exit 1
    fi
fi
printf '%s\n' "$$ $(uname -n)" >"$lock/owner"
trap 'rm -rf "$lock"' EXIT
trap 'exit 130' HUP INT TERM

# Names the SLURM that takes the jobs, so that no other one is asked for them.
slurm=$(scontrol show config 2>/dev/null | sed -n 's/^ClusterName *= *//p')
new=0
before=0
failed=0
refused=0
in_a_row=0
elsewhere=0

refuse() { # refuse WHAT: tell what did not work, and give up after three in a row
    printf '%s\n' "$0: $1; start this again to go on" >&2
    refused=$((refused + 1))
    in_a_row=$((in_a_row + 1))
    [ "$in_a_row" -lt 3 ] || exit 1
}

in_other_arrays() { # which psets are in job arrays of other machines
    for note in "$here"/runs/*/array_*.submitted; do
        array=${note##*/array_}
        [ -s "$note" ] || continue
        [ "${array%_*}" != 'a'"'"'; echo x $HOME \ " é' ] || continue
        sed -n 's/^first=\([0-9]*\) count=\([0-9]*\) .*/\1 \2/p' "$note" |
            while read -r first count; do
                sed -n "$((first + 1)),$((first + count))p" "${note%.submitted}.psets"
            done
    done | cut -f 1 | grep -vx -- -
}
others=
for one in "$here"/run_*.sh; do
    [ "${one##*/}" = 'run_a'"'"'; echo x $HOME \ " é.sh' ] || others=yes
done
others_have=
[ -z "$others" ] || others_have=$(in_other_arrays)

is_elsewhere() { # is_elsewhere PSET_ID: whether its job was submitted to another machine
    case $others_have in *"$1"*) return 0 ;; esac
    is_noted "$1"
}

is_noted() { # is_noted PSET_ID: whether its job was submitted as one of its own
    [ -n "$others" ] || return 1
    for note in "$here/$1"/submitted_*; do
        [ ! -s "$note" ] || return 0
    done
    return 1
}

submit_array() { # submit_array RUN_ID ARRAY: in parts, where the site allows no larger ones
    cd -- "$here/runs/$1" || exit 1
    most=$(scontrol show config 2>/dev/null | sed -n 's/^MaxArraySize *= *//p')
    count=$(($(wc -l <"$2.psets")))
    first=$(sed -n 's/^first=\([0-9]*\) count=\([0-9]*\) .*/\1 + \2/p' "$2.submitted" \
        2>/dev/null | tail -n 1)
    first=$((${first:-0}))
    before=$((before + first))
    while [ "$first" -lt "$count" ]; do
        part=$((count - first))
        [ "$part" -le "${most:-1001}" ] || part=${most:-1001}
        free=$(free_elements "$2.psets" "$first" "$part")
        number=$(printf '%s' "$free" | grep -c .)
        elsewhere=$((elsewhere + $(listed "$2.psets" "$first" "$part" | wc -l) - number))
        if [ "$number" -eq 0 ]; then
            first=$((first + part))
            continue
        fi
        elements=$(printf '%s\n' "$free" | ranges)
        if answer=$(sbatch "--array=$elements" "$2" "$here" "$PWD/$2.psets" "$first"); then
            printf '%s\n' "$answer"
            answer=$(printf '%s\n' "$answer" | tail -n 1)
            printf '%s\n' "first=$first count=$part slurm=$slurm $answer" >>"$2.submitted"
            first=$((first + part))
            in_a_row=0
            new=$((new + number))
        else
            refuse sbatch" failed in $PWD"
            return 0
        fi
    done
}

listed() { # listed LIST FIRST COUNT: numbers and psets of elements; - was prepared anew since
    sed -n "$(($2 + 1)),$(($2 + $3))p" "$1" | awk '$1 != "-" { print NR - 1, $1 }'
}

free_elements() { # free_elements LIST FIRST COUNT: the numbers of those that are not elsewhere
    {
        printf '%s\n.\n' "$others_have"
        listed "$@"
    } | awk 'all { if (!($2 in taken)) print } $1 == "." { all = 1 } !all { taken[$1] }' |
        while read -r index pset_id; do
            is_noted "$pset_id" || printf '%s\n' "$index"
        done
}

ranges() { # numbers as --array takes them, such as 0-2,5-5
    awk 'NR > 1 && $1 != last + 1 { printf "%d-%d,", first, last; first = $1 }
        NR == 1 { first = $1 }
        { last = $1 }
        END { printf "%d-%d", first, last }'
}

submit_array run-id 'array_a'"'"'; echo x $HOME \ " é_0'  # run_seq=1 pset_seq=7..9

if [ "$elsewhere" -ne 0 ]; then
    printf '%s\n' "$0: $elsewhere jobs were submitted to another machine before, and were left out"
fi
if [ "$failed" -ne 0 ]; then
    printf '%s\n' "$0: $failed of $new jobs have run and failed; psweep-dask collect tells why"
fi
if [ "$new$refused$elsewhere" = 000 ]; then
    printf '%s\n' "$0: nothing to submit; $before jobs were submitted before"
fi
if [ "$refused" -ne 0 ]; then
    printf '%s\n' "$0: not all was submitted ($refused failed); start this again to go on" >&2
    exit 1
fi
