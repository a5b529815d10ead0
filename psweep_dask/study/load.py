"""All rows of a study: ``load`` and ``query``."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from functools import reduce

import pandas as pd

from psweep_dask import _query
from psweep_dask.storage import database, frame, journal
from psweep_dask.storage.layout import Layout
from psweep_dask.study.recovery import (
    damage_message,
    missing_message,
    with_blocks,
    worker_blocks,
)
from psweep_dask.study.runs import find_study, stored_runs

log = logging.getLogger("psweep_dask")


def query(calc_dir: str | os.PathLike[str], expression: str) -> pd.DataFrame:
    """Return the rows of a study that meet a condition, those of runs at work included.

    Parameters
    ----------
    calc_dir : str or PathLike
        Folder of the study.
    expression : str
        The condition, such as ``a > 3 and b == "x"``, as in `pandas.DataFrame.query`.

    Returns
    -------
    DataFrame
        In the order of ``_pset_seq``.

    Raises
    ------
    QueryError
        If the expression cannot be understood.
    NoStudyError, DatabaseError
        If there is no study, or its database is damaged.

    See Also
    --------
    load : All rows.
    where : The psets, not the rows, that meet a condition.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {}, ps.plist("a", [1, 2, 5]), cluster="sync")
    >>> query("calc", "a > 1 and _status == 'ok'").a.tolist()
    [2, 5]
    """
    df = load_from(find_study(calc_dir))
    return _query.select_rows(df, expression) if len(df) else df


def load(
    calc_dir: str | os.PathLike[str] = "calc",
    *,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Read the database of a study, and the finished psets that are not in it yet.

    These belong to runs that are at work now, or whose driver has died. Nothing is written.

    Parameters
    ----------
    calc_dir : str or PathLike, optional
        Folder of the study.
    database_dir : str or PathLike, optional
        Folder of the database; by default `calc_dir`.
    database_basename : str, optional
        File name of the database. If it does not exist, and all runs of the study write to one
        other database, the other one is read.

    Returns
    -------
    DataFrame
        In the order of ``_pset_seq``.

    Raises
    ------
    NoStudyError, DatabaseError
        If there is no study, its runs write to several other databases, or the database is damaged.

    See Also
    --------
    query : Only the rows that meet a condition.
    status : What the runs of the study are doing.
    df_read : Read any file that `df_write` has written.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"b": pset["a"]}, ps.plist("a", [1, 2]), cluster="sync")
    >>> ps.load("calc")[["a", "b"]].to_dict("list")
    {'a': [1, 2], 'b': [1, 2]}
    """
    return load_from(find_study(calc_dir, database_dir, database_basename))


def load_from(layout: Layout, is_plain: bool = False) -> pd.DataFrame:
    """Do what `load` does, for a study whose handle is known.

    With `is_plain`, no code of the user is run: values of other classes than those of Python, numpy
    and pandas are stand-ins (see `psweep_dask.storage.plain`).
    """
    frames = []
    runs = stored_runs(layout)
    for run in runs:
        with suppress(FileNotFoundError):  # its rows have just been merged into the database
            replay = journal.replay(run.folder.journal_path, is_plain)
            rows = frame.from_blocks(replay)
            frames.append(with_blocks(rows, worker_blocks(run, rows, pd.DataFrame(), is_plain)))
            if replay.damaged and not run.is_alive():
                log.warning("%s", damage_message(run.run_id, replay))
    if message := missing_message(layout, runs):
        log.warning("%s", message)
    # The database is read last: rows that move there meanwhile are seen twice, but never missed.
    return reduce(frame.append, frames, database.read_or_empty(layout.database_path, is_plain))
