"""Changes that users make to the database of a study, while nobody else writes it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, ValuesView
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from psweep_dask import _query
from psweep_dask._logging import show_log_lines
from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import RESERVED_FIELDS, is_utf8
from psweep_dask.storage import columns, database
from psweep_dask.storage.layout import Layout
from psweep_dask.study import recovery
from psweep_dask.study.rebuild import note_deleted
from psweep_dask.study.runs import open_study

log = logging.getLogger("psweep_dask")

_LISTS = (list, tuple, range, np.ndarray, pd.Series, pd.Index, ExtensionArray, Iterator, ValuesView)
"""Types that hold a value for each row, in their order. All others are one value for all rows."""


class EditError(PsweepError):
    """A change that cannot be made as asked. Nothing was changed."""


def df_update(
    calc_dir: str | os.PathLike[str],
    values: Mapping[str, Any],
    where: str | None = None,
    *,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Set columns of the database on disk, such as "study".

    This is safe while runs are at work: they are not disturbed, and add their rows later.

    Parameters
    ----------
    calc_dir : str or PathLike
        Folder of the study.
    values : Mapping
        Names of columns, new or old, and what they get: one value for all rows; a list, array,
        Series or generator with one value for each row, in their order; or a function that takes
        the rows as a DataFrame and returns such a list.
    where : str, optional
        Change only the rows that meet this condition, such as ``a > 3 and b == "x"``. In other
        rows, a new column has gaps.
    database_dir : str or PathLike, optional
        Folder of the database; by default `calc_dir`.
    database_basename : str, optional
        File name of the database.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    EditError
        If a column is book-keeping, its name cannot be written as UTF-8, or a value does not fit
        the number of rows.
    QueryError
        If `where` cannot be understood.
    NoStudyError
        If there is no study, or its runs write to other databases only.

    See Also
    --------
    delete : Delete rows.
    load : Read the rows.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"y": pset["a"] ** 2}, ps.plist("a", [1, 2, 3]), cluster="sync")
    >>> df = df_update("calc", {"study": "first", "root": lambda df: df.y**0.5})
    >>> df = df_update("calc", {"study": "second"}, where="a == 3")
    >>> df[["study", "root"]].to_dict("list")
    {'study': ['first', 'first', 'second'], 'root': [1.0, 2.0, 3.0]}
    """
    if not isinstance(values, Mapping):
        raise EditError(f"values must be a dict, such as {{'study': 'first'}}, not {values!r}")
    for name in values:
        if name in RESERVED_FIELDS or not isinstance(name, str):
            raise EditError(f"{name!r} is a column of the book-keeping, or no str; choose another")
        if not is_utf8(name):
            raise EditError(f"the name {name!r} cannot be written as UTF-8; choose another")
    layout = open_study(calc_dir, database_dir, database_basename)
    with _locked_database(layout) as df:
        places = np.arange(len(df)) if where is None else _matching_places(df, where)
        rows = df.iloc[places]
        new = df.copy(deep=False)
        for name, value in values.items():
            column = _set_cells(df, name, places, value(rows) if callable(value) else value)
            new[name] = column.array
        return database.replace(layout.database_path, new)


def delete(
    calc_dir: str | os.PathLike[str],
    where: str,
    *,
    folders: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Delete rows of the database on disk, and keep a copy of the database beside it.

    Parameters
    ----------
    calc_dir : str or PathLike
        Folder of the study.
    where : str
        Delete the rows that meet this condition, such as ``a > 3 and b == "x"``.
    folders : bool, optional
        Also delete the folders of these psets, of which no copy is kept. A warning names the
        folders, whether they are deleted or not.
    database_dir : str or PathLike, optional
        Folder of the database; by default `calc_dir`.
    database_basename : str, optional
        File name of the database.

    Returns
    -------
    DataFrame
        The rows that are left.

    Raises
    ------
    QueryError
        If `where` cannot be understood.
    NoStudyError
        If there is no study, or its runs write to other databases only.

    See Also
    --------
    query : Look at the rows that meet a condition.
    df_update : Change rows.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {}, ps.plist("a", [1, 2, 3]), cluster="sync")
    >>> delete("calc", "a > 1").a.tolist()
    [1]
    >>> len(list(Layout("calc").root.glob("database.pk.deleted-*")))
    1
    """
    layout = open_study(calc_dir, database_dir, database_basename)
    with _locked_database(layout) as df:
        places = _matching_places(df, where)
        deleted = df.iloc[places]
        if deleted.empty:
            log.warning("no row meets %r; nothing was deleted", where)
            return df
        copy = database.aside_path(layout.database_path, "deleted")
        shutil.copy2(layout.database_path, copy)
        note_deleted(layout, deleted)
        left = df.iloc[np.setdiff1d(np.arange(len(df)), places)]
        left = database.replace(layout.database_path, left)
        log.warning("deleted %d rows; the database as it was is %s", len(deleted), copy)
        ids = deleted["_pset_id"].dropna() if "_pset_id" in df.columns else ()
        paths = [path for pset_id in ids if (path := layout.pset_folder(pset_id).path).is_dir()]
        for path in paths if folders else ():
            shutil.rmtree(path)
        if paths:
            verb = "deleted" if folders else "these stay; folders=True deletes them"
            log.warning("folders of these psets: %s (%s)", ", ".join(map(str, paths)), verb)
        return left


@contextmanager
def _locked_database(layout: Layout) -> Iterator[pd.DataFrame]:
    """Yield the database with the rows of dead runs, and hold its lock."""
    show_log_lines()
    with layout.lock():
        df, _ = recovery.recover(layout)
        database.check(df, str(layout.database_path))
        yield df


def _matching_places(df: pd.DataFrame, where: str) -> np.ndarray:
    """Return the positions of the rows that meet a condition, whatever index the user has set."""
    numbered = df.reset_index(drop=True)
    return (_query.select_rows(numbered, where) if len(df) else numbered).index.to_numpy()


def _set_cells(df: pd.DataFrame, name: str, places: np.ndarray, value: Any) -> pd.Series:
    """Return a column of a DataFrame, old or new, with `value` at some places."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, pd.DataFrame):
        raise EditError(f"{name!r}: a DataFrame is no column; choose one of its columns")
    values = list(value) if isinstance(value, _LISTS) else [value] * len(places)
    if len(values) != len(places):
        raise EditError(
            f"{name!r}: {len(values)} values were given for {len(places)} rows; for the same "
            "list in each of them, give a function: lambda df: [[1, 2]] * len(df)"
        )
    cells = columns.cells_of(df[name]) if name in df.columns else [columns.GAP] * len(df)
    for place, cell in zip(places, values, strict=True):
        cells[place] = cell
    return columns.make_column(name, cells, len(df))
