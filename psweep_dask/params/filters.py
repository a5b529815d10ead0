"""Psets that meet a condition, and psets that a database has no result for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, overload

import pandas as pd

from psweep_dask._format import short_repr
from psweep_dask._query import QueryError, check_database, select_rows
from psweep_dask.params.grid import ParamsError, filter_params_dup_hash, merge_dicts, pgrid
from psweep_dask.params.pset import Pset, check_params

Condition = str | Callable[[Mapping[str, Any]], bool]


def missing(df: pd.DataFrame, params: Iterable[Mapping[str, Any]]) -> list[Pset]:
    """Return the psets for which a database has no result: they were never run, or failed.

    Parameters
    ----------
    df : DataFrame
        The database, with its column ``_pset_sha1``.
    params : iterable of dict
        The psets to look for.

    Returns
    -------
    list of dict
        Copies, in the order of `params`.

    Raises
    ------
    NoDataFrameError, DatabaseError
        If `df` is not a DataFrame, or a database of psweep, which `import_psweep` reads.
    ParamsError
        If `df` has no column ``_pset_sha1``.
    PsetError
        If `params` are not psets, or a value has no reproducible hash.

    See Also
    --------
    filter_params_dup_hash : The same for a list of hashes.
    run : Its option ``skip_dups`` leaves out psets that are in the database.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync", save=False)
    >>> missing(df, ps.plist("a", [1, 2, 3]))
    [{'a': 3}]
    """
    check_database(df, "ps.missing(df, params)")
    if not len(df):
        return check_params(params)[0]
    if "_pset_sha1" not in df.columns:
        raise ParamsError(
            "the DataFrame has no column _pset_sha1 to compare params with; "
            "ps.import_psweep adds it to a study of the package psweep"
        )
    hashes = df["_pset_sha1"]
    if "_status" in df.columns:
        # Rows of psweep 0.5 have no status: it keeps none that failed.
        hashes = hashes[df["_status"].isin(("ok", "simulated")) | df["_status"].isna()]
    return filter_params_dup_hash(params, hashes)


@overload
def where(params: pd.DataFrame, condition: Condition) -> pd.DataFrame: ...
@overload
def where(params: Sequence[Mapping[str, Any]], condition: Condition) -> list[Pset]: ...


def where(
    params: Sequence[Mapping[str, Any]] | pd.DataFrame, condition: Condition
) -> list[Pset] | pd.DataFrame:
    """Return the psets, or the rows of a database, that meet a condition.

    Parameters
    ----------
    params : list of dict or DataFrame
        The psets, or the database.
    condition : str or callable
        An expression such as ``a < b and c == "x"``, as `pandas.DataFrame.query` takes it; or a
        function that is called with each pset (or row, as a dict) and returns True to keep it.
        In an expression, a key that a pset does not have is NaN, which pandas finds different from
        all values: ``a > 1`` is False then.

    Returns
    -------
    list of dict or DataFrame
        Copies of psets, or rows with their index, in the order of `params`.

    Raises
    ------
    QueryError
        If `condition` is neither a str nor a function, or the expression cannot be evaluated.
    PsetError
        If `params` are neither psets nor a DataFrame.

    See Also
    --------
    query : The same for the database of a study on disk.
    conditional : Adds parameters to the psets that meet a condition.

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
            return select_rows(params, condition) if len(params) else params
        rows: list[dict[Any, Any]] = params.to_dict("records")
        return params.loc[[bool(condition(row)) for row in rows]]
    psets = check_params(params)[0]
    return list(compress(psets, _mask(psets, condition)))


def conditional(
    params: Sequence[Mapping[str, Any]], condition: Condition, *plists: Iterable[Mapping[str, Any]]
) -> list[Pset]:
    """Add parameters to the psets that meet a condition. Other psets stay as they are.

    Parameters
    ----------
    params : list of dict
        The psets.
    condition : str or callable
        As in `where`.
    *plists : lists of dict
        The parameters to add, as for `pgrid`.

    Returns
    -------
    list of dict
        In the order of `params`. A pset that meets the condition is repeated for each combination
        of the values of `plists`.

    Raises
    ------
    QueryError, PsetError, ParamsError
        As in `where` and in `pgrid`.

    See Also
    --------
    where : Returns only the psets that meet a condition.

    Examples
    --------
    >>> params = [{"solver": "lu"}, {"solver": "cg"}]
    >>> conditional(params, 'solver == "cg"', [{"tol": 0.1}, {"tol": 0.01}])
    [{'solver': 'lu'}, {'solver': 'cg', 'tol': 0.1}, {'solver': 'cg', 'tol': 0.01}]
    """
    _check_condition(condition)
    psets = check_params(params)[0]
    additions = pgrid(*plists)
    return [
        merge_dicts(pset, addition)
        for pset, chosen in zip(psets, _mask(psets, condition), strict=True)
        for addition in (additions if chosen else [{}])
    ]


def _check_condition(condition: object) -> None:
    if not isinstance(condition, str) and not callable(condition):
        raise QueryError(
            f"a condition must be a str such as 'a > 3' or a function of a pset, not "
            f"{short_repr(condition)}"
        )


def _mask(psets: list[Pset], condition: Condition) -> list[bool]:
    if not isinstance(condition, str):
        return [bool(condition(pset)) for pset in psets]
    chosen = set(select_rows(pd.DataFrame(psets), condition).index) if psets else set()
    return [number in chosen for number in range(len(psets))]
