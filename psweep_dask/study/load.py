"""Rows of a study that meet a condition."""

from __future__ import annotations

import logging
import os
from contextlib import suppress

import pandas as pd

from psweep_dask import _query
from psweep_dask.storage import database, frame, journal
from psweep_dask.storage.layout import Layout
from psweep_dask.study.recovery import damage, left_by
from psweep_dask.study.runs import stored_runs, study_in

log = logging.getLogger("psweep_dask")


def query(calc_dir: str | os.PathLike[str], expression: str) -> pd.DataFrame:
    """Give the rows of a study that meet a condition, those of runs at work included.

    Parameters
    ----------
    calc_dir : str or PathLike
    expression : str
        Such as ``a > 3 and b == "x"``, as `pandas.DataFrame.query` takes it.

    Returns
    -------
    DataFrame

    Raises
    ------
    QueryError
        If the expression cannot be understood.
    PsweepError
        If there is no study.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {}, ps.plist("a", [1, 2, 5]), cluster="sync")
    >>> query("calc", "a > 1 and _status == 'ok'").a.tolist()
    [2, 5]
    """
    df = load(calc_dir)
    return _query.where(df, expression) if len(df) else df


def load(
    calc_dir: str | os.PathLike[str] = "calc",
    *,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Read the database of a study, and all finished psets that are not in there yet.

    These are of runs that go on right now, and of those whose driver has died. Nothing is
    written.

    Parameters
    ----------
    calc_dir, database_dir, database_basename
        As in `run`. Where there is no such database, the one that runs of the study write to is
        read, if there is only one.

    Returns
    -------
    DataFrame
        In the order of ``_pset_seq``.

    Raises
    ------
    PsweepError
        If there is no study, or its database is damaged.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"b": pset["a"]}, ps.plist("a", [1, 2]), cluster="sync")
    >>> ps.load("calc")[["a", "b"]].to_dict("list")
    {'a': [1, 2], 'b': [1, 2]}
    """
    return load_from(study_in(calc_dir, database_dir, database_basename))


def load_from(layout: Layout) -> pd.DataFrame:
    """Do the work of `load`."""
    waiting = []
    for past in stored_runs(layout):
        with suppress(FileNotFoundError):  # merged meanwhile
            waiting.append((past, journal.replay(past.journal_path)))
    rows = [left_by(past, replayed, pd.DataFrame()) for past, replayed in waiting]
    for past, replayed in waiting:
        if replayed.damaged and not past.is_alive():
            log.warning("%s", damage(past.run_id, replayed))
    df = database.read_or_empty(layout.database_path)  # after these: none is missed on its way
    for some in rows:
        df = frame.append(df, some)
    return df
