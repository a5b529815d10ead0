"""The life of a run on disk: numbers reserved, plan and journal written, rows merged."""

from __future__ import annotations

import io
import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from filelock import BaseFileLock

from psweep_dask.errors import PsweepError
from psweep_dask.options import Options
from psweep_dask.params.pset import Pset
from psweep_dask.storage import database, frame, plan
from psweep_dask.storage.atomic import replace_file, sync_dir
from psweep_dask.storage.database import PassedFrame
from psweep_dask.storage.journal import Journal, MemoryJournal
from psweep_dask.storage.layout import Layout, LayoutError
from psweep_dask.storage.plan import Plan
from psweep_dask.study import provenance, recovery, runs
from psweep_dask.study.backup import back_up, simulation
from psweep_dask.study.runs import StoredRun

log = logging.getLogger("psweep_dask")


class StudyError(PsweepError):
    """A study whose database cannot be written: the finished rows stay in the journal."""


@dataclass
class Run:
    """One run of a study, from its plan to its rows in the database.

    Parameters
    ----------
    layout : Layout
    plan : Plan
        Psets that are to be run.
    journal : Journal or MemoryJournal
        The latter if the run leaves nothing on disk.
    base : PassedFrame or None
        What the rows are appended to, if not to the database on disk.
    lock : BaseFileLock or None
        Held: it tells other processes that the driver of this run lives.
    info : dict
        What ``run.json`` holds.
    resumed : bool
        Whether the run began earlier: its plan is on disk then, and longer than this one.
    """

    layout: Layout
    plan: Plan
    journal: Journal | MemoryJournal
    base: PassedFrame | None
    lock: BaseFileLock | None = None
    info: dict[str, Any] = field(default_factory=dict)
    resumed: bool = False

    @property
    def saved(self) -> bool:
        """Whether the run is on disk."""
        return isinstance(self.journal, Journal)

    def write_plan(self, work: bytes) -> float:
        """Put the plan on disk before anything runs; give the mean size of a pset in bytes."""
        written = 0

        def write(stream: BinaryIO) -> None:
            nonlocal written
            plan.dump(self.plan, work, stream)
            written = stream.tell()

        if (
            self.saved and not self.resumed
        ):  # this also makes last that there is a journal, and a folder of the run
            replace_file(self.layout.plan_path(self.plan.run_id), write)
            sync_dir(self.layout.runs_dir)
        else:
            write(io.BytesIO())  # psets that cannot travel are found here
        return (written - len(work)) / len(self.plan)

    def finish(self, ended: str, counts: Mapping[str, int]) -> pd.DataFrame:
        """Merge the rows, and drop the journal once they are in the database for good.

        Parameters
        ----------
        ended : str
            How the run ended, for ``run.json``.
        counts : Mapping
            Psets by status.

        Returns
        -------
        DataFrame
            The whole database.

        Raises
        ------
        StudyError
            If the database cannot be written.
        """
        try:
            self.journal.close()
            if self.saved:
                return self._merge(ended, counts)
            rows = frame.from_blocks(self.journal.replay())
            return rows if self.base is None else frame.append(self.base.df, rows)
        finally:
            self.leave()

    def discard(self) -> None:
        """Leave nothing of a run in which nothing has run."""
        self.leave()
        if self.saved:
            self.layout.journal_path(self.plan.run_id).unlink()  # first: it reserves the numbers
        if self.saved and not self.resumed:
            runs.forget(self.layout, self.plan.run_id)

    def leave(self) -> None:
        """Let go of the run as it is on disk: from now on it counts as dead."""
        self.journal.close()
        if self.lock is not None:
            self.lock.release()

    def _merge(self, ended: str, counts: Mapping[str, int]) -> pd.DataFrame:
        layout, run_id = self.layout, self.plan.run_id
        try:
            replayed = self.journal.replay()
            rows = frame.from_blocks(replayed)
            journaled = len(rows)
            if ended != "done":  # tmpsave=True has rows of slices that were dropped
                past_run = StoredRun(layout, self.info)
                rows = recovery.with_workers_rows(past_run, rows, pd.DataFrame())
        except OSError as err:
            raise StudyError(
                f"the journal of run {run_id} cannot be read: {err}; the folder of a study must "
                "stay where it is while a run goes on"
            ) from err
        try:
            with layout.lock():
                df = database.merge(layout.database_path, rows, self.base)
                recovery.put_away(layout, run_id, replayed)
        except OSError as err:
            raise StudyError(
                f"cannot write {str(layout.database_path)!r}: {err.strerror}; the {len(rows)} "
                f"finished rows are kept in {str(layout.journal_path(run_id))!r}: ps.load shows "
                "them, and ps.resume or the next run merges them as soon as that works"
            ) from err
        if self.resumed or len(rows) > journaled:  # what was counted is but a part
            left = self.info["psets"] - len(recovery.recorded(df, run_id))
            counts = recovery.counts_of(df, run_id) | {"left": max(0, left)}
        self.info |= {"end": provenance.now(), "ended": ended, "counts": dict(counts)}
        try:
            runs.write_info(layout, self.info)
        except OSError as err:
            log.warning("cannot write %s: %s", layout.run_info_path(run_id), err.strerror)
        layout.stop_path(run_id).unlink(missing_ok=True)
        return df


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a run asks of its study.

    Parameters
    ----------
    psets : list of dict
    digests : bytes
        Their hashes.
    attempts : list of int, optional
        How many attempts earlier runs have made at each pset.
    df : DataFrame or None
        Takes the place of the database on disk.
    save, skip_dups, backup : bool
        As in `psweep_dask.run`.
    info : dict
        What else ``run.json`` shall tell.
    """

    psets: list[Pset]
    digests: bytes
    attempts: list[int] = field(default_factory=list)
    df: pd.DataFrame | None = None
    save: bool = True
    skip_dups: bool = False
    backup: bool = False
    info: dict[str, Any] = field(default_factory=dict)


def begin(layout: Layout, request: Request) -> Run:
    """Reserve numbers for a run and note it on disk, under the lock of the database.

    What dead runs have left is merged before.

    Returns
    -------
    Run
        Nothing of it is on disk if `skip_dups` has left its plan without psets.

    Raises
    ------
    psweep_dask.storage.database.DatabaseError
        If the database is damaged.
    psweep_dask.study.backup.BackupError
        If there is a backup of this state of the study already.
    """
    if request.df is not None:
        database.check(request.df, "df=")
    if not request.save:
        df = _database(layout, request)
        planned = _plan(request, df, [])
        unsaved = PassedFrame(df, frozenset())
        return Run(layout, planned, MemoryJournal(), unsaved, info=dict(request.info))
    session, patch = provenance.describe(Path.cwd())  # before the lock: git may take its time
    with layout.lock():
        on_disk = database.read_or_empty(layout.database_path)
        database.check(on_disk, str(layout.database_path))
        on_disk, reserved = recovery.recover(layout, on_disk)
        df = on_disk if request.df is None else request.df
        if request.backup and len(df):
            back_up(layout, df)
        planned = _plan(request, df, [*reserved, plan.last_seqs(on_disk)])
        base = PassedFrame(df, frozenset(on_disk.get("_run_id", ()))) if df is not on_disk else None
        if not len(planned):
            return Run(layout, planned, MemoryJournal(), PassedFrame(df, frozenset()))
        info = _info(layout, planned) | request.info | session
        try:
            with _taken(layout, planned.run_id) as lock:
                runs.write_info(layout, info)
                if patch:
                    layout.patch_path(planned.run_id).write_text(patch)
                journal = Journal(layout.journal_path(planned.run_id))
        except OSError as err:  # a full disk, mostly
            raise LayoutError(
                f"cannot write to {str(layout.run_dir(planned.run_id))!r} ({err.strerror}); "
                "nothing has run"
            ) from err
        return Run(layout, planned, journal, base, lock, info)


def reopen(before: StoredRun, planned: Plan, lock: BaseFileLock) -> Run:
    """Go on with a run that has ended before its time, and whose journal is merged.

    Parameters
    ----------
    before : PastRun
    planned : Plan
        The psets that are left.
    lock : BaseFileLock
        The lock of its driver, held.
    """
    layout = before.layout
    layout.stop_path(before.run_id).unlink(missing_ok=True)
    again = [*before.info.get("resumed", []), provenance.now()]
    info = before.info | {"resumed": again, "end": None, "ended": None}
    runs.write_info(layout, info)
    journal = Journal(layout.journal_path(before.run_id))
    return Run(layout, planned, journal, None, lock, info, resumed=True)


def _database(layout: Layout, request: Request) -> pd.DataFrame:
    if request.df is not None:
        return request.df
    return database.read_or_empty(layout.database_path)


def _plan(request: Request, df: pd.DataFrame, reserved: list[tuple[int, int]]) -> Plan:
    psets, digests = request.psets, request.digests
    if request.skip_dups:
        psets, digests = plan.without_dups(psets, digests, df)
    run_seq, first_seq = plan.next_seqs([*reserved, plan.last_seqs(df)])
    seqs = range(first_seq, first_seq + len(psets))
    attempts = dict(zip(seqs, request.attempts, strict=False))
    return Plan(str(uuid.uuid4()), run_seq, seqs, psets, digests, attempts)


def _info(layout: Layout, planned: Plan) -> dict[str, Any]:
    return {
        "run_id": planned.run_id,
        "run_seq": planned.run_seq,
        "first_pset_seq": planned.seqs[0],
        "psets": len(planned),
        "database": layout.relative_database(),
        "start": provenance.now(),
        "end": None,
        "ended": None,
        "counts": None,
    }


@contextmanager
def _taken(layout: Layout, run_id: str) -> Iterator[BaseFileLock]:
    """Take the lock of a driver, and keep it unless what follows fails."""
    layout.run_dir(run_id).mkdir(parents=True)
    lock = layout.driver_lock(run_id)
    lock.acquire()
    try:
        yield lock
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(layout.run_dir(run_id))
        lock.release()
        raise


def layout_of(options: Options) -> Layout:
    """Give the study that options name, ready to be written to."""
    layout = Layout(options.calc_dir, options.database_dir, options.database_basename)
    if options.simulate:
        return simulation(layout)
    if options.needs_folder:
        layout.make_writable()
    return layout
