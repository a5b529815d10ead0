"""What the runs of a study have left on disk: whether they are alive, and what is not merged."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import BaseFileLock, Timeout

from psweep_dask import database, frame, journal, plan, provenance
from psweep_dask.errors import PsweepError
from psweep_dask.journal import Replay
from psweep_dask.layout import Layout, replace_file
from psweep_dask.record import RecordError
from psweep_dask.stopping import Stop, request_by_file

log = logging.getLogger("psweep_dask")

_NEEDED = {"run_id", "run_seq", "first_pset_seq", "psets", "database", "ended"}


class RecoveryError(PsweepError):
    """What a dead run has left cannot be merged."""


class NoStudyError(PsweepError):
    """There is no study where one was looked for."""


@dataclass(frozen=True)
class PastRun:
    """A run as it is on disk: of this process, of another one, or of one that is dead.

    Parameters
    ----------
    layout : Layout
    info : dict
        What its ``run.json`` holds.
    """

    layout: Layout
    info: dict[str, Any]

    @property
    def run_id(self) -> str:
        """The UUID of the run."""
        return str(self.info["run_id"])

    @property
    def journal_path(self) -> Path:
        """Its journal; there is none once its rows are in the database."""
        return self.layout.journal_path(self.run_id)

    @property
    def last_seqs(self) -> tuple[int, int]:
        """The highest ``_run_seq`` and ``_pset_seq`` that it has reserved."""
        return self.info["run_seq"], self.info["first_pset_seq"] + self.info["psets"] - 1

    @property
    def ended_early(self) -> bool:
        """Whether its driver has not run all of its psets, or still is at it."""
        return bool(self.info["ended"] != "done")

    @contextmanager
    def taken(self) -> Iterator[BaseFileLock | None]:
        """Hold the lock of its driver; give None if a driver that lives holds it."""
        lock = self.layout.driver_lock(self.run_id)
        try:
            lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError):  # not found: discarded by its driver just now
            yield None
            return
        try:
            yield lock
        finally:
            lock.release()

    def is_alive(self) -> bool:
        """Tell whether its driver lives: it holds a lock that its death would free."""
        with self.taken() as lock:
            return lock is None


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
        As in `run`.

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
    layout = Layout(calc_dir, database_dir, database_basename)
    check_study(layout)
    return load_from(layout)


def load_from(layout: Layout) -> pd.DataFrame:
    """Do the work of `load`."""
    waiting = []
    for past in past_runs(layout):
        with suppress(FileNotFoundError):  # merged meanwhile
            waiting.append((past, journal.replay(past.journal_path)))
    rows = [left_by(past, replayed, pd.DataFrame()) for past, replayed in waiting]
    for past, replayed in waiting:
        if replayed.damaged and not past.is_alive():
            log.warning("%s", _damage(past.run_id, replayed))
    df = database.read_or_empty(layout.database_path)  # after these: none is missed on its way
    for some in rows:
        df = frame.append(df, some)
    return df


def request_stop(calc_dir: str | os.PathLike[str], run_id: str, *, now: bool) -> list[str]:
    """Ask the drivers of a study to stop, wherever they are, by a file that they look for.

    Parameters
    ----------
    calc_dir : str or PathLike
    run_id : str
        Only runs whose UUID begins so; all if empty.
    now : bool
        Drop what runs, instead of letting it finish.

    Returns
    -------
    list of str
        The runs that were asked.
    """
    layout = Layout(calc_dir)
    check_study(layout)
    alive = [past for past in _all_runs(layout) if past.is_alive()]
    chosen = [past.run_id for past in alive if past.run_id.startswith(run_id)]
    for one in chosen:
        request_by_file(layout.stop_path(one), Stop.NOW if now else Stop.SOON)
    return chosen


def check_study(layout: Layout) -> None:
    """Make sure that there is a study.

    Raises
    ------
    NoStudyError
        If there is none.
    """
    if not layout.database_path.exists() and not layout.runs_dir.exists():
        raise NoStudyError(
            f"there is no study in {layout.calc_dir!r}, seen from {str(Path.cwd())!r}: "
            f"neither {layout.relative_database()} nor runs/"
        )


def past_runs(layout: Layout) -> list[PastRun]:
    """Find the runs of a study that write to its database, the oldest first."""
    database = layout.relative_database()
    return [past for past in _all_runs(layout) if past.info["database"] == database]


def _all_runs(layout: Layout) -> list[PastRun]:
    found = []
    for folder in layout.runs_dir.glob("*"):
        try:
            found.append(PastRun(layout, read_info(layout, folder.name)))
        except (FileNotFoundError, ValueError, TypeError, KeyError) as err:
            info = _info_from_plan(layout, folder.name)
            if info is not None:
                log.warning("run.json in %s is damaged (%r), its plan is read instead", folder, err)
                found.append(PastRun(layout, info))
            elif (folder / layout.journal_path("").name).exists():
                log.warning("run.json and plan.pk in %s cannot be read, its journal waits", folder)
    return sorted(found, key=lambda past: int(past.info["run_seq"]))


def _info_from_plan(layout: Layout, run_id: str) -> dict[str, Any] | None:
    """Tell what is needed of a run whose ``run.json`` cannot be read; None if it has no plan."""
    try:
        with layout.plan_path(run_id).open("rb") as stream:
            planned, _ = plan.load(stream)
    except (FileNotFoundError, NotADirectoryError, plan.PlanError):
        return None
    return {
        "run_id": run_id,
        "run_seq": planned.run_seq,
        "first_pset_seq": planned.seqs[0],
        "psets": len(planned),
        "database": layout.relative_database(),
        "ended": None,
    }


def recover(layout: Layout, df: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
    """Merge what dead runs have left into the database, and say so. The caller holds its lock.

    Parameters
    ----------
    layout : Layout
    df : DataFrame
        The database.

    Returns
    -------
    df : DataFrame
        The database as it is on disk now.
    reserved : list of (int, int)
        The highest numbers of each run that is at work, or that may be resumed.
    """
    remove_leftovers(layout)
    reserved = []
    for past in past_runs(layout):
        if past.ended_early:
            reserved.append(past.last_seqs)
        if past.journal_path.exists():
            with past.taken() as lock:
                df = df if lock is None else _merge_unless_foreign(past, df)
    return df, reserved


def merge(past: PastRun, df: pd.DataFrame) -> pd.DataFrame:
    """Merge what a dead run has left. The caller holds its lock and that of the database.

    Raises
    ------
    psweep_dask.record.RecordError
        If a result in it cannot be restored in this process.
    """
    layout, run_id = past.layout, past.run_id
    if not past.journal_path.exists():
        return df
    if not layout.plan_path(run_id).exists() and not past.journal_path.stat().st_size:
        past.journal_path.unlink()  # it died before its first pset
        forget(layout, run_id)
        return df
    replayed = journal.replay(past.journal_path)
    rows = left_by(past, replayed, df)
    try:
        df = database.merge(layout.database_path, rows) if len(rows) else df
    except OSError as err:
        raise RecoveryError(
            f"cannot merge {len(rows)} rows of run {run_id} into "
            f"{str(layout.database_path)!r}: {err.strerror}; they stay in its journal"
        ) from err
    done = recorded(df, run_id)
    complete = len(done) == past.info["psets"]
    put_away(layout, run_id, replayed)
    ended = "done" if complete else "died"
    counts = {"left": past.info["psets"] - len(done)}
    write_info(layout, past.info | {"end": provenance.now(), "ended": ended, "counts": counts})
    log.warning(
        "recovered %d of %d psets of run %s%s",
        len(done),
        past.info["psets"],
        run_id,
        "" if complete else f"; ps.resume({layout.calc_dir!r}) finishes it",
    )
    return df


def left_by(past: PastRun, replayed: Replay, df: pd.DataFrame) -> pd.DataFrame:
    """Gather the rows of a run that the database lacks: from its journal, and by tmpsave=True."""
    return with_tmpsave(past, frame.from_blocks(replayed), df)


def with_tmpsave(past: PastRun, rows: pd.DataFrame, df: pd.DataFrame) -> pd.DataFrame:
    """Add the rows that tmpsave=True has written and that neither rows nor database have."""
    known = set(rows.get("_pset_id", ())) | set(df.get("_pset_id", ()))
    folder = past.layout.tmpsave_path(past.run_id, "").parent
    saved = [path for path in folder.glob("*.pk") if path.stem not in known]
    return frame.in_order(pd.concat([rows, *_rows_of(saved)])) if saved else rows


def recorded(df: pd.DataFrame, run_id: str) -> set[int]:
    """Give the ``_pset_seq`` of the psets of a run that have a row."""
    if not {"_run_id", "_pset_seq"} <= set(df.columns):
        return set()
    return set(df.loc[df["_run_id"] == run_id, "_pset_seq"].dropna().astype(int))


def put_away(layout: Layout, run_id: str, replayed: Replay) -> None:
    """Drop a journal whose rows are in the database, unless more could be saved by hand."""
    path = layout.journal_path(run_id)
    if replayed.damaged:
        aside = database.aside_path(path, "damaged")
        path.rename(aside)
        log.warning("%s; it is kept as %s", _damage(run_id, replayed), aside)
    else:
        path.unlink()


def _damage(run_id: str, replayed: Replay) -> str:
    return f"the last {replayed.left_over} bytes of the journal of run {run_id} are damaged"


def forget(layout: Layout, run_id: str) -> None:
    """Remove the folder of a run in which nothing has run."""
    shutil.rmtree(layout.run_dir(run_id))
    with suppress(OSError):  # other runs have theirs in there
        layout.runs_dir.rmdir()


def read_info(layout: Layout, run_id: str) -> dict[str, Any]:
    """Read ``run.json``."""
    info: dict[str, Any] = json.loads(layout.run_info_path(run_id).read_bytes())
    if missing := _NEEDED - set(info):
        raise KeyError(f"run.json lacks {missing}")
    return info


def write_info(layout: Layout, info: dict[str, Any]) -> None:
    """Write ``run.json``."""
    text = json.dumps(info, indent=2)
    path = layout.run_info_path(info["run_id"])
    replace_file(path, lambda stream: stream.write(text.encode()), last=False)


def _merge_unless_foreign(past: PastRun, df: pd.DataFrame) -> pd.DataFrame:
    """Merge a dead run, or leave it alone if that takes modules that are missing here."""
    try:
        return merge(past, df)
    except RecordError as err:
        log.warning("run %s is not recovered: %s", past.run_id, err)
        return df


def _rows_of(paths: list[Path]) -> Iterator[pd.DataFrame]:
    for path in paths:
        try:
            yield database.df_read(path)
        except (OSError, pickle.UnpicklingError, ImportError, AttributeError, EOFError) as err:
            log.warning("%s cannot be read, its pset will run again: %r", path, err)


def remove_leftovers(layout: Layout) -> None:
    """Remove what a driver has left that was killed in the middle of writing the database."""
    for path in layout.database_dir.glob(f".{layout.database_basename}.*.tmp"):
        path.unlink(missing_ok=True)
