"""Add the new rows of the database on another machine to the database here."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask._convert import is_gap
from psweep_dask.params.pset import OUR_FIELDS
from psweep_dask.storage import database, frame, pending_rows
from psweep_dask.storage.df_functions import df_read
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import Record
from psweep_dask.storage.status import WAITING
from psweep_dask.study.runs import all_runs

log = logging.getLogger("psweep_dask")

_SET_AT_END = frozenset(OUR_FIELDS) | {"_time_utc"}
"""Book-keeping fields that get their values when the job of a pset has ended."""


def find_databases(layout: Layout) -> list[Layout]:
    """Find the databases in the folder of a study.

    Parameters
    ----------
    layout : Layout

    Returns
    -------
    list of Layout
        The layout of each database: the one of `layout`, and those to which its runs write.
    """
    names = {layout.database_basename, *(str(run.info["database"]) for run in all_runs(layout))}
    layouts = [
        Layout(layout.root, database_basename=name) for name in sorted(names) if "/" not in name
    ]
    return [layout for layout in layouts if layout.database_path.exists()]


def add_remote_rows(layout: Layout, copy: Path) -> None:
    """Add the new rows of a remote database to the one here.

    Edits, columns and deleted rows stay as they are here. The database gets the rows of runs that
    are unknown here or not done here, and the results of psets that are pending here.

    Parameters
    ----------
    layout : Layout
    copy : Path
        A copy of the remote database.
    """
    try:
        remote = df_read(copy)
        database.check(remote, "the remote database")
    except Exception as err:  # a damaged file, or a module that is missing, raises anything
        log.warning("the remote database cannot be read here, and is left out: %r", err)
        return
    complete = {run.run_id for run in all_runs(layout) if run.info["ended"] in ("done", "prepared")}
    with layout.lock():
        df = database.read_or_empty(layout.database_path)
        merged = merge_rows(df, remote, complete)
        if merged is not df:
            database.replace(layout.database_path, merged)
            log.info("new rows of the remote database were added")


def merge_rows(
    df: pd.DataFrame, remote: pd.DataFrame, complete_runs: Collection[str]
) -> pd.DataFrame:
    """Return a database with the new rows of a remote one; `df` itself if there are none.

    Parameters
    ----------
    df, remote : DataFrame
    complete_runs : collection of str
        Runs of which `df` had all rows: those that are missing were deleted.

    Examples
    --------
    >>> df = pd.DataFrame({"a": [1], "_pset_id": ["x"], "_run_id": ["r"], "_status": ["prepared"]})
    >>> new = {"a": 2, "_pset_id": "y", "_run_id": "s", "_status": "ok"}
    >>> remote = pd.concat([df.assign(b=7, _status="ok"), pd.DataFrame([new])])
    >>> merge_rows(df, remote, {"r"})
       a _pset_id _run_id    b _status
    0  1        x       r  7.0      ok
    0  2        y       s  NaN      ok
    """
    needed = {"_pset_id", "_run_id", "_status"}
    if not needed <= set(remote.columns) or not (df.empty or needed <= set(df.columns)):
        return df
    merged = df
    if len(df):
        changes = _changes(df, remote)
        merged = pending_rows.complete(df, changes) if changes else df
    known = set(df["_pset_id"]) if len(df) else set[str]()
    new = remote[~remote["_pset_id"].isin(known) & ~remote["_run_id"].isin(complete_runs)]
    return frame.append(merged, new) if len(new) else merged


def _changes(df: pd.DataFrame, remote: pd.DataFrame) -> dict[str, Record]:
    """Return what changes in rows that are pending here and final there, by ``_pset_id``."""
    pending = set(df.loc[df["_status"].isin(WAITING), "_pset_id"])
    final = remote["_pset_id"].isin(pending) & ~remote["_status"].isin(WAITING)
    rows_here = df.drop_duplicates("_pset_id").set_index("_pset_id")
    rows = remote[final].to_dict("records")
    return {row["_pset_id"]: _change(row, rows_here.loc[row["_pset_id"]]) for row in rows}


def _change(row: dict[Any, Any], row_here: pd.Series) -> Record:
    return {
        name: value
        for name, value in row.items()
        if name in _SET_AT_END
        or (not is_gap(value) and (name not in row_here.index or is_gap(row_here[name])))
    }
