"""Vary one parameter: the smallest study.

You will see a table with one row for each value of a. It is stored in calc/database.pk. When you
start the script again, three more rows are appended.
"""

import random

import psweep_dask as ps


def func(pset):
    return {"result": random.random() * pset["a"]}


params = ps.plist("a", [1, 2, 3])
df = ps.run_local(func, params)
ps.df_print(df[["_run_seq", "_pset_seq", "a", "result", "_status"]])
