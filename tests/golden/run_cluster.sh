#!/bin/sh
# Written by psweep_dask. Submits the jobs of this study to the machine 'cluster'.
# Those that were submitted before are passed over: started again, it goes on where it was stopped.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
lock=$here/.run_cluster.lock
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
        [ "${array%_*}" != cluster ] || continue
        sed -n 's/^first=\([0-9]*\) count=\([0-9]*\) .*/\1 \2/p' "$note" |
            while read -r first count; do
                sed -n "$((first + 1)),$((first + count))p" "${note%.submitted}.psets"
            done
    done | cut -f 1 | grep -vx -- -
}
others=
for one in "$here"/run_*.sh; do
    [ "${one##*/}" = run_cluster.sh ] || others=yes
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

submit() { # submit PSET_ID
    cd -- "$here/$1" || {
        refused=$((refused + 1))
        return 0
    }
    if [ -s submitted_cluster ]; then
        before=$((before + 1))
        return 0
    fi
    if is_elsewhere "$1"; then
        elsewhere=$((elsewhere + 1))
        return 0
    fi
    code=0
    answer=$(sbatch --parsable jobscript_cluster </dev/null) || code=$?
    # A job that runs at once and fails was submitted all the same: it has left how it ended.
    if [ "$code" -eq 0 ] || [ -s ended ]; then
        printf '%s\n' 'sbatch --parsable' "slurm=$slurm" "$answer" >submitted_cluster
        [ -z "$answer" ] || printf '%s\n' "$answer"
        in_a_row=0
        new=$((new + 1))
        [ "$code" -eq 0 ] || failed=$((failed + 1))
    else
        refuse 'sbatch --parsable'" failed in $PWD"
    fi
}

# submit one  # run_seq=0
# submit two  # run_seq=0
# submit_array r a  # x
submit 6ba7b810-9dad-41d1-80b4-00c04fd430c8  # run_seq=1 pset_seq=6

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
