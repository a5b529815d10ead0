"""The database of a study on another machine: what it has that the one here lacks is taken over."""

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

_TAKEN = frozenset(OUR_FIELDS) | {"_time_utc"}
"""Book-keeping of a row that changes when its pset is done."""


def layouts_here(layout: Layout) -> list[Layout]:
    """Find the databases in the folder of a study: that of a layout, and those of its runs."""
    names = {layout.database_basename, *(str(one.info["database"]) for one in all_runs(layout))}
    here = [Layout(layout.root, database_basename=name) for name in sorted(names) if _plain(name)]
    return [one for one in here if one.database_path.exists()]


def take_over(layout: Layout, copy: Path) -> None:
    """Merge a copy of the database over there into the one here.

    The one here stays as its owner wants it: edits, columns, deleted rows. It gets the rows of runs
    that it does not know, or that are not done here, and what has become of psets that wait.

    Parameters
    ----------
    layout : Layout
    copy : Path
        The copy.
    """
    try:
        theirs = df_read(copy)
        database.check(theirs, "the database over there")
    except Exception as err:  # what is damaged, or needs a module that is missing, raises anything
        log.warning("the database over there cannot be read here, and is left there: %r", err)
        return
    done = {one.run_id for one in all_runs(layout) if one.info["ended"] in ("done", "prepared")}
    with layout.lock():
        df = database.read_or_empty(layout.database_path)
        merged = merged_with(df, theirs, done)
        if merged is not df:
            database.replace(layout.database_path, merged)
            log.info("rows that only the database over there had were taken over")


def merged_with(df: pd.DataFrame, theirs: pd.DataFrame, done: Collection[str]) -> pd.DataFrame:
    """Merge two databases of a study; gives the first itself if there is nothing new.

    Parameters
    ----------
    df, theirs : DataFrame
    done : collection of str
        Runs of which `df` had each row: one that is gone was deleted.

    Examples
    --------
    >>> df = pd.DataFrame({"a": [1], "_pset_id": ["x"], "_run_id": ["r"], "_status": ["prepared"]})
    >>> new = {"a": 2, "_pset_id": "y", "_run_id": "s", "_status": "ok"}
    >>> theirs = pd.concat([df.assign(b=7, _status="ok"), pd.DataFrame([new])])
    >>> merged_with(df, theirs, {"r"})
       a _pset_id _run_id    b _status
    0  1        x       r  7.0      ok
    0  2        y       s  NaN      ok
    """
    needed = {"_pset_id", "_run_id", "_status"}
    if not needed <= set(theirs.columns) or not (df.empty or needed <= set(df.columns)):
        return df
    merged = df
    if len(df):
        changes = _changes(df, theirs)
        merged = pending_rows.complete(df, changes) if changes else df
    known = set(df["_pset_id"]) if len(df) else set[str]()
    rows = theirs[~theirs["_pset_id"].isin(known) & ~theirs["_run_id"].isin(done)]
    return frame.append(merged, rows) if len(rows) else merged


def _changes(df: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Record]:
    """Find rows that wait here, and are done over there."""
    waiting = set(df.loc[df["_status"].isin(WAITING), "_pset_id"])
    through = theirs["_pset_id"].isin(waiting) & ~theirs["_status"].isin(WAITING)
    ours = df.drop_duplicates("_pset_id").set_index("_pset_id")
    rows = theirs[through].to_dict("records")
    return {row["_pset_id"]: _change(row, ours.loc[row["_pset_id"]]) for row in rows}


def _change(row: dict[Any, Any], ours: pd.Series) -> Record:
    return {
        name: value
        for name, value in row.items()
        if name in _TAKEN
        or (name not in ours.index and not is_gap(value))
        or (name in ours.index and is_gap(ours[name]) and not is_gap(value))
    }


def _plain(name: str) -> bool:
    return "/" not in name
