"""Rows that are asked for, by an expression of pandas or by the beginning of an id."""

from __future__ import annotations

import numpy as np
import pandas as pd

from psweep_dask._format import kind_of
from psweep_dask.errors import PsweepError


class QueryError(PsweepError):
    """A question that cannot be answered: the message says why."""


def where(df: pd.DataFrame, expression: str) -> pd.DataFrame:
    """Choose rows by an expression, such as ``a > 3 and b == "x"``.

    Parameters
    ----------
    df : DataFrame
    expression : str
        As `pandas.DataFrame.query` takes it; names that are no identifiers stand in backticks.

    Raises
    ------
    QueryError
        If it cannot be understood, names no column, or does not choose.

    Examples
    --------
    >>> df = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "x"]})
    >>> where(df, 'a > 1 and b == "x"').a.tolist()
    [3]
    >>> where(df, "c > 1")
    Traceback (most recent call last):
        ...
    psweep_dask._query.QueryError: 'c > 1': name 'c' is not defined; there are the columns a, b
    """
    if not isinstance(expression, str):
        raise QueryError(f"an expression must be a str such as 'a > 3', not {expression!r}")
    if "@" in expression:  # pandas would look for variables of ours
        raise QueryError(f"{expression!r}: '@' stands for a variable, and there is none here")
    try:
        mask = df.reset_index(drop=True).eval(expression, engine="python")
    except Exception as err:  # whatever parsing and comparing raise
        names = ", ".join(map(str, df.columns))
        raise QueryError(f"{expression!r}: {err}; there are the columns {names}") from err
    if not isinstance(mask, pd.Series) or mask.dtype != bool:
        raise QueryError(f"{expression!r} does not say yes or no for each row; compare something")
    return df[mask.to_numpy()]


def by_name(df: pd.DataFrame, name: str) -> pd.Series:
    """Find the row of a pset by its ``_pset_seq``, or else by the beginning of its ``_pset_id``.

    Raises
    ------
    QueryError
        If there is none, or more than one.

    Examples
    --------
    >>> df = pd.DataFrame({"_pset_id": ["1a", "2b"], "_pset_seq": [0, 1], "a": [7, 8]})
    >>> [int(by_name(df, name)["a"]) for name in ("1", "1a")]
    [8, 7]
    """
    if name.isdecimal() and "_pset_seq" in df.columns:
        places = np.flatnonzero(df["_pset_seq"] == int(name))
        if len(places) == 1:
            return df.iloc[int(places[0])]
        if len(places) > 1:  # of runs that were made apart, and came together by push or pull
            ids = ", ".join(df["_pset_id"].iloc[places].astype(str).str[:8])
            raise QueryError(
                f"{len(places)} psets have the number {name}; name one by its _pset_id: {ids}"
            )
    return df.iloc[place_of(df, name)]


def place_of(df: pd.DataFrame, beginning: str) -> int:
    """Find the place of a row by the beginning of its ``_pset_id``.

    Raises
    ------
    QueryError
        If there is none, or more than one.
    """
    if not isinstance(beginning, str) or not beginning:
        raise QueryError(f"a _pset_id or the beginning of one is needed, not {beginning!r}")
    if "_pset_id" not in df.columns:
        raise QueryError("the database has no column _pset_id, so its rows cannot be found")
    ids = df["_pset_id"].astype(str)
    found = np.flatnonzero(ids.str.startswith(beginning))
    if len(found) != 1:
        known = ", ".join(ids.iloc[found[:5]])
        many = f"{len(found)} psets have an id that begins with it: {known}" if len(found) else ""
        raise QueryError(f"{beginning!r}: {many or 'no pset has an id that begins so'}")
    return int(found[0])


class NoDataFrameError(PsweepError):
    """Something else stands where a DataFrame belongs."""


def check_df(df: object, call: str) -> None:
    """Make sure that an argument is a DataFrame.

    Raises
    ------
    NoDataFrameError

    Examples
    --------
    >>> check_df("calc", "ps.refine")
    Traceback (most recent call last):
        ...
    psweep_dask._query.NoDataFrameError: ps.refine takes a DataFrame, not 'calc'; ...
    """
    if not isinstance(df, pd.DataFrame):
        shown = repr(df) if isinstance(df, str) else kind_of(df)
        raise NoDataFrameError(f'{call} takes a DataFrame, not {shown}; ps.load("calc") gives one')
