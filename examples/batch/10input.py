"""Offline: write a folder with a batch job for each pset.

You will see six prepared psets. Then look into calc/: each pset has a folder with run.py and a job
script for each machine. The pset's parameters are filled in.
"""

import psweep_dask as ps

param_a = ps.plist("param_a", [1, 2, 3])
param_b = ps.plist("param_b", [88, 99])
params = ps.pgrid(param_a, param_b)

df = ps.prep_batch(params, git=True)
ps.df_print(df[["param_a", "param_b", "_run_seq", "_pset_seq", "_status"]])
