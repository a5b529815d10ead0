"""Vary two parameters on a grid: each value of a with each value of b.

You will see first the parameter sets, before anything runs. Then you will see the database: one row
for each set, with a and b, the result of func, and the book-keeping columns.
"""

import random

import psweep_dask as ps


def func(pset):
    return {"result": random.random() * pset["a"] * pset["b"]}


a = ps.plist("a", [1, 2, 3])
b = ps.plist("b", [77, 88])
params = ps.pgrid(a, b)
for pset in params:
    print(pset)

df = ps.run(func, params)
ps.df_print(df[["a", "b", "result", "_run_seq", "_pset_seq", "_pset_id"]])
print("\nall columns:", ", ".join(df.columns))
