"""Give names to runs: a constant parameter "study" makes the database easy to query.

You will see three runs. The name of each contains the parameters that it scans. Then you will see
rows of one run, selected by its name; rows selected by conditions on other columns; and the values
of the parameters in a name.
"""

import psweep_dask as ps


def func(pset):
    return {"result": pset["a"] * pset["b"]}


for name, a, b in [
    ("scan=a", [1, 2, 3], [77]),
    ("scan=b", [1], [77, 88, 99]),
    ("scan=a:b", [4, 5], [66, 55]),
]:
    study = ps.plist("study", [name])
    df = ps.run_local(func, ps.pgrid(study, ps.plist("a", a), ps.plist("b", b)))
cols = ["_run_seq", "_pset_seq", "study", "a", "b", "result"]
ps.df_print(df[cols])

print("\ndf[df.study == 'scan=b']:")
ps.df_print(df[df.study == "scan=b"][cols])

print("\nps.df_filter_conds with three conditions, all of which must hold:")
conds = [df.study == "scan=a", df.b == 77, df.a > 1]
ps.df_print(ps.df_filter_conds(df, conds)[cols])

print("\nvalues of the parameters that 'scan=a:b' names:")
study = "scan=a:b"
names = study.split("=")[1].split(":")
print(df[df.study == study][names].to_numpy())
