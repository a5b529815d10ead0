"""The life of a run on disk: numbers reserved, plan and journal written, rows merged."""

from __future__ import annotations

import io
import json
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from psweep_dask import database, frame, plan, provenance
from psweep_dask.database import Base
from psweep_dask.errors import PsweepError
from psweep_dask.journal import Journal, MemoryJournal
from psweep_dask.layout import Layout, replace_file, sync_dir
from psweep_dask.plan import Plan
from psweep_dask.pset import Pset


class StudyError(PsweepError):
    """A study that cannot take a run as asked."""


@dataclass
class Run:
    """One run of a study, from its plan to its rows in the database.

    Parameters
    ----------
    layout : Layout
    plan : Plan
    journal : Journal or MemoryJournal
        The latter if the run leaves nothing on disk.
    base : Base or None
        What the rows are appended to, if not to the database on disk.
    info : dict
        What ``run.json`` holds.
    """

    layout: Layout
    plan: Plan
    journal: Journal | MemoryJournal
    base: Base | None
    info: dict[str, Any] = field(default_factory=dict)

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

        if self.saved:  # this also makes last that there is a journal, and a folder of the run
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
        """
        self.journal.close()
        replayed = self.journal.replay()
        rows = frame.from_blocks(replayed)
        if not self.saved:
            return rows if self.base is None else frame.append(self.base.df, rows)
        with self.layout.lock():
            df = database.merge(self.layout.database_path, rows, self.base)
        self.info |= {"end": provenance.now(), "ended": ended, "counts": dict(counts)}
        _write_info(self.layout, self.info)
        if not replayed.left_over:
            self.layout.journal_path(self.plan.run_id).unlink()
        return df

    def discard(self) -> None:
        """Leave nothing of a run in which nothing has run."""
        self.journal.close()
        if self.saved:
            self.layout.journal_path(self.plan.run_id).unlink()  # first: it reserves the numbers
            shutil.rmtree(self.layout.run_dir(self.plan.run_id))
            with suppress(OSError):  # other runs have theirs in there
                self.layout.runs_dir.rmdir()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a run asks of its study.

    Parameters
    ----------
    psets : list of dict
    digests : bytes
        Their hashes.
    df : DataFrame or None
        Takes the place of the database on disk.
    save, skip_dups, backup : bool
        As in `psweep_dask.run`.
    info : dict
        What else ``run.json`` shall tell.
    """

    psets: list[Pset]
    digests: bytes
    df: pd.DataFrame | None = None
    save: bool = True
    skip_dups: bool = False
    backup: bool = False
    info: dict[str, Any] = field(default_factory=dict)


def begin(layout: Layout, request: Request) -> Run:
    """Reserve numbers for a run and note it on disk, under the lock of the database.

    Returns
    -------
    Run
        Nothing of it is on disk if `skip_dups` has left its plan without psets.

    Raises
    ------
    psweep_dask.database.DatabaseError
        If the database is damaged.
    StudyError
        If there is a backup of this state of the study already.
    """
    if request.df is not None:
        database.check(request.df, "df=")
    if not request.save:
        df = _database(layout, request)
        planned = _plan(request, df, [])
        unsaved = Base(df, frozenset())
        return Run(layout, planned, MemoryJournal(), unsaved, dict(request.info))
    session, patch = provenance.describe(Path.cwd())  # before the lock: git may take its time
    with layout.lock():
        on_disk = database.read_or_empty(layout.database_path)
        database.check(on_disk, str(layout.database_path))
        df = on_disk if request.df is None else request.df
        if request.backup and len(df):
            _back_up(layout, df)
        reserved = [*_unmerged(layout), plan.last_seqs(on_disk)]
        planned = _plan(request, df, reserved)
        base = Base(df, frozenset(on_disk.get("_run_id", ()))) if df is not on_disk else None
        if not len(planned):
            return Run(layout, planned, MemoryJournal(), Base(df, frozenset()))
        info = _info(layout, planned) | request.info | session
        _write_info(layout, info)
        if patch:
            layout.patch_path(planned.run_id).write_text(patch)
        return Run(layout, planned, Journal(layout.journal_path(planned.run_id)), base, info)


def simulation(layout: Layout) -> Layout:
    """Make the folder in which simulate=True plays: empty but for a copy of the database."""
    simulated = layout.simulated()
    if simulated.root.exists():
        shutil.rmtree(simulated.root)
    simulated.root.mkdir(parents=True)
    if layout.database_path.exists():
        shutil.copy(layout.database_path, simulated.database_path)
    return simulated


def _database(layout: Layout, request: Request) -> pd.DataFrame:
    if request.df is not None:
        return request.df
    return database.read_or_empty(layout.database_path)


def _plan(request: Request, df: pd.DataFrame, reserved: list[tuple[int, int]]) -> Plan:
    psets, digests = request.psets, request.digests
    if request.skip_dups:
        psets, digests = plan.without_dups(psets, digests, df)
    run_seq, first_seq = plan.next_seqs([*reserved, plan.last_seqs(df)])
    return Plan(str(uuid.uuid4()), run_seq, first_seq, psets, digests)


def _unmerged(layout: Layout) -> list[tuple[int, int]]:
    """Give the last numbers of each run whose rows are not in the database: another driver's."""
    journals = layout.runs_dir.glob("*/" + layout.journal_path("").name)
    taken = []
    for path in journals:
        with suppress(FileNotFoundError, json.JSONDecodeError):  # discarded meanwhile, or torn
            info = json.loads(layout.run_info_path(path.parent.name).read_bytes())
            taken.append((info["run_seq"], info["first_pset_seq"] + info["psets"] - 1))
    return taken


def _info(layout: Layout, planned: Plan) -> dict[str, Any]:
    return {
        "run_id": planned.run_id,
        "run_seq": planned.run_seq,
        "first_pset_seq": planned.first_seq,
        "psets": len(planned),
        "database": str(layout.database_path),
        "start": provenance.now(),
        "end": None,
        "ended": None,
        "counts": None,
    }


def _write_info(layout: Layout, info: dict[str, Any]) -> None:
    text = json.dumps(info, indent=2)
    path = layout.run_info_path(info["run_id"])
    replace_file(path, lambda stream: stream.write(text.encode()), last=False)


def _back_up(layout: Layout, df: pd.DataFrame) -> None:
    """Copy the whole study; the copy gets its name when it is complete."""
    if not {"_time_utc", "_run_id"} <= set(df.columns):
        raise StudyError("backup=True names the copy after _time_utc and _run_id: both are missing")
    stamp = pd.Timestamp(df["_time_utc"].max()).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    target = layout.backup_dir(stamp, df["_run_id"].iloc[-1])
    if target.exists():
        raise StudyError(
            f"the backup {str(target)!r} exists: there is nothing new in {layout.calc_dir!r} "
            "since; leave backup=True away, or move that folder"
        )
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(layout.root, partial, symlinks=True)
    if layout.database_dir != layout.root and layout.database_path.exists():
        shutil.copy2(layout.database_path, partial / layout.database_basename)
    partial.rename(target)
