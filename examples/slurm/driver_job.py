"""Run the driver as a job, too, so that you may log out.

    psweep-dask submit --cluster lab driver_job.py

You will see, in driver-driver_job-<job id>.log, a first run that measures the standard deviation of
pi. A second run has as many psets as the wanted error needs: 0.0002, or the number after the name
of the script. If the walltime of the driver ends before, another job starts this script again: the
first run comes from the database at once, and the second run is finished.
"""

import sys

from model import darts, throw_darts

import psweep_dask as ps

CALC_DIR = "calc/driver"

wanted = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0002

df = ps.run(throw_darts, darts([500_000], 40), calc_dir=CALC_DIR)
# From these 40 rows only: a later job gets more rows here. It recognizes the second run by its
# psets, so these must be the same in each job.
scatter = df.pi[:40].std()
count = round((scatter / wanted) ** 2)
print(f"scatter {scatter:.5f}: {count} more psets for an error of {wanted}", flush=True)

df = ps.run(throw_darts, darts([500_000], count), calc_dir=CALC_DIR)
error = df.pi.std() / len(df) ** 0.5
print(f"pi = {df.pi.mean():.5f} +- {error:.5f} from {len(df)} psets")
