"""Evaluate the study: collect the results of batch jobs, and show means."""

import psweep_dask as ps

df = ps.collect("calc")
df = df[df._status == "ok"]
if df.empty:
    raise SystemExit("no results yet")
ps.df_print(df.groupby("a").result.mean().reset_index())
ps.df_write(df, "calc/database_eval.pk")
