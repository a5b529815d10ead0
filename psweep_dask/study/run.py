"""The life of a run on disk.

| step | what it does |
| --- | --- |
| `begin_run` | reserves the numbers, takes the driver's lock, writes ``run.json`` |
| `Run.write_plan` | writes the psets and func to ``plan.pk``, before the first pset runs |
| `Run.journal` | takes the rows while the run goes on |
| `Run.finish` | merges the rows into the database, packs the journal, completes ``run.json`` |

`Run.discard` takes the place of `Run.finish` if nothing has run. `reopen_run` takes the place of
`begin_run` for a run that has ended early. If the driver dies, the system frees its lock, and
`psweep_dask.study.recovery` merges what is in the journal.
"""

from __future__ import annotations

import io
import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
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
from psweep_dask.storage.layout import Layout, LayoutError, RunFolder
from psweep_dask.storage.plan import Plan
from psweep_dask.storage.record import Block
from psweep_dask.study import provenance, recovery, runs, sources
from psweep_dask.study.backup import back_up_study, make_simulation_dir
from psweep_dask.study.runs import StoredRun

log = logging.getLogger("psweep_dask")


class StudyError(PsweepError):
    """A study whose database or journal cannot be used. Finished rows stay in the journal."""


@dataclass
class Run:
    """A run of this process, as `begin_run` or `reopen_run` makes it."""

    layout: Layout
    plan: Plan
    journal: Journal | MemoryJournal  # MemoryJournal: the run leaves nothing on disk
    base: PassedFrame | None  # what rows are appended to, if not to the database on disk
    lock: BaseFileLock | None = None  # held: other processes see by it that the driver lives
    info: dict[str, Any] = field(default_factory=dict)  # what run.json says
    keeps_journal: bool = field(default_factory=recovery.keeps_journals)  # asked before it begins
    appended: int = 0  # number of rows in the journal, if no other program has written to it
    resumed: bool = False  # an earlier driver began the run: its plan is on disk, with all psets

    @property
    def folder(self) -> RunFolder:
        """The folder of the run; there is none if it is not saved."""
        return self.layout.run_folder(self.plan.run_id)

    @property
    def saved(self) -> bool:
        """Whether the run is on disk."""
        return isinstance(self.journal, Journal)

    def write_plan(self, work: bytes) -> float:
        """Write the plan and the packed `Work` to disk; return the mean size of a pset in bytes."""
        size = 0

        def write(stream: BinaryIO) -> None:
            nonlocal size
            plan.dump(self.plan, work, stream)
            size = stream.tell()

        if self.saved and not self.resumed:
            replace_file(self.folder.plan_path, write)
            sync_dir(self.layout.runs_dir)  # the folder of the run must survive a power cut, too
        else:
            write(io.BytesIO())
        return (size - len(work)) / len(self.plan)

    def append(self, frame: bytes, rows: int) -> None:
        """Append a frame of so many rows to the journal, or raise `JournalError`."""
        self.journal.append(frame)
        self.appended += rows

    def finish(self, ended: str, counts: Mapping[str, int]) -> pd.DataFrame:
        """Merge the rows into the database; then the journal becomes a compressed copy.

        `ended` is how the run ended, "done" if all psets have a row; `counts` is the number of
        psets by ``_status``. Both are for ``run.json``. The whole database is returned.
        """
        try:
            self.journal.close()
            if self.saved:
                return self._merge(ended, counts)
            rows = frame.from_blocks(self.journal.replay())
            return rows if self.base is None else frame.append(self.base.df, rows)
        finally:
            self.release()

    def discard(self) -> None:
        """Remove all that is on disk of a run in which nothing has run."""
        self.release()
        if self.saved:
            # The journal goes first: if this is cut off, there is nothing to recover.
            self.folder.journal_path.unlink()
        if self.saved and not self.resumed:
            runs.remove_run_dir(self.folder)

    def release(self) -> None:
        """Close the journal and free the driver's lock: other processes may now go on with it."""
        self.journal.close()
        if self.lock is not None:
            self.lock.release()

    def _merge(self, ended: str, counts: Mapping[str, int]) -> pd.DataFrame:
        layout, run_id = self.layout, self.plan.run_id
        keeping = None
        more: list[Block] = []
        try:
            replay = self.journal.replay()
            keeping = recovery.begin_to_keep(self.folder, self.keeps_journal)
            rows = frame.from_blocks(replay)
            missing = self.appended - len(rows)
            if missing > 0:
                ended = "broken off"
            if ended != "done":  # workers may have rows of slices that were dropped
                stored = StoredRun(layout, self.info)
                more = recovery.worker_blocks(stored, rows, pd.DataFrame())
                rows = recovery.with_blocks(rows, more)
        except OSError as err:
            raise StudyError(
                f"the journal of run {run_id} cannot be read: {err}; the folder of a study must "
                "stay where it is while a run goes on"
            ) from err
        try:
            with layout.lock():
                if self.base is None and (
                    message := recovery.missing_message(layout, runs.stored_runs(layout))
                ):
                    raise StudyError(
                        f"{message}. The {len(rows)} finished rows of this run are kept in "
                        f"{str(self.folder.journal_path)!r}"
                    )
                df = recovery.merge_rows(layout, rows, keeping, self.base)
                recovery.remove_journal(self.folder, replay, keeping if len(rows) else None, more)
        except OSError as err:
            raise StudyError(
                f"cannot write {str(layout.database_path)!r}: {err.strerror}; the {len(rows)} "
                f"finished rows are kept in {str(self.folder.journal_path)!r}: ps.load shows "
                "them, and ps.resume or the next run merges them as soon as that works"
            ) from err
        finally:
            if keeping is not None:
                keeping.drop()
        if self.resumed or more or missing > 0:  # this driver has not counted these rows
            left = self.info["psets"] - len(recovery.recorded_seqs(df, run_id))
            counts = recovery.count_statuses(df, run_id) | {"left": max(0, left)}
        self.info |= {"end": provenance.now(), "ended": ended, "counts": dict(counts)}
        try:
            runs.write_info(layout, self.info)
        except OSError as err:
            log.warning("cannot write %s: %s", self.folder.info_path, err.strerror)
        self.folder.stop_path.unlink(missing_ok=True)
        if missing > 0:
            raise StudyError(
                f"{missing} finished rows of run {run_id} are lost, since another program has "
                "written to its journal while the run went on; the others are in the database, and "
                f"{runs.resume_call(layout, self.info)} runs the rest again"
            )
        return df


