"""Offline: collect the results of the jobs, and evaluate them.

You will see the mean of the numbers that each job has written. The database with this new column is
in calc/database_eval.pk.
"""

import numpy as np

import psweep_dask as ps

df = ps.collect("calc")
df = df[df._status == "ok"].copy()
if df.empty:
    raise SystemExit("no results yet")

arrays = [np.load(f"calc/{pset_id}/out.npy") for pset_id in df._pset_id]
df["mean"] = [array.mean() for array in arrays]

ps.df_print(df[["param_a", "param_b", "mean", "seconds", "_run_seq", "_pset_seq"]])
ps.df_write(df, "calc/database_eval.pk")
