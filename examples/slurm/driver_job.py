"""Run the driver as a job too, so that nobody need stay logged in.

    psweep-dask submit --cluster lab driver_job.py

You will see, in driver-driver_job-<job id>.log, a first run that looks how much pi scatters, and a
second one with as many psets as the error that is wanted asks for: 0.0002, or what is written
after the name of the script. If the walltime of the driver ends before, another job starts this
script again: it has the first run from the database at once, and finishes the second.
"""

import sys

from model import darts, throw_darts

import psweep_dask as ps

CALC_DIR = "calc/driver"

if __name__ == "__main__":
    wanted = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0002

    df = ps.run(throw_darts, darts([500_000], 40), calc_dir=CALC_DIR)
    # From these 40 rows only: in a job that follows there are more by now, and it finds the second
    # run again by its psets, which must be the same as before.
    scatter = df.pi[:40].std()
    count = round((scatter / wanted) ** 2)
    print(f"scatter {scatter:.5f}: {count} more psets for an error of {wanted}", flush=True)

    df = ps.run(throw_darts, darts([500_000], count), calc_dir=CALC_DIR)
    error = df.pi.std() / len(df) ** 0.5
    print(f"pi = {df.pi.mean():.5f} +- {error:.5f} from {len(df)} psets")