def begin_run(
    options: Options,
    psets: list[Pset],
    digests: bytes,
    info: Mapping[str, Any],
    attempts: Sequence[int] = (),
) -> Run:
    """Reserve numbers for a new run, and write its ``run.json`` and an empty journal.

    This holds the lock of the database, so that no two runs get the same numbers. Rows of dead
    runs are merged before. If `skip_dups` leaves no pset, nothing of the run is on disk. `info`
    goes to ``run.json`` too; `attempts` counts those that earlier runs have made at each pset. A
    log line says if another source of func has made rows that are kept.
    """

    def number_psets(
        df: pd.DataFrame, reserved: list[tuple[int, int]], stored: Sequence[StoredRun]
    ) -> Plan:
        made_by = sources.RowSources(stored, info.get("func", "func"), info.get("source"))
        run_seq, first_seq = plan.next_seqs([*reserved, plan.last_seqs(df)])
        if options.skip_dups:
            kept = _without_dups(options, psets, digests, df, made_by)
        else:
            kept = psets, digests
            if counts := made_by.results_of_others(df):
                log.info("%s", sources.changed_message(made_by.name, counts, run_seq, layout))
        seqs = range(first_seq, first_seq + len(kept[0]))
        by_seq = dict(zip(seqs, attempts, strict=False))
        return Plan(str(uuid.uuid4()), run_seq, seqs, *kept, by_seq)

    recovery.keeps_journals()  # an error in the configuration ends the run before it begins
    layout = layout_of(options)
    if options.df is not None:
        database.check(options.df, "df=")
    if not options.save:
        df = database.read_or_empty(layout.database_path) if options.df is None else options.df
        unsaved = PassedFrame(df, frozenset())
        stored = runs.stored_runs(layout) if options.skip_dups and len(df) else []
        return Run(layout, number_psets(df, [], stored), MemoryJournal(), unsaved, info=dict(info))
    # Before the lock is taken, since git may need some time:
    session, patch = provenance.describe_session(Path.cwd())
    with layout.lock(), layout.numbers_lock():
        known = runs.all_runs(layout)
        stored = runs.runs_of_database(layout, known)
        on_disk = recovery.read_to_change(layout, stored, may_begin=options.df is not None)
        database.check(on_disk, str(layout.database_path))
        on_disk, reserved = recovery.recover(layout, on_disk, known)
        df = on_disk if options.df is None else options.df
        if options.backup and len(df):
            back_up_study(layout, df)
        reserved += recovery.numbers_elsewhere(layout, known)
        planned = number_psets(df, [*reserved, plan.last_seqs(on_disk)], stored)
        if not len(planned):
            return Run(layout, planned, MemoryJournal(), PassedFrame(df, frozenset()))
        base = PassedFrame(df, frozenset(on_disk.get("_run_id", ()))) if df is not on_disk else None
        times = {"start": provenance.now(), "end": None, "counts": None}
        full_info = {**runs.info_of_plan(layout, planned), **times, **info, **session}
        journal, lock = _write_run(layout, full_info, patch)
        return Run(layout, planned, journal, base, lock, full_info)


