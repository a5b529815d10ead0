"""Let psets fail: find the reason, correct func, and run only the failed psets again.

You will see an exception, a timeout and a crashed process, the reason of each, and how ps.retry
runs these psets again.
"""

import os
import time

import psweep_dask as ps


def func(pset):
    if pset["case"] == "raises":
        return {"y": 1 / (pset["a"] - 1)}  # no value at a=1
    if pset["case"] == "hangs":
        time.sleep(60 if pset["a"] == 1 else 0)
    if pset["case"] == "crashes" and pset["a"] == 1:
        os.abort()
    return {"y": pset["a"]}


def fixed(pset):
    return {"y": -1.0}


params = ps.pgrid(ps.plist("case", ["raises", "hangs", "crashes"]), ps.plist("a", [0, 1, 2]))
df = ps.run(func, params, timeout=1)
failed = df[df._status != "ok"]
for row in failed.itertuples():
    df_row = ps.df_extract_row(df, df.loc[row.Index, "_pset_id"])
    why = df_row["_exc_txt"].strip().splitlines()[-1]
    print(f"{row.case}, a={row.a}: {df_row['_status']}: {why}")
df = ps.retry("calc", func=fixed)
ps.df_print(df[["_run_seq", "case", "a", "y", "_status"]])
