"""Test a run: simulate=True does everything that a run does, except calling func.

You will see the database as the second run would extend it, with _status "simulated" and without
results. This copy is in calc.simulate/; calc/database.pk has only the rows of the first run. When
the rows are what you want, remove simulate=True.
"""

import time

import psweep_dask as ps


def func(pset):
    time.sleep(0.1)  # in a real study, hours
    return {"result": 10 * pset["a"]}


cols = ["_run_seq", "_pset_seq", "_calc_dir", "a", "result", "_status"]
ps.run_local(func, ps.plist("a", [1, 2]))

df = ps.run_local(func, ps.plist("a", [3, 4, 5]), simulate=True)
print("calc.simulate/database.pk, which run_local returned:")
ps.df_print(df[cols])

print("\ncalc/database.pk:")
ps.df_print(ps.df_read("calc/database.pk")[cols])
