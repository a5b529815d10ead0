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
from psweep_dask.params.pset import RESERVED_FIELDS, is_text
from psweep_dask.storage import columns, database
from psweep_dask.storage.layout import Layout
from psweep_dask.study import recovery
from psweep_dask.study.runs import check_study

log = logging.getLogger("psweep_dask")

_LISTS = (list, tuple, range, np.ndarray, pd.Series, pd.Index, ExtensionArray, Iterator, ValuesView)
"""What holds a value for each row, in their order."""


class EditError(PsweepError):
    """A change that cannot be made as asked; nothing was changed."""


def df_update(
    calc_dir: str | os.PathLike[str],
    values: Mapping[str, Any],
    where: str | None = None,
    *,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Set columns of the database on disk, such as "study", while its lock is held.

    Parameters
    ----------
    calc_dir : str or PathLike
    values : Mapping
        By the name of a column, new or old: one value for all rows; a list, array, Series or
        generator with one for each, in their order; or a function that is given the rows, as a
        DataFrame, and gives such a list.
    where : str, optional
        Only rows that meet this expression, as in `where`; a new column has gaps elsewhere.
    database_dir, database_basename
        As in `run`.

    Returns
    -------
    DataFrame
        The whole database. Runs that go on are not disturbed; their rows come later.

    Raises
    ------
    EditError
        If a column is book-keeping or its name no UTF-8, a list has another length than there are
        rows, or a DataFrame stands where a column belongs.
    PsweepError
        If there is no study.

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
    if bad := [name for name in values if name in RESERVED_FIELDS or not isinstance(name, str)]:
        raise EditError(f"{bad[0]!r} is a column of the book-keeping, or no str; choose another")
    if broken := [name for name in values if not is_text(name)]:
        raise EditError(f"the name {broken[0]!r} cannot be written as UTF-8; choose another")
    layout = Layout(calc_dir, database_dir, database_basename)
    with _opened(layout) as df:
        places = np.arange(len(df)) if where is None else _places(df, where)
        chosen = df.iloc[places]
        new = df.copy(deep=False)
        for name, value in values.items():
            changed = _changed(df, name, places, value(chosen) if callable(value) else value)
            new[name] = changed.array
        return database.replace(layout.database_path, new)


def delete(
    calc_dir: str | os.PathLike[str],
    where: str,
    *,
    folders: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Delete rows of the database on disk; a copy of it as it was is kept beside it.

    Parameters
    ----------
    calc_dir : str or PathLike
    where : str
        Which rows: an expression as in `where`.
    folders : bool, optional
        Delete the folders of these psets as well, of which there is no copy. They are named in
        any case.
    database_dir, database_basename
        As in `run`.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    QueryError
        If the expression cannot be understood.
    PsweepError
        If there is no study.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {}, ps.plist("a", [1, 2, 3]), cluster="sync")
    >>> delete("calc", "a > 1").a.tolist()
    [1]
    >>> len(list(Layout("calc").root.glob("database.pk.deleted-*")))
    1
    """
    layout = Layout(calc_dir, database_dir, database_basename)
    with _opened(layout) as df:
        places = _places(df, where)
        gone = df.iloc[places]
        if gone.empty:
            log.warning("no row meets %r; nothing was deleted", where)
            return df
        copy = database.aside_path(layout.database_path, "deleted")
        shutil.copy2(layout.database_path, copy)
        kept = df.iloc[np.setdiff1d(np.arange(len(df)), places)]
        left = database.replace(layout.database_path, kept)
        log.warning("deleted %d rows; the database as it was is %s", len(gone), copy)
        _see_to_folders(layout, gone, folders)
        return left


@contextmanager
def _opened(layout: Layout) -> Iterator[pd.DataFrame]:
    """Give the database, its lock held and dead runs merged."""
    show_log_lines()
    check_study(layout)
    with layout.lock():
        df, _ = recovery.recover(layout, database.read_or_empty(layout.database_path))
        database.check(df, str(layout.database_path))
        yield df


def _places(df: pd.DataFrame, where: str) -> np.ndarray:
    """Tell which rows meet an expression, whatever index their owner gave them."""
    numbered = df.reset_index(drop=True)
    return (_query.where(numbered, where) if len(df) else numbered).index.to_numpy()


def _changed(df: pd.DataFrame, name: str, places: Any, value: Any) -> pd.Series:
    """Give a column with values in some of its places."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, pd.DataFrame):
        raise EditError(f"{name!r}: a DataFrame is no column; choose one of its columns")
    if isinstance(value, _LISTS):
        values = list(value)
        if len(values) != len(places):
            raise EditError(
                f"{name!r}: {len(values)} values were given for {len(places)} rows; for the same "
                "list in each of them, give a function: lambda df: [[1, 2]] * len(df)"
            )
    else:
        values = [value] * len(places)
    cells: list[Any] = [columns.MISSING] * len(df)
    if name in df.columns:
        gaps = df[name].isna()
        cells = [
            columns.MISSING if gap and df[name].dtype != object else cell
            for cell, gap in zip(df[name].tolist(), gaps, strict=True)
        ]
    for place, one in zip(places, values, strict=True):
        cells[place] = one
    return columns.column(name, cells, len(df))


def _see_to_folders(layout: Layout, gone: pd.DataFrame, remove: bool) -> None:
    ids = gone["_pset_id"].dropna() if "_pset_id" in gone.columns else ()
    found = [folder for one in ids if (folder := layout.pset_folder(one).path).is_dir()]
    for folder in found:
        if remove:
            shutil.rmtree(folder)
    if found:
        verb = "deleted" if remove else "these stay; folders=True deletes them"
        log.warning("folders of these psets: %s (%s)", ", ".join(map(str, found)), verb)
