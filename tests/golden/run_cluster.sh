#!/bin/sh
# Written by psweep_dask. Submits the jobs of this study to the machine 'cluster'.
# Those that were submitted before are passed over: started again, it goes on where it was stopped.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 1
refused=0

refuse() { # refuse COMMAND: tell that it failed, and give up after three in a row
    printf '%s\n' "$0: '$1' failed in $PWD; start this again to go on" >&2
    refused=$((refused + 1))
    [ "$refused" -lt 3 ] || exit 1
}

submit() { # submit PSET_ID
    cd -- "$here/$1" || exit 1
    [ ! -s submitted_cluster ] || return 0
    # A job that runs at once and fails was submitted all the same: it has left how it ended.
    if answer=$(sbatch --parsable jobscript_cluster </dev/null) || [ -s ended ]; then
        printf '%s\n' 'sbatch --parsable' "$answer" >submitted_cluster
        [ -z "$answer" ] || printf '%s\n' "$answer"
        refused=0
    else
        refuse 'sbatch --parsable'
    fi
}

# submit one  # run_seq=0
# submit two  # run_seq=0
# submit_array r a  # x
submit 6ba7b810-9dad-41d1-80b4-00c04fd430c8  # run_seq=1 pset_seq=6

[ "$refused" -eq 0 ]
