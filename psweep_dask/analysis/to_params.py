"""``to_params``, ``df_extract_row``: rows of a database become dicts again."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import pandas as pd

from psweep_dask import _query
from psweep_dask._convert import to_python
from psweep_dask._format import short_repr
from psweep_dask._query import check_database
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset
from psweep_dask.storage.columns import GAP, cells_of, column_roles
from psweep_dask.storage.psets_of_rows import PsetRestorer, params_by_hash


def to_params(df: pd.DataFrame) -> list[Pset]:
    """Return the psets of a database as they were, with the same hashes.

    Parameters
    ----------
    df : DataFrame
        A database, with the columns of all parameters before the book-keeping.

    Returns
    -------
    list of dict
        One pset for each row. If pandas has changed a value, this is undone: integers that became
        floats, since their column has floats or gaps, are integers again, and gaps are no keys.
        The hash in the column ``_pset_sha1`` decides which is right. Where rows are of psweep 0.5,
        it also decides which columns behind the book-keeping are parameters.

    Raises
    ------
    ParamsError
        If there are no parameters, or the values of a row do not give its hash.
    NoDataFrameError, DatabaseError
        If `df` is no DataFrame, or a database of psweep, which `import_psweep` reads.

    See Also
    --------
    read_params : Psets from any table.
    df_extract_row : One row, or one pset.

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
    check_database(df, "ps.to_params(df)")
    columns = list(df.columns)
    roles = column_roles(columns)
    is_database = bool(roles.params) or "_pset_sha1" in columns  # psets may be empty
    if not is_database or not roles.seed_fields:
        raise ParamsError(
            "a database is needed, with parameters before its book-keeping; there are the columns "
            f"{', '.join(map(str, columns))}. ps.read_params takes any DataFrame"
        )
    names = roles.params
    hashes = df["_pset_sha1"].tolist() if "_pset_sha1" in columns else [None] * len(df)
    of_psweep = [True] * len(df)
    if "_status" in columns:
        of_psweep = df["_status"].isna().tolist()
    cells = {name: _python_cells(df[name]) for name in names}
    if any(of_psweep) and "_pset_sha1" in columns:
        others = {name: _python_cells(df[name]) for name in roles.results}
        cells |= others | {"_pset_sha1": hashes}
        names = params_by_hash(cells, names, list(others))
    restorer, old_restorer = PsetRestorer(), PsetRestorer(all_keys=True)
    rows: Iterable[tuple[Any, ...]] = repeat((), len(df))
    if names:
        rows = zip(*(cells[name] for name in names), strict=True)
    psets = []
    for row, sha1, old in zip(rows, hashes, of_psweep, strict=True):
        pset = restorer.restore(names, row, sha1)
        if pset is None and old:
            pset = old_restorer.restore(names, row, sha1)
        if pset is None:
            values = {
                name: value for name, value in zip(names, row, strict=True) if value is not GAP
            }
            raise ParamsError(
                f"the row with the values {short_repr(values)} does not give its "
                f"_pset_sha1 {sha1}: has func returned a key of its pset, or was a value or the "
                "order of columns changed? Without the column _pset_sha1, values are taken as they "
                "are"
            )
        psets.append(pset)
    return psets


def _python_cells(column: pd.Series) -> list[Any]:
    cells = cells_of(column)
    return cells if column.dtype == object else list(map(to_python, cells))


def df_extract_params(df: pd.DataFrame, py_types: bool = False) -> list[Pset]:
    """Do what `to_params` does: this is its name in psweep.

    Parameters
    ----------
    df : DataFrame
        A database.
    py_types : bool, optional
        Has no effect: values always have types of Python.

    Returns
    -------
    list of dict
        One pset for each row.

    Raises
    ------
    ParamsError, NoDataFrameError, DatabaseError
        As in `to_params`.

    See Also
    --------
    df_extract_row : One row, or one pset.

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
    """Return one row as a dict.

    Parameters
    ----------
    df : DataFrame
        A database.
    pset_id : str
        The ``_pset_id`` of the row, or the beginning of it.
    kind : {None, 'pset'}, optional
        'pset' means only the parameters, as `to_params` returns them.
    py_types : bool, optional
        Turn scalars of NumPy and times of pandas into types of Python.

    Returns
    -------
    dict
        The values of the row, or its pset.

    Raises
    ------
    QueryError
        If there is no such row, or more than one.
    ParamsError
        If `kind` is not known, or the values of the row do not give its hash.
    NoDataFrameError, DatabaseError
        As in `to_params`.

    See Also
    --------
    to_params : The psets of all rows.

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
    check_database(df, "ps.df_extract_row(df, pset_id)")
    place = _query.find_position(df, pset_id)
    row = df.iloc[place : place + 1]
    if kind == "pset":
        return to_params(row)[0]
    cells = {name: row[name].iloc[0] for name in df.columns}
    return {name: to_python(cell) for name, cell in cells.items()} if py_types else cells
