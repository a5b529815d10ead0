"""Run the same params twice, for example for statistics of a random result.

You will see each _pset_sha1 twice, since it is the hash of the parameters. You will see six
different _pset_id, since there are six calls of func. ps.rng draws different numbers in each call.
"""

import psweep_dask as ps


def func(pset):
    return {"result": pset["a"] + ps.rng(pset).normal(scale=0.1)}


params = ps.plist("a", [1, 2, 3])
ps.run_local(func, params)
df = ps.run_local(func, params)

short = df.copy()
for name in ["_run_id", "_pset_id", "_pset_sha1"]:
    short[name] = df[name].str[:8]
ps.df_print(short[["_run_seq", "_run_id", "_pset_seq", "_pset_id", "_pset_sha1", "a", "result"]])

print("\nmean and standard error over the repetitions of each pset:")
means = df.groupby("_pset_sha1", sort=False).agg(
    a=("a", "first"), repetitions=("a", "size"), mean=("result", "mean"), sem=("result", "sem")
)
ps.df_print(means)
