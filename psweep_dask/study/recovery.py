"""Rows of dead runs: how they are found, and merged into the database."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from psweep_dask.errors import PsweepError
from psweep_dask.hpc import slurm
from psweep_dask.storage import database, frame, journal
from psweep_dask.storage.df_functions import df_read
from psweep_dask.storage.journal import Replay
from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout, RunFolder
from psweep_dask.storage.record import RecordError
from psweep_dask.storage.status import WAITING
from psweep_dask.study import provenance
from psweep_dask.study.runs import StoredRun, remove_run_dir, resume_call, stored_runs, write_info
from psweep_dask.worker.early_rows import early_blocks

log = logging.getLogger("psweep_dask")


class RecoveryError(PsweepError):
    """Rows of a dead run that cannot be merged. They stay in its journal."""


def recover(
    layout: Layout, df: pd.DataFrame, runs: Sequence[StoredRun] | None = None
) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
    """Merge the rows of all dead runs into the database, with a warning for each.

    The caller holds the lock of the database. A run stays as it is if its rows need modules that
    cannot be imported here. The database is returned as it is on disk now, and the highest
    ``_run_seq`` and ``_pset_seq`` of each run. These are never given again, even if the user has
    deleted the rows: numbers name psets. `runs` are the runs of the study, if they were read under
    this lock already.
    """
    remove_partial_databases(layout)
    reserved = []
    for run in stored_runs(layout) if runs is None else runs:
        reserved.append(run.last_seqs)
        if run.folder.journal_path.exists() or run.folder.jobs_path.exists():
            with run.try_lock() as lock:
                try:
                    df = df if lock is None else merge_run(run, df)
                except RecordError as err:
                    log.warning("run %s is not recovered: %s", run.run_id, err)
    return df, reserved


def merge_run(run: StoredRun, df: pd.DataFrame) -> pd.DataFrame:
    """Merge the rows of a dead run into the database, and return it.

    The caller holds the locks of the run's driver and of the database. A `RecordError` says that a
    result cannot be restored in this process.
    """
    layout, run_id = run.layout, run.run_id
    clean_up_run(run)
    if not run.folder.journal_path.exists():
        return df
    if not run.folder.plan_path.exists() and not run.folder.journal_path.stat().st_size:
        run.folder.journal_path.unlink()  # its driver died before the first pset
        remove_run_dir(run.folder)
        return df
    replay = journal.replay(run.folder.journal_path)
    rows = add_worker_rows(run, frame.from_blocks(replay), df)
    try:
        df = database.merge(layout.database_path, rows) if len(rows) else df
    except OSError as err:
        raise RecoveryError(
            f"cannot merge {len(rows)} rows of run {run_id} into "
            f"{str(layout.database_path)!r}: {err.strerror}; they stay in its journal"
        ) from err
    left = run.info["psets"] - len(recorded_seqs(df, run_id))
    remove_journal(run.folder, replay)
    info = run.info | {
        "end": provenance.now(),
        "ended": "died" if left else "done",
        "counts": count_statuses(df, run_id) | {"left": left},
    }
    write_info(layout, info)
    log.warning(
        "recovered %d of %d psets of run %s%s",
        int((df["_run_id"] == run_id).sum()) if "_run_id" in df.columns else 0,
        run.info["psets"],
        run_id,
        f"; {resume_call(layout, info)} finishes it" if left else "",
    )
    return df


def add_worker_rows(run: StoredRun, rows: pd.DataFrame, df: pd.DataFrame) -> pd.DataFrame:
    """Add to the rows of a journal those that only files of workers have, not the database `df`."""
    known = recorded_seqs(rows, run.run_id) | recorded_seqs(df, run.run_id)
    tables = [rows]
    if blocks := list(early_blocks(run.folder.early_dir, known)):
        tables.append(frame.from_blocks(blocks))
    known_ids = {pset_id for table in (*tables, df) for pset_id in table.get("_pset_id", ())}
    for path in run.layout.tmpsave_path(run.run_id, "").parent.glob("*.pk"):
        if path.stem not in known_ids:
            try:
                tables.append(df_read(path))
            except (OSError, pickle.UnpicklingError, ImportError, AttributeError, EOFError) as err:
                log.warning("%s cannot be read, its pset will run again: %r", path, err)
    return frame.in_order(frame.stacked(tables)) if len(tables) > 1 else rows


def recorded_seqs(df: pd.DataFrame, run_id: str, pending: bool = False) -> set[int]:
    """Return the ``_pset_seq`` of a run's psets with a row; pending rows count only if asked."""
    if not {"_run_id", "_pset_seq"} <= set(df.columns):
        return set()
    rows = df[df["_run_id"] == run_id]
    if "_status" in rows.columns and not pending:
        rows = rows[~rows["_status"].isin(WAITING)]
    return set(rows["_pset_seq"].dropna().astype(int))


def count_statuses(df: pd.DataFrame, run_id: str) -> dict[str, int]:
    """Return how many rows of a run have each ``_status``."""
    if not {"_run_id", "_status"} <= set(df.columns):
        return {}
    counts = df.loc[df["_run_id"] == run_id, "_status"].value_counts()
    return {str(status): int(number) for status, number in counts.items()}


def remove_journal(folder: RunFolder, replay: Replay) -> None:
    """Remove the journal and the early rows of a run whose rows are in the database.

    A damaged journal is renamed instead: someone may be able to read more of it.
    """
    shutil.rmtree(folder.early_dir, ignore_errors=True)
    path = folder.journal_path
    if replay.damaged:
        aside = database.aside_path(path, "damaged")
        path.rename(aside)
        log.warning("%s; it is kept as %s", damage_message(folder.path.name, replay), aside)
    else:
        path.unlink()


def damage_message(run_id: str, replay: Replay) -> str:
    """Return the message about a journal whose end cannot be read."""
    return f"the last {replay.unread_bytes} bytes of the journal of run {run_id} are damaged"


def find_partial_databases(layout: Layout) -> list[Path]:
    """Return the files of drivers that were killed, or that are writing the database right now."""
    return list(layout.database_dir.glob(f".{layout.database_basename}.*.tmp"))


def remove_partial_databases(layout: Layout) -> None:
    """Remove the files of drivers that were killed. The caller holds the lock of the database."""
    for path in find_partial_databases(layout):
        path.unlink(missing_ok=True)


def clean_up_run(run: StoredRun) -> None:
    """Remove the credentials of a dead run, and cancel its batch jobs.

    The caller holds the lock of its driver. Jobs that cannot be cancelled end by themselves when
    they find no scheduler.
    """
    for folder in run.folder.path.glob(f"{PRIVATE_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    path = run.folder.jobs_path
    if not path.exists():
        return
    lines = path.read_text().splitlines()
    names = {line.split()[1] for line in lines if len(line.split()) == 2}
    if not slurm.is_installed():
        log.warning(
            "run %s has left jobs that cannot be cancelled from here, see %s", run.run_id, path
        )
        return
    for name in names:
        if error := slurm.cancel_by_name(name):
            log.warning("the jobs %s that run %s has left stay: %s", name, run.run_id, error)
            return
    log.info("cancelled the jobs that run %s has left", run.run_id)
    path.unlink()
