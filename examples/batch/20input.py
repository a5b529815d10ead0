"""Offline: extend the study that 10input.py has begun.

You will see two psets more. Old folders stay as they are, and in calc/run_<machine>.sh the old
submissions are comments now.
"""

import psweep_dask as ps

if __name__ == "__main__":
    param_a = ps.plist("param_a", [4])
    param_b = ps.plist("param_b", [88, 99])
    params = ps.pgrid(param_a, param_b)

    df = ps.prep_batch(params, git=True)
    ps.df_print(df[["param_a", "param_b", "_run_seq", "_pset_seq", "_status"]])
