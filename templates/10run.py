"""Run the study: all psets on this machine, or as batch jobs with --offline."""

import sys

import psweep_dask as ps


def func(pset):
    """Compute the results for one set of parameters."""
    # Write files of this pset to the folder Path(pset["_calc_dir"], pset["_pset_id"]); create it by
    # .mkdir(parents=True, exist_ok=True).
    return {"result": pset["a"] * pset["b"]}


# The parameters to run. Change them and start again: new rows are added to the database, and
# psets that have a result are not run a second time.
a = ps.plist("a", [1, 2, 3])
b = ps.plist("b", [10, 20])
params = ps.pgrid(a, b)

if "--offline" in sys.argv:
    # Write calc/<_pset_id>/ for each pset, and calc/run_<machine>.sh, which submits the jobs.
    df = ps.prep_batch(params, func=func, skip_dups=True)
else:
    df = ps.run(func, params, skip_dups=True)
ps.df_print(df[["a", "b", "_status", "_pset_id"]])
