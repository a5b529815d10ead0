"""Rows of a study that meet a condition."""

from __future__ import annotations

import os

import pandas as pd

from psweep_dask import recovery, selecting


def query(calc_dir: str | os.PathLike[str], expression: str) -> pd.DataFrame:
    """Give the rows of a study that meet a condition, those of runs at work included.

    Parameters
    ----------
    calc_dir : str or PathLike
    expression : str
        Such as ``a > 3 and b == "x"``, as `pandas.DataFrame.query` takes it.

    Returns
    -------
    DataFrame

    Raises
    ------
    QueryError
        If the expression cannot be understood.
    PsweepError
        If there is no study.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {}, ps.plist("a", [1, 2, 5]), cluster="sync")
    >>> query("calc", "a > 1 and _status == 'ok'").a.tolist()
    [2, 5]
    """
    df = recovery.load(calc_dir)
    return selecting.where(df, expression) if len(df) else df
