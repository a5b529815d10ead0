"""Post-processing: for each row of the database, read the file that 10run.py wrote.

You will see the mean of the numbers in each file. The database with this new column is in
calc/database_eval.pk. The database of the runs does not change.
"""

import numpy as np

import psweep_dask as ps

df = ps.df_read("calc/database.pk")
df = df[(df.a > 0) & (df._status == "ok")].copy()

arr = np.array([np.loadtxt(f"calc/{pset_id}/output.txt") for pset_id in df._pset_id])
df["mean"] = arr.mean(axis=1)

ps.df_print(df[["a", "mean", "_pset_id"]])
ps.df_write(df, "calc/database_eval.pk")
