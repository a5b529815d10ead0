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

# Book-keeping fields that get their values when the job of a pset has ended.
_SET_AT_END = frozenset(OUR_FIELDS) | {"_time_utc"}


def find_databases(layout: Layout) -> list[Layout]:
    """Return the layouts of all databases in the folder of a study, also those that runs name."""
    names = {layout.database_basename, *(str(run.info["database"]) for run in all_runs(layout))}
    layouts = [
        Layout(layout.root, database_basename=name) for name in sorted(names) if "/" not in name
    ]
    return [layout for layout in layouts if layout.database_path.exists()]


def add_remote_rows(layout: Layout, copy: Path) -> None:
    """Add the new rows of a remote database, of which there is a copy, to the one here.

    Edits, columns and deleted rows stay as they are here. The database gets the rows of runs that
    are unknown here or not done here, and the results of psets that are pending here.
    """
    try:
        remote = df_read(copy)
        database.check(remote, "the remote database")
    except Exception as err:  # a damaged file, or a module that is missing, raises anything
        log.warning("the remote database cannot be read here, and is left out: %r", err)
        return
    complete = {run.run_id for run in all_runs(layout) if run.info["ended"] in ("done", "prepared")}
    with layout.lock():
        df = database.read_to_change(layout.database_path)
        merged = merge_rows(df, remote, complete)
        if merged is not df:
            database.replace(layout.database_path, merged)
            log.info("new rows of the remote database were added")


def merge_rows(
    df: pd.DataFrame, remote: pd.DataFrame, complete_runs: Collection[str]
) -> pd.DataFrame:
    """Return a database with the new rows of a remote one; `df` itself if there are none.

    Of the runs `complete_runs`, `df` had all rows: those that are missing were deleted.
    """
    needed = ["_pset_id", "_run_id", "_status"]
    df_here = df.reindex(columns=needed) if df.empty else df
    if not set(needed) <= set(remote.columns) or not set(needed) <= set(df_here.columns):
        return df
    pending = df_here.loc[df_here["_status"].isin(WAITING), "_pset_id"]
    final = remote["_pset_id"].isin(pending) & ~remote["_status"].isin(WAITING)
    rows_here = df_here.drop_duplicates("_pset_id").set_index("_pset_id")
    changes = {
        row["_pset_id"]: _change(row, rows_here.loc[row["_pset_id"]])
        for row in remote[final].to_dict("records")
    }
    merged = pending_rows.complete(df, changes) if changes else df
    known = remote["_pset_id"].isin(df_here["_pset_id"]) | remote["_run_id"].isin(complete_runs)
    return merged if known.all() else frame.append(merged, remote[~known])


def _change(row: dict[Any, Any], row_here: pd.Series) -> Record:
    """Return what changes in a row that is pending here, and final there."""
    return {
        name: value
        for name, value in row.items()
        if name in _SET_AT_END
        or (not is_gap(value) and (name not in row_here.index or is_gap(row_here[name])))
    }
