"""``collect``: what batch jobs have left in the folders of their psets comes into the database."""

from __future__ import annotations

import logging
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from psweep_dask._format import counted
from psweep_dask._logging import show_log_lines
from psweep_dask.errors import PsweepError
from psweep_dask.hpc.ssh import shell_to
from psweep_dask.offline import transfer
from psweep_dask.offline.job_status import (
    MAY_STILL_RUN,
    JobStatus,
    SlurmQueue,
    ask_queue,
    status_of_jobs,
)
from psweep_dask.offline.outcome import Outcome, pending_row_status, read_outcome
from psweep_dask.offline.submissions import jobs_of
from psweep_dask.options import OptionError, Options
from psweep_dask.params.pset import UNFINISHED
from psweep_dask.storage import database, frame, pending_rows
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import Record, RecordError
from psweep_dask.study import recovery, runs
from psweep_dask.study.load import load_from
from psweep_dask.study.provenance import now
from psweep_dask.study.runs import StoredRun, check_study, stored_runs

log = logging.getLogger("psweep_dask")

COLUMNS = ("_run_id", "_pset_id", "_pset_seq", "_status")
"""What a row that waits is found by."""


class CollectError(PsweepError):
    """Nothing can be collected as asked."""


def collect(
    calc_dir: str | os.PathLike[str] = "calc",
    *,
    ask: str | None = None,
    over: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Bring what batch jobs have left in the folders of their psets into the database.

    Each row that waits for a job is looked at: it becomes "ok", "error", "timeout" or "killed"
    when its job has left a ``record.pk`` (jobs with a func), a ``result.json`` (what it holds
    becomes columns) or has noted how it ended (job scripts for a shell do); "lost" when SLURM
    says that the job is over, and it has left nothing; else it stays "prepared". All other rows
    stay as they are. This may be done at any time and as often as one likes.

    Parameters
    ----------
    calc_dir : str or PathLike, optional
        Folder of the study.
    ask : str, optional
        Name of a machine whose SLURM is asked for the jobs, through the remote shell that rsync
        uses; then what they have left there is pulled, as by `pull`. By default the SLURM here
        is asked, if there is one.
    over : bool, optional
        Say that no job waits or runs any more, where nobody can be asked: what was submitted and
        has left nothing is lost.
    database_dir, database_basename
        As in `run`.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    PsweepError
        If there is no study, or the machine that is to be asked does not answer.

    Examples
    --------
    >>> import json
    >>> import psweep_dask as ps
    >>> from pathlib import Path
    >>> for name, text in {"subcmd": "subcmd: sh", "script": "#!/bin/sh"}.items():
    ...     folder = Path("templates/machines/local")
    ...     folder.mkdir(parents=True, exist_ok=True)
    ...     path = folder / ("info.yaml" if name == "subcmd" else "jobscript")
    ...     size = path.write_text(text)
    >>> df = ps.prep_batch(ps.plist("a", [1, 2]), func=lambda pset: {})
    >>> ps.collect("calc")._status.tolist()
    ['prepared', 'prepared']
    """
    options = Options.of(locals())
    if not isinstance(over, bool):
        raise OptionError(f"over={over!r}; allowed are True, False")
    if not isinstance(ask, str | None):
        raise OptionError(f"ask={ask!r}; allowed are None, the name of a machine")
    if over and ask is not None:
        raise OptionError(f"over=True says what ask={ask!r} would find out; give one of them")
    show_log_lines()
    layout = Layout(options.calc_dir, options.database_dir, options.database_basename)
    check_study(layout)
    collected = collect_from(layout, ask, over)
    log.info("%s", collected.summary(layout.calc_dir))
    return collected.df


class PendingRow(NamedTuple):
    """A row that waits for its job."""

    run_id: str
    pset_id: str
    pset_seq: int
    status: str


@dataclass
class CollectResult:
    """What was found.

    Parameters
    ----------
    df : DataFrame
        The whole database.
    found : Counter
        Rows that do not wait any more, by ``_status``.
    waiting : Counter
        Rows that wait, by what their job does.
    busy : dict
        Numbers of the psets whose job waits or runs, by run.
    failed : int or None
        Number of the first pset that has failed or is lost.
    """

    df: pd.DataFrame
    found: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    busy: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    failed: int | None = None

    def count(self, row: PendingRow, status: str, standing: JobStatus) -> None:
        """Take into account what has become of a row that was waiting."""
        if self.failed is None and status not in ("ok", "prepared"):
            self.failed = int(row.pset_seq)
        if status not in UNFINISHED:
            self.found[status] += 1
        elif status == "lost":
            self.waiting["lost"] += 1
        else:
            self.waiting[standing.doing] += 1
            if standing.doing in MAY_STILL_RUN:
                self.busy[row.run_id].add(int(row.pset_seq))

    def busy_seqs(self, run_id: str) -> set[int]:
        """Tell which psets of a run have a job that waits or runs."""
        return self.busy[run_id]

    def summary(self, calc_dir: str) -> str:
        """Tell it to people."""
        folder = shlex.quote(calc_dir)
        new = ", ".join(f"{number} {status}" for status, number in self.found.most_common())
        text = f"collected {counted(self.found.total(), 'pset')}" + (f": {new}" if new else "")
        if self.waiting:
            left = ", ".join(f"{number} {state}" for state, number in self.waiting.most_common())
            text += f"; {counted(self.waiting.total(), 'pset')} left: {left}"
        if self.failed is not None:
            text += f"; psweep-dask show {self.failed} {folder} tells why"
        if self.waiting["lost"]:
            text += f", psweep-dask prep-rest {folder} prepares the lost ones again"
        return text


def collect_from(layout: Layout, ask: str | None = None, over: bool = False) -> CollectResult:
    """Do the work of `collect`.

    Parameters
    ----------
    layout : Layout
    ask : str, optional
        The machine whose SLURM is asked, and where the files are.
    over : bool, optional
        No job waits or runs any more.
    """
    offline = {one.run_id: one for one in stored_runs(layout) if "offline" in one.info}
    if not offline:
        return CollectResult(load_from(layout))
    with layout.lock():  # of a preparation that was killed
        df, _ = recovery.recover(layout, database.read_or_empty(layout.database_path))
    _check(df, layout)
    if ask is not None:  # what was submitted over there is noted there
        transfer.pull(ask, calc_dir=layout.root)
        df = database.read_or_empty(layout.database_path)
    waiting = list(_waiting_rows(df, offline))
    jobs = jobs_of(layout, ((row.run_id, row.pset_id) for row in waiting))
    # Jobs, SLURM, folders, in this order: what is submitted or ends meanwhile is seen.
    queue = None if over else _queue(ask)
    if ask is not None:
        transfer.pull(ask, calc_dir=layout.root)
        df = database.read_or_empty(layout.database_path)  # which may have got rows
    collected = CollectResult(df)
    changes: dict[str, Record] = {}
    for row in waiting:
        standing = status_of_jobs(jobs[row.pset_id], queue, over)
        with_func = offline[row.run_id].info["offline"]["func"]
        left = _outcome(layout, row, with_func)
        become = pending_row_status(row.status, left, standing, layout.pset_folder(row.pset_id))
        collected.count(row, become["_status"], standing)
        if become["_status"] != row.status:
            changes[row.pset_id] = become
    if changes:
        with layout.lock():
            df = database.read_or_empty(layout.database_path)
            df = frame.in_order(pending_rows.complete(df, changes))
            collected.df = database.replace(layout.database_path, df)
    for one in offline.values():
        _note_end(one, collected.df)
    return collected


def count_unsubmitted(layout: Layout) -> int:
    """Count the rows that wait for a job of which nobody knows here that it was submitted."""
    offline = {one.run_id for one in stored_runs(layout) if "offline" in one.info}
    if not offline:
        return 0
    waiting = _waiting_rows(database.read_or_empty(layout.database_path), offline)
    prepared = ((row.run_id, row.pset_id) for row in waiting if row.status == "prepared")
    return sum(not one for one in jobs_of(layout, prepared).values())


def _check(df: pd.DataFrame, layout: Layout) -> None:
    """Make sure that rows that wait can be found, and taken away."""
    name = str(layout.database_path)
    database.check(df, name)
    missing = [one for one in COLUMNS if one not in df.columns]
    if len(df) and missing:
        raise CollectError(
            f"{name}: the column {missing[0]!r} is gone, by which rows that wait for a job are "
            "found; put it back (a backup or `git` may have it)"
        )


def _waiting_rows(df: pd.DataFrame, run_ids: Container[str]) -> Iterator[PendingRow]:
    if not set(COLUMNS) <= set(df.columns):
        return
    rows = df.loc[df["_status"].isin(UNFINISHED), list(COLUMNS)]
    for row in map(PendingRow._make, rows.itertuples(index=False, name=None)):
        if row.run_id in run_ids:
            yield row


def _queue(ask: str | None) -> SlurmQueue | None:
    shell = () if ask is None else shell_to(ask)
    queue = ask_queue(shell)
    if queue is None and ask is not None:
        raise CollectError(
            f"squeue does not answer by {shlex.join(shell)!r}; nothing was collected"
        )
    return queue


def _outcome(layout: Layout, row: PendingRow, with_func: bool) -> Outcome | None:
    folder = layout.pset_folder(row.pset_id)
    try:
        return read_outcome(folder, with_func)
    except (OSError, RecordError) as err:  # of one pset: the others do not wait for it
        log.warning("%s is not collected: %s", folder.path, err)
        return None


def _note_end(offline: StoredRun, df: pd.DataFrame) -> None:
    """Note that a run is done when none of its rows waits any more."""
    if offline.info["ended"] not in ("prepared", "died") or not len(df):
        return
    statuses = df.loc[df["_run_id"] == offline.run_id, "_status"]
    complete = offline.info["ended"] == "prepared" or len(statuses) == offline.info["psets"]
    if complete and not statuses.isin(UNFINISHED).any():
        counts = {str(status): int(number) for status, number in statuses.value_counts().items()}
        done = {"ended": "done", "end": now(), "counts": {**counts, "left": 0}}
        runs.write_info(offline.layout, offline.info | done)
