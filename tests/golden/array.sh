#!/bin/sh
#SBATCH --time=5
#SBATCH "--comment=a b"
#SBATCH --job-name=psweep-6ba7b810
#SBATCH --output=/dev/null
# One element of a job array for each pset; written by psweep_dask. An element runs the job script
# of its pset in that pset's folder, as a job of its own would.
number=$(($3 + SLURM_ARRAY_TASK_ID + 1))
IFS='	' read -r pset_id input output error <<PSET || exit 1
$(sed -n "${number}p" "$2")
PSET
cd -- "$1/$pset_id" || exit 1
export SLURM_SUBMIT_DIR="$PWD"
fill_in() { # fill_in PATTERN: what sbatch makes of a file name, where %% is a percent sign
    node=${SLURMD_NODENAME:-$(uname -n)}
    printf '%s\n' "$1" | sed "s/%%/	/g; s/%[0-9]*[jA]/$SLURM_JOB_ID/g; s/%N/$node/g
        s/%u/$USER/g; s/	/%/g"
}
exec <"$(fill_in "$input")" >"$(fill_in "$output")" || exit 1
if [ "$error" != "$output" ]; then
    exec 2>"$(fill_in "$error")" || exit 1
else
    exec 2>&1
fi
exec ./jobscript_cluster
