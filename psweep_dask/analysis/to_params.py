"""Psets and rows that a database gives back as the dicts that they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import pandas as pd

from psweep_dask import _query
from psweep_dask._convert import is_nan, of_python
from psweep_dask._format import short_repr
from psweep_dask._query import check_df
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset, PsetError, pset_sha1
from psweep_dask.storage.columns import column_roles

MOST_AMBIGUOUS = 12
"""Cells of a row that pandas may have changed; of more, not all ways back are tried."""

_GAP = object()


def to_params(df: pd.DataFrame) -> list[Pset]:
    """Give the psets of a database back, so that their hashes are the same.

    Parameters
    ----------
    df : DataFrame
        With all of its parameters, which stand before the book-keeping.

    Returns
    -------
    list of dict
        One for each row. What pandas has changed on the way is undone: ints that became floats
        in a column with floats or gaps are ints again, and gaps are no keys. The column
        ``_pset_sha1`` tells which is right.

    Raises
    ------
    ParamsError
        If there are no parameters, or the values of a row do not give its hash.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> params = [{"a": 1}, {"a": 2, "b": 0.5}, {"a": 3.0}]
    >>> df = ps.run(lambda pset: {}, params, cluster="sync", save=False)
    >>> df.a.tolist()
    [1.0, 2.0, 3.0]
    >>> to_params(df)
    [{'a': 1}, {'a': 2, 'b': 0.5}, {'a': 3.0}]
    """
    check_df(df, "ps.to_params(df)")
    columns = list(df.columns)
    roles = column_roles(columns)
    if not roles.params or not roles.seed_fields:
        raise ParamsError(
            "a database is needed, with parameters before its book-keeping; there are the columns "
            f"{', '.join(map(str, columns))}. ps.read_params takes any DataFrame"
        )
    names = [str(name) for name in roles.params]
    cells = [list(_cells(df[name])) for name in roles.params]
    hashes = df["_pset_sha1"].tolist() if "_pset_sha1" in columns else [None] * len(df)
    known: Counter[tuple[int, ...]] = Counter()
    return [
        _pset(names, row, sha1, known)
        for row, sha1 in zip(zip(*cells, strict=True), hashes, strict=True)
    ]


def df_extract_params(df: pd.DataFrame, py_types: bool = False) -> list[Pset]:
    """Do what `to_params` does, under psweep's name.

    Parameters
    ----------
    df : DataFrame
    py_types : bool, optional
        Has no effect: values are always of Python's types.

    Returns
    -------
    list of dict

    Raises
    ------
    PsweepError
        If `df` is no DataFrame, or a row does not give its ``_pset_sha1``.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync", save=False)
    >>> df_extract_params(df)
    [{'a': 1}, {'a': 2}]
    """
    return to_params(df)


def df_extract_row(
    df: pd.DataFrame, pset_id: str, kind: str | None = None, py_types: bool = False
) -> dict[str, Any]:
    """Give one row as a dict.

    Parameters
    ----------
    df : DataFrame
    pset_id : str
        ``_pset_id`` of the row, or the beginning of it.
    kind : {None, 'pset'}, optional
        'pset' gives the parameters only, as `to_params` does.
    py_types : bool, optional
        Turn NumPy's scalars and pandas' times into those of Python.

    Returns
    -------
    dict

    Raises
    ------
    QueryError
        If there is no such row, or more than one.
    ParamsError
        If `kind` is not known.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run(lambda pset: {"y": 2}, ps.plist("a", [1]), cluster="sync", save=False)
    >>> df_extract_row(df, df._pset_id.iloc[0], kind="pset")
    {'a': 1}
    >>> df_extract_row(df, df._pset_id.iloc[0], py_types=True)["y"]
    2
    """
    if kind not in (None, "pset"):
        raise ParamsError(f"kind must be None or 'pset', not {kind!r}")
    at = _query.place_of(df, pset_id)
    row = df.iloc[at : at + 1]
    if kind == "pset":
        return to_params(row)[0]
    values = [row[name].iloc[0] for name in df.columns]
    if py_types:
        values = [of_python(value) for value in values]
    return dict(zip(df.columns, values, strict=True))


def _cells(column: pd.Series) -> Iterator[Any]:
    """Give the values of a column, the gaps that pandas makes as `_GAP`."""
    if column.dtype == object:
        for value in column:
            yield _GAP if is_nan(value) else value
    else:
        for value, gap in zip(column, column.isna(), strict=True):
            yield _GAP if gap else of_python(value)


def _pset(
    names: list[str], row: tuple[Any, ...], sha1: str | None, known: Counter[tuple[int, ...]]
) -> Pset:
    """Undo what pandas has done to a row; `known` counts which choices were right so far."""
    ways = [_ways(value) for value in row]
    if not isinstance(sha1, str):
        return _chosen(names, ways, tuple(len(one) - 1 for one in ways))
    for choice in _choices(ways, known):
        pset = _chosen(names, ways, choice)
        try:
            right = pset_sha1(pset) == sha1
        except PsetError:
            continue
        if right:
            known[choice] += 1
            return pset
    raise ParamsError(
        f"the row with the values {short_repr(_shown(names, row))} does not give its "
        f"_pset_sha1 {sha1}: has func returned a key of its pset, or was a value or the order of "
        "columns changed? Without the column _pset_sha1, values are taken as they are"
    )


def _shown(names: list[str], row: tuple[Any, ...]) -> Pset:
    return {name: value for name, value in zip(names, row, strict=True) if value is not _GAP}


def _ways(value: Any) -> list[Any]:
    """List what a cell may have been, the most likely last."""
    if value is _GAP:
        return [pd.NaT, float("nan"), None, _GAP]
    if isinstance(value, complex) and not value.imag:
        real = value.real
        return [*([int(real)] if real.is_integer() else []), real, value]
    if isinstance(value, float) and value.is_integer():
        return [int(value), value]
    return [value]


def _choices(ways: list[list[Any]], known: Counter[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    for choice, _ in known.most_common(8):
        if all(place < len(one) for place, one in zip(choice, ways, strict=True)):
            yield choice
    free = 0
    options = []
    for one in ways:
        free += len(one) > 1
        last = len(one) - 1
        options.append(range(last, -1, -1) if free <= MOST_AMBIGUOUS else [last])
    yield from product(*options)


def _chosen(names: list[str], ways: list[list[Any]], choice: tuple[int, ...]) -> Pset:
    picked = (one[place] for one, place in zip(ways, choice, strict=True))
    return {name: value for name, value in zip(names, picked, strict=True) if value is not _GAP}
