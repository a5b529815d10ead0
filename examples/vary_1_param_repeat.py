"""Refine a study: a coarse scan first, then a dense one over the same range.

You will see that the second run computes only new values: skip_dups leaves out psets that have a
result in the database. When you start the script again, nothing is computed.
"""

import psweep_dask as ps


def func(pset):
    return {"result": (pset["a"] - 2.2) ** 2}


def values(start, stop, step):
    number = round((stop - start) / step)
    return ps.plist("a", [start + step * place for place in range(number + 1)])


df = ps.run_local(func, values(0, 4, 1.0), skip_dups=True)
coarse = df[df._run_seq == 0]
best = coarse.loc[coarse.result.idxmin(), "a"]
print(f"coarse scan: minimum near a={best}")

df = ps.run_local(func, values(best - 1, best + 1, 0.25), skip_dups=True)
ps.df_print(df.sort_values("a")[["a", "result", "_run_seq", "_pset_seq"]])
print(f"dense scan: minimum near a={df.loc[df.result.idxmin(), 'a']}")