def _without_dups(
    options: Options,
    psets: list[Pset],
    digests: bytes,
    df: pd.DataFrame,
    made_by: sources.RowSources,
) -> tuple[list[Pset], bytes]:
    """Return the psets that `skip_dups` leaves, and their digests."""
    if options.skip_dups == sources.SAME_FUNC:
        return plan.without_dups(psets, digests, made_by.rows_of_same(df))
    kept = plan.without_dups(psets, digests, df)
    left_out = set(plan.hashes(digests)).difference(plan.hashes(kept[1]))
    if counts := made_by.results_of_others(df, left_out):
        log.warning("%s", sources.skipped_message(made_by.name, counts))
    return kept


def _write_run(layout: Layout, info: dict[str, Any], patch: str) -> tuple[Journal, BaseFileLock]:
    """Write the folder of a run; return its empty journal, and the driver's lock, held."""
    folder = layout.run_folder(info["run_id"])
    lock = folder.driver_lock()
    try:
        folder.path.mkdir(parents=True)
        lock.acquire()
        runs.write_info(layout, info)
        if patch:
            folder.patch_path.write_text(patch)
        return Journal(folder.journal_path), lock
    except BaseException as err:
        shutil.rmtree(folder.path, ignore_errors=True)
        lock.release()
        if not isinstance(err, OSError):
            raise
        raise LayoutError(  # mostly a full disk
            f"cannot write to {str(folder.path)!r} ({err.strerror}); nothing has run"
        ) from err


def reopen_run(stored: StoredRun, left: Plan, lock: BaseFileLock) -> Run:
    """Go on with the psets that are `left` of a run whose journal is merged; `lock` is held."""
    stored.folder.stop_path.unlink(missing_ok=True)
    resumed = [*stored.info.get("resumed", []), provenance.now()]
    info = stored.info | {"resumed": resumed, "end": None, "ended": None}
    runs.write_info(stored.layout, info)
    journal = Journal(stored.folder.journal_path)
    return Run(stored.layout, left, journal, None, lock, info, resumed=True)


def layout_of(options: Options) -> Layout:
    """Return the handle of the study that options name, and make its folders."""
    layout = Layout(options.calc_dir, options.database_dir, options.database_basename)
    if options.simulate:
        return make_simulation_dir(layout)
    if options.needs_folder:
        layout.make_writable()
    return layout
