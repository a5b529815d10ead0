"""Psets chosen from lists of them: those that meet a condition, and those not done yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pandas as pd

from psweep_dask import _query
from psweep_dask._query import check_df
from psweep_dask.params.grid import ParamsError, filter_params_dup_hash, merge_dicts, pgrid
from psweep_dask.params.pset import Pset, check_params

DONE = frozenset({"ok", "simulated"})
"""Values of ``_status`` of a row with a result."""

Condition = str | Callable[[Mapping[str, Any]], bool]


def missing(df: pd.DataFrame, params: Iterable[Mapping[str, Any]]) -> list[Pset]:
    """Give the psets of which a database has no result: never run, or failed.

    Parameters
    ----------
    df : DataFrame
    params : iterable of dict

    Returns
    -------
    list of dict

    Raises
    ------
    PsweepError
        If `df` is no DataFrame or has no column ``_pset_sha1``, or `params` are no psets.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync", save=False)
    >>> missing(df, ps.plist("a", [1, 2, 3]))
    [{'a': 3}]
    """
    check_df(df, "ps.missing(df, params)")
    if "_pset_sha1" not in df.columns:
        if len(df):
            raise ParamsError(
                "the DataFrame has no column _pset_sha1 to compare params with; a study of the "
                "package psweep gets it by ps.import_psweep"
            )
        return check_params(params)[0]
    done = df["_status"].isin(DONE) if "_status" in df.columns else slice(None)
    return filter_params_dup_hash(params, df.loc[done, "_pset_sha1"])


@overload
def where(params: pd.DataFrame, condition: Condition) -> pd.DataFrame: ...
@overload
def where(params: Sequence[Mapping[str, Any]], condition: Condition) -> list[Pset]: ...


def where(
    params: Sequence[Mapping[str, Any]] | pd.DataFrame, condition: Condition
) -> list[Pset] | pd.DataFrame:
    """Choose psets, or rows of a database, by a condition.

    Parameters
    ----------
    params : list of dict or DataFrame
    condition : str or callable
        An expression such as ``a < b and c == "x"``, as `pandas.DataFrame.query` takes it; or a
        function of a pset (or row) that gives True for those to keep.

    Returns
    -------
    list of dict or DataFrame
        What was passed, without the others. A pset that lacks a key of the expression is left
        out, as far as pandas finds a comparison with NaN false.

    Raises
    ------
    QueryError
        If the condition is none of these, or the expression cannot be understood.

    Examples
    --------
    >>> params = [{"a": 1, "b": 2}, {"a": 3, "b": 2}]
    >>> where(params, "a < b")
    [{'a': 1, 'b': 2}]
    >>> where(params, lambda pset: pset["a"] == 3)
    [{'a': 3, 'b': 2}]
    """
    _check_condition(condition)
    if isinstance(params, pd.DataFrame):
        if isinstance(condition, str):
            return _query.where(params, condition) if len(params) else params
        rows: list[dict[Any, Any]] = params.to_dict("records")
        return params[[bool(condition(row)) for row in rows]]
    psets = check_params(params)[0]
    mask = _mask(psets, condition)
    return [pset for pset, chosen in zip(psets, mask, strict=True) if chosen]


def conditional(
    params: Sequence[Mapping[str, Any]], condition: Condition, *plists: Iterable[Mapping[str, Any]]
) -> list[Pset]:
    """Give further parameters to those psets that meet a condition; others stay as they are.

    Parameters
    ----------
    params : list of dict
    condition : str or callable
        As in `where`.
    *plists : lists of dict
        As for `pgrid`: each pset that is chosen is repeated for each combination of these.

    Returns
    -------
    list of dict

    Raises
    ------
    QueryError
        If the condition is none, or cannot be understood.
    PsetError
        If `params` are no psets.

    Examples
    --------
    >>> from psweep_dask import plist
    >>> solvers = plist("solver", ["lu", "cg"])
    >>> conditional(solvers, 'solver == "cg"', plist("tol", [0.1, 0.01]))
    [{'solver': 'lu'}, {'solver': 'cg', 'tol': 0.1}, {'solver': 'cg', 'tol': 0.01}]
    """
    _check_condition(condition)
    psets = check_params(params)[0]
    more = pgrid(*plists)
    mask = _mask(psets, condition)
    return [
        merge_dicts(pset, one)
        for pset, chosen in zip(psets, mask, strict=True)
        for one in (more if chosen else [{}])
    ]


def _check_condition(condition: object) -> None:
    if not isinstance(condition, str) and not callable(condition):
        raise _query.QueryError(
            f"a condition must be a str such as 'a > 3' or a function of a pset, not {condition!r}"
        )


def _mask(psets: list[Pset], condition: Condition) -> list[bool]:
    if not isinstance(condition, str):
        return [bool(condition(pset)) for pset in psets]
    if not psets:
        return []
    table = pd.DataFrame(psets)
    chosen = np.zeros(len(psets), dtype=bool)
    chosen[_query.where(table, condition).index] = True
    return chosen.tolist()
