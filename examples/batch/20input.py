"""Offline: extend the study that 10input.py has begun.

You will see two more psets. Old folders do not change, and the lines of old psets in
calc/run_<machine>.sh are comments now.
"""

import psweep_dask as ps

param_a = ps.plist("param_a", [4])
param_b = ps.plist("param_b", [88, 99])
params = ps.pgrid(param_a, param_b)

df = ps.prep_batch(params, git=True)
ps.df_print(df[["param_a", "param_b", "_run_seq", "_pset_seq", "_status"]])
