"""Rows of dead runs: how they are found, and merged into the database."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import dask.config
import pandas as pd

from psweep_dask._format import format_count
from psweep_dask._query import DatabaseError
from psweep_dask.errors import PsweepError
from psweep_dask.hpc import slurm
from psweep_dask.storage import database, frame, journal, plan
from psweep_dask.storage.database import PassedFrame
from psweep_dask.storage.journal import Keeping, Replay
from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout, RunFolder
from psweep_dask.storage.record import Block, RecordError
from psweep_dask.storage.status import WAITING
from psweep_dask.study import provenance
from psweep_dask.study.runs import (
    StoredRun,
    all_runs,
    remove_run_dir,
    resume_call,
    runs_of_database,
    write_info,
)
from psweep_dask.worker.early_rows import early_blocks

log = logging.getLogger("psweep_dask")


class RecoveryError(PsweepError):
    """Rows of a dead run that cannot be merged. They stay in its journal."""


def read_to_change(
    layout: Layout, runs: Sequence[StoredRun], may_begin: bool = False
) -> pd.DataFrame:
    """Return the database, which the caller is to change; the caller holds its lock.

    Raises
    ------
    MissingDatabaseError
        If the file is gone: an empty one would hide the rows that runs have made. With
        `may_begin`, the user wants a new one.
    DatabaseError
        If the file cannot be read. A damaged one has been renamed.
    """
    if not may_begin and (message := missing_message(layout, runs)):
        raise MissingDatabaseError(message)
    return database.read_to_change(layout.database_path)


class MissingDatabaseError(DatabaseError):
    """A database that is gone, while the runs are there that have made its rows."""


def missing_message(layout: Layout, runs: Sequence[StoredRun]) -> str:
    """Return what to do about a database that is gone; empty if it is there, or never was."""
    path = layout.database_path
    if path.exists():
        return ""
    merged = [run for run in runs if _has_merged(run)]
    aside = sorted(layout.database_dir.glob(f"{path.name}.damaged-*"))
    if not merged and not aside:
        return ""
    seen = [f"{format_count(len(merged), 'run')} with rows that were in it"] if merged else []
    seen += [f"the damaged {aside[-1].name}"] if aside else []
    return (
        f"{str(path)!r} is gone, but there are {' and '.join(seen)}: put a copy of it back, or "
        f"make it again from what the runs have kept by `psweep-dask rebuild {layout.calc_dir}`. "
        "To begin without these rows, choose another calc_dir= or pass df=pd.DataFrame()"
    )


def _has_merged(run: StoredRun) -> bool:
    counts = run.info.get("counts") or {}
    has_rows = any(number for status, number in counts.items() if status != "left")
    return (has_rows and not run.folder.journal_path.exists()) or bool(run.folder.kept_paths())


def recover(
    layout: Layout, df: pd.DataFrame | None = None, runs: Sequence[StoredRun] | None = None
) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
    """Merge the rows of all dead runs into the database, with a warning for each.

    The caller holds the lock of the database. The database is returned as it is on disk now, and
    the highest ``_run_seq`` and ``_pset_seq`` of each run of the study, whichever database it
    writes to. These are never given again, even if the user has deleted the rows: numbers name
    psets. `df` is the database, and `runs` are all runs of the study, if they were read under this
    lock already.
    """
    runs = all_runs(layout) if runs is None else runs
    ours = runs_of_database(layout, runs)
    df = read_to_change(layout, ours) if df is None else df
    remove_partial_databases(layout)
    for run in ours:
        if run.folder.journal_path.exists() or run.folder.jobs_path.exists():
            with run.try_lock() as lock:
                try:
                    df = df if lock is None else merge_run(run, df)
                except RecordError as err:
                    log.warning("run %s is not recovered: %s", run.run_id, err)
    return df, [run.last_seqs for run in runs]


def numbers_elsewhere(
    layout: Layout, runs: Sequence[StoredRun] | None = None
) -> list[tuple[int, int]]:
    """Return the highest ``_run_seq`` and ``_pset_seq`` in the other databases of the study.

    Some of their rows may belong to no run of the study, for instance if they were imported.
    """
    names = {str(run.info["database"]) for run in (all_runs(layout) if runs is None else runs)}
    own = os.path.normpath(layout.database_path)
    paths = {os.path.normpath(layout.root / name) for name in (*names, "database.pk")} - {own}
    numbers = []
    for path in sorted(paths):
        try:
            numbers.append(plan.last_seqs(database.read_or_empty(Path(path), is_plain=True)))
        except (OSError, DatabaseError) as err:
            log.warning("numbers in %s are not known here: %s", path, err)
    return numbers


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
    keeping = begin_to_keep(run.folder)
    try:
        rows = frame.from_blocks(replay)
        more = worker_blocks(run, rows, df)
        rows = with_blocks(rows, more)
        df = merge_rows(layout, rows, keeping) if len(rows) else df
        remove_journal(run.folder, replay, keeping if len(rows) else None, more)
    except OSError as err:
        raise RecoveryError(
            f"cannot merge {len(rows)} rows of run {run_id} into "
            f"{str(layout.database_path)!r}: {err.strerror}; they stay in its journal"
        ) from err
    finally:
        if keeping is not None:
            keeping.drop()
    left = run.info["psets"] - len(recorded_seqs(df, run_id))
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


def merge_rows(
    layout: Layout, rows: pd.DataFrame, keeping: Keeping | None, base: PassedFrame | None = None
) -> pd.DataFrame:
    """Do what `database.merge` does. If the disk is full, the copy of the journal gives way."""
    try:
        return database.merge(layout.database_path, rows, base)
    except OSError as err:
        if keeping is None or err.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        keeping.drop()
        return database.merge(layout.database_path, rows, base)


def worker_blocks(
    run: StoredRun, rows: pd.DataFrame, df: pd.DataFrame, is_plain: bool = False
) -> list[Block]:
    """Return the rows that only files of workers have, not those of the journal or the database."""
    known = recorded_seqs(rows, run.run_id) | recorded_seqs(df, run.run_id)
    blocks = list(early_blocks(run.folder.early_dir, known, is_plain))
    early = [columns[names.index("_pset_id")] for names, columns in blocks]
    known_ids = {
        id_ for ids in (*early, *(t.get("_pset_id", ()) for t in (rows, df))) for id_ in ids
    }
    for path in run.layout.tmpsave_path(run.run_id, "").parent.glob("*.pk"):
        if path.stem not in known_ids:
            try:
                saved = database.read_or_empty(path, is_plain)
                blocks += [_block_of(saved)] if len(saved) else []  # the file may be gone just now
            except (OSError, DatabaseError) as err:
                log.warning("%s cannot be read, its pset will run again: %r", path, err)
    return blocks


def _block_of(rows: pd.DataFrame) -> Block:
    times = rows["_time_utc"].astype("datetime64[ns]").astype("int64").tolist()
    columns = [times if name == "_time_utc" else rows[name].tolist() for name in rows.columns]
    return tuple(rows.columns), columns


def with_blocks(rows: pd.DataFrame, blocks: Sequence[Block]) -> pd.DataFrame:
    """Return rows of a run with those of blocks among them."""
    if not blocks:
        return rows
    return frame.in_order(frame.stacked([rows, frame.from_blocks(blocks)]))


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


def keeps_journals() -> bool:
    """Return whether the user wants copies of journals, for `rebuild`.

    Raises
    ------
    RecoveryError
        If dask's configuration says something else than true or false.
    """
    keep = dask.config.get("psweep.keep-journal", True)
    if not isinstance(keep, bool):
        raise RecoveryError(
            f"dask's configuration has psweep.keep-journal: {keep!r}; it must be true or false"
        )
    return keep


def begin_to_keep(folder: RunFolder, keep: bool | None = None) -> Keeping | None:
    """Begin to copy the journal of a run, for `rebuild`; None if the user wants no copies."""
    keep = keeps_journals() if keep is None else keep
    return Keeping(folder.journal_path) if keep else None


def remove_journal(
    folder: RunFolder, replay: Replay, keeping: Keeping | None, more: Sequence[Block] = ()
) -> None:
    """Remove the journal and the early rows of a run whose rows are in the database.

    Its copy gets its name before, with `more` rows that are not in the journal. A damaged journal
    is renamed instead: someone may be able to read more of it.
    """
    if keeping is not None:
        keeping.finish(folder.free_kept_path(), more)
        if keeping.error is not None:
            log.warning(
                "the rows of run %s are in the database, but no copy of them could be kept: %s",
                folder.path.name,
                keeping.error,
            )
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
    """Remove the credentials and unfinished copies of a dead run, and cancel its batch jobs.

    The caller holds the lock of its driver. Jobs that cannot be cancelled end by themselves when
    they find no scheduler.
    """
    for folder in run.folder.path.glob(f"{PRIVATE_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    for partial in journal.partial_copies(run.folder.journal_path):
        partial.unlink(missing_ok=True)
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
