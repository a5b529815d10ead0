"""Run psets in parallel, on four worker processes, with a func that takes some time.

You will see which process has computed which pset. The sum of the run times of all psets
(_pset_runtime) is several times the time on the clock. Starting the workers takes a second or two,
once, so parallel workers are useful when the psets take longer than that. Without poolsize, there
is one worker, which runs one pset after the other. ps.run uses all cores.
"""

import os
import time

import pandas as pd

import psweep_dask as ps


def func(pset):
    time.sleep(0.2 * pset["a"])  # stands for work
    return {"result": pset["a"] * pset["b"], "worker": os.getpid()}


a = ps.plist("a", [1, 2, 3])
b = ps.plist("b", [10, 20, 30, 40])
df = ps.run_local(func, ps.pgrid(a, b), poolsize=4)
df = df[df._run_seq == df._run_seq.max()]  # only this run, if there are older ones
ps.df_print(df[["a", "b", "result", "worker", "_pset_runtime"]])

start = df._time_utc
end = start + pd.to_timedelta(df._pset_runtime, unit="s")
on_the_clock = (end.max() - start.min()).total_seconds()
in_sum = df._pset_runtime.sum()
print(f"\n{len(df)} psets on {df.worker.nunique()} workers")
print(f"in sum       {in_sum:.1f} s")
print(f"on the clock {on_the_clock:.1f} s, {in_sum / on_the_clock:.1f} times less")
