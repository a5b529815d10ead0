"""What is finished but not in the database: seen by `load`, merged when a driver has died."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from psweep_dask.errors import PsweepError
from psweep_dask.hpc import slurm
from psweep_dask.params.pset import UNFINISHED
from psweep_dask.storage import database, frame, journal
from psweep_dask.storage.journal import Replay
from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout
from psweep_dask.storage.record import RecordError
from psweep_dask.study import provenance
from psweep_dask.study.runs import StoredRun, forget, resume_call, stored_runs, write_info
from psweep_dask.worker.partial import early_blocks

log = logging.getLogger("psweep_dask")


class RecoveryError(PsweepError):
    """What a dead run has left cannot be merged."""


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
        The highest numbers of each run.
    """
    remove_leftovers(layout)
    reserved = []
    for past in stored_runs(layout):
        reserved.append(past.last_seqs)  # rows may have been deleted, and numbers name psets
        if past.journal_path.exists() or past.jobs_path.exists():
            with past.taken() as lock:
                df = df if lock is None else _merge_unless_foreign(past, df)
    return df, reserved


def merge(past: StoredRun, df: pd.DataFrame) -> pd.DataFrame:
    """Merge what a dead run has left. The caller holds its lock and that of the database.

    Raises
    ------
    psweep_dask.storage.record.RecordError
        If a result in it cannot be restored in this process.
    """
    layout, run_id = past.layout, past.run_id
    clear_leftovers(past)
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
    left = past.info["psets"] - len(recorded(df, run_id))
    put_away(layout, run_id, replayed)
    ended = "died" if left else "done"
    info = past.info | {"end": provenance.now(), "ended": ended}
    info["counts"] = counts_of(df, run_id) | {"left": left}
    write_info(layout, info)
    log.warning(
        "recovered %d of %d psets of run %s%s",
        int((df["_run_id"] == run_id).sum()) if "_run_id" in df.columns else 0,
        past.info["psets"],
        run_id,
        f"; {resume_call(layout, info)} finishes it" if left else "",
    )
    return df


def left_by(past: StoredRun, replayed: Replay, df: pd.DataFrame) -> pd.DataFrame:
    """Gather the rows of a run that the database lacks: from its journal, and from its workers."""
    return with_workers_rows(past, frame.from_blocks(replayed), df)


def with_workers_rows(past: StoredRun, rows: pd.DataFrame, df: pd.DataFrame) -> pd.DataFrame:
    """Add the rows that workers have written themselves and that neither rows nor database have."""
    known = recorded(rows, past.run_id) | recorded(df, past.run_id)
    blocks = list(early_blocks(past.layout.early_dir(past.run_id), known))
    if blocks:
        rows = frame.in_order(frame.stacked([rows, frame.from_blocks(blocks)]))
    return _with_tmpsave(past, rows, df)


def _with_tmpsave(past: StoredRun, rows: pd.DataFrame, df: pd.DataFrame) -> pd.DataFrame:
    known = set(rows.get("_pset_id", ())) | set(df.get("_pset_id", ()))
    folder = past.layout.tmpsave_path(past.run_id, "").parent
    saved = [path for path in folder.glob("*.pk") if path.stem not in known]
    return frame.in_order(frame.stacked([rows, *_rows_of(saved)])) if saved else rows


def recorded(df: pd.DataFrame, run_id: str, waiting: bool = False) -> set[int]:
    """Give the ``_pset_seq`` of the psets of a run that have a row.

    Rows that wait for a batch job count only with `waiting`.
    """
    if not {"_run_id", "_pset_seq"} <= set(df.columns):
        return set()
    rows = df[df["_run_id"] == run_id]
    if "_status" in rows.columns and not waiting:
        rows = rows[~rows["_status"].isin(UNFINISHED)]
    return set(rows["_pset_seq"].dropna().astype(int))


def counts_of(df: pd.DataFrame, run_id: str) -> dict[str, int]:
    """Count the rows of a run by ``_status``."""
    if not {"_run_id", "_status"} <= set(df.columns):
        return {}
    counts = df.loc[df["_run_id"] == run_id, "_status"].value_counts()
    return {str(status): int(number) for status, number in counts.items()}


def put_away(layout: Layout, run_id: str, replayed: Replay) -> None:
    """Drop a journal whose rows are in the database, unless more could be saved by hand."""
    shutil.rmtree(layout.early_dir(run_id), ignore_errors=True)
    path = layout.journal_path(run_id)
    if replayed.damaged:
        aside = database.aside_path(path, "damaged")
        path.rename(aside)
        log.warning("%s; it is kept as %s", damage(run_id, replayed), aside)
    else:
        path.unlink()


def damage(run_id: str, replayed: Replay) -> str:
    """Return the message about a journal whose end cannot be read."""
    return f"the last {replayed.left_over} bytes of the journal of run {run_id} are damaged"


def _merge_unless_foreign(past: StoredRun, df: pd.DataFrame) -> pd.DataFrame:
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
    for path in leftovers_of_writing(layout):
        path.unlink(missing_ok=True)


def leftovers_of_writing(layout: Layout) -> list[Path]:
    """Find these; one that is being written right now is among them, unless its lock is held."""
    return list(layout.database_dir.glob(f".{layout.database_basename}.*.tmp"))


def clear_leftovers(past: StoredRun) -> None:
    """Cancel the jobs of a dead run, and remove its credentials. The caller holds its lock.

    The jobs would end by themselves when they find no scheduler.
    """
    for folder in past.layout.run_dir(past.run_id).glob(f"{PRIVATE_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    path = past.jobs_path
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return
    names = {line.split()[1] for line in lines if len(line.split()) == 2}
    if not slurm.is_here():
        log.warning(
            "run %s has left jobs that cannot be cancelled from here, see %s", past.run_id, path
        )
        return
    for name in names:
        trouble = slurm.cancel_by_name(name)
        if trouble:
            log.warning("the jobs %s that run %s has left stay: %s", name, past.run_id, trouble)
            return
    log.info("cancelled what was left of the jobs of run %s", past.run_id)
    path.unlink()
