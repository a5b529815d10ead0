"""Extend a study: run again with other params, here also with a new parameter.

You will see both runs in one database: _run_seq is the number of the run, _pset_seq counts all
psets. The rows of the first run have no value (NaN) for the new parameter c. With backup=True, the
whole folder calc/ is copied before the second run.
"""

from pathlib import Path

import psweep_dask as ps


def func(pset):
    return {"result": pset["a"] * pset["b"] + pset.get("c", 0)}


a = ps.plist("a", [1, 2])
b = ps.plist("b", [77, 88])
ps.run_local(func, ps.pgrid(a, b))

# More values of a, a single b, and a new parameter.
a = ps.plist("a", [3, 4, 5])
b = ps.plist("b", [77])
c = ps.plist("c", [0.1])
df = ps.run_local(func, ps.pgrid(a, b, c), backup=True)
ps.df_print(df[["_run_seq", "_pset_seq", "a", "b", "c", "result"]])

print("\nBackups, each made before a run:")
for folder in sorted(Path().glob("calc.bak_*")):
    print(folder, "with", len(ps.df_read(folder / "database.pk")), "rows")
