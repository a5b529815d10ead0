"""`collect`: put the results of batch jobs into the database."""

from __future__ import annotations

import logging
import os
import shlex
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from psweep_dask._format import format_count
from psweep_dask._logging import show_log_lines
from psweep_dask.errors import PsweepError
from psweep_dask.hpc.ssh import shell_to
from psweep_dask.offline import transfer
from psweep_dask.offline.job_status import SlurmQueue, read_queue, status_of_jobs
from psweep_dask.offline.outcome import pending_row_status, read_outcome
from psweep_dask.offline.submissions import jobs_of
from psweep_dask.options import OptionError, Options, takes_options
from psweep_dask.storage import database, frame, pending_rows
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import Record, RecordError
from psweep_dask.storage.status import WAITING
from psweep_dask.study import recovery, runs
from psweep_dask.study.load import load_from
from psweep_dask.study.provenance import now
from psweep_dask.study.runs import StoredRun, open_study, stored_runs

log = logging.getLogger("psweep_dask")


class CollectError(PsweepError):
    """A database, or a SLURM, from which nothing can be collected."""


@takes_options()
def collect(
    calc_dir: str | os.PathLike[str] = "calc",
    *,
    ask: str | None = None,
    over: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Put the results that batch jobs have left in the folders of their psets into the database.

    Only rows whose ``_status`` is "prepared" or "lost" change. Such a row becomes

    - "ok", "error", "timeout" or "killed" if the job has left a ``record.pk`` (jobs with a func),
      a ``result.json`` (its entries become columns), or the file ``ended``, which job scripts for
      a shell write at their end;
    - "lost" if the job has ended and has left nothing, as far as SLURM or `over` says;
    - "prepared" otherwise.

    Call it at any time, and as often as you like.

    Parameters
    ----------
    ask : str, optional
        Name of a machine. The state of the jobs is read from its SLURM, through the remote shell
        that rsync uses, and the files of the jobs are copied from there, as by `pull`. By default,
        the SLURM of this machine is asked, if there is one.
    over : bool, optional
        Say that no job is pending or running any more, where no SLURM can be asked: jobs that were
        submitted and have left nothing are lost.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    NoStudyError
        If there is no study.
    CollectError
        If the database lacks a column that is needed, or the SLURM of `ask` does not answer.
    MachineError
        If there is no machine `ask`.
    TransferError
        If the files of `ask` cannot be copied.
    OptionError
        If an option has a value that is not allowed.

    See Also
    --------
    prep_batch : Prepare the jobs.
    prep_rest : Prepare lost jobs again.
    pull : Copy the files of jobs from another machine.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> from pathlib import Path
    >>> info = Path("templates/machines/local/info.yaml")
    >>> info.parent.mkdir(parents=True)
    >>> size = info.write_text("subcmd: sh")
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
    layout = open_study(options.calc_dir, options.database_dir, options.database_basename)
    collected = collect_from(layout, ask, over)
    log.info("%s", collected.summary(layout.calc_dir))
    return collected.df


class PendingRow(NamedTuple):
    """A row whose job may still bring its result."""

    run_id: str
    pset_id: str
    pset_seq: int
    status: str


PENDING_COLUMNS = [f"_{name}" for name in PendingRow._fields]


@dataclass
class CollectResult:
    """The whole database; and each row that was pending, its ``_status`` now, its job's state."""

    df: pd.DataFrame
    rows: list[tuple[PendingRow, str, str]] = field(default_factory=list)

    def busy_seqs(self, run_id: str) -> set[int]:
        """Return the ``_pset_seq`` of the psets of a run whose job may still run."""
        busy = ("pending", "running", "submitted")
        return {
            int(row.pset_seq)
            for row, status, state in self.rows
            if row.run_id == run_id and status == "prepared" and state in busy
        }

    def summary(self, calc_dir: str) -> str:
        """Return one line for people."""
        folder = shlex.quote(calc_dir)
        done = Counter(status for _, status, _ in self.rows if status not in WAITING)
        left = Counter(
            status if status == "lost" else state
            for _, status, state in self.rows
            if status in WAITING
        )
        failed = [row for row, status, _ in self.rows if status not in ("ok", "prepared")]
        text = f"collected {format_count(done.total(), 'pset')}"
        if done:
            text += f": {_shown_counts(done)}"
        if left:
            text += f"; {format_count(left.total(), 'pset')} left: {_shown_counts(left)}"
        if failed:
            text += f"; psweep-dask show {int(failed[0].pset_seq)} {folder} tells why"
        if left["lost"]:
            text += f", psweep-dask prep-rest {folder} prepares the lost ones again"
        return text


def _shown_counts(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common())


def collect_from(layout: Layout, ask: str | None = None, over: bool = False) -> CollectResult:
    """Do the work of `collect`."""
    offline = _offline_runs(layout)
    if not offline:
        return CollectResult(load_from(layout))
    with layout.lock():  # a preparation may have been killed
        df, _ = recovery.recover(layout)
    name = str(layout.database_path)
    database.check(df, name)
    if len(df) and (missing := [column for column in PENDING_COLUMNS if column not in df.columns]):
        raise CollectError(
            f"{name}: the column {missing[0]!r} is gone, by which rows that wait for a job are "
            "found; put it back (a backup or `git` may have it)"
        )
    if ask is not None:  # run scripts write their submissions to the machine where they run
        df = _pull(ask, layout)
    pending = _pending_rows(df, offline)
    # Submissions, queue, folders: in this order, a job that is submitted or ends meanwhile is seen.
    jobs = jobs_of(layout, (row[:2] for row in pending))
    queue = None if over else _read_queue(ask)
    if ask is not None:
        df = _pull(ask, layout)
    result = CollectResult(df)
    changes: dict[str, Record] = {}
    for row in pending:
        folder = layout.pset_folder(row.pset_id)
        job = status_of_jobs(jobs[row.pset_id], queue, over)
        try:
            outcome = read_outcome(folder, offline[row.run_id].info["offline"]["func"])
        except (OSError, RecordError) as err:  # of one pset: the others are collected all the same
            log.warning("%s is not collected: %s", folder.path, err)
            outcome = None
        change = pending_row_status(row.status, outcome, job, folder)
        result.rows.append((row, change["_status"], job.state))
        if change["_status"] != row.status:
            changes[row.pset_id] = change
    if changes:
        with layout.lock():
            df = database.read_to_change(layout.database_path)
            df = frame.in_order(pending_rows.complete(df, changes))
            result.df = database.replace(layout.database_path, df)
    for run in offline.values():
        _write_end(run, result.df)
    return result


def count_unsubmitted(layout: Layout) -> int:
    """Count the prepared rows whose job is not known to be submitted."""
    if not (offline := _offline_runs(layout)):
        return 0
    rows = _pending_rows(database.read_or_empty(layout.database_path, is_plain=True), offline)
    jobs = jobs_of(layout, (row[:2] for row in rows if row.status == "prepared"))
    return sum(not submitted for submitted in jobs.values())


def _offline_runs(layout: Layout) -> Mapping[str, StoredRun]:
    return {run.run_id: run for run in stored_runs(layout) if "offline" in run.info}


def _pull(ask: str, layout: Layout) -> pd.DataFrame:
    """Copy the study from a machine, and return the database, which may have got rows."""
    transfer.pull(ask, calc_dir=layout.root)
    return database.read_or_empty(layout.database_path)


def _read_queue(ask: str | None) -> SlurmQueue | None:
    shell = () if ask is None else shell_to(ask)
    queue = read_queue(shell)
    if queue is None and ask is not None:
        raise CollectError(
            f"squeue does not answer by {shlex.join(shell)!r}; nothing was collected"
        )
    return queue


def _pending_rows(df: pd.DataFrame, run_ids: Container[str]) -> list[PendingRow]:
    if not set(PENDING_COLUMNS) <= set(df.columns):
        return []
    rows = df.loc[df["_status"].isin(WAITING), PENDING_COLUMNS]
    all_rows = map(PendingRow._make, rows.itertuples(index=False, name=None))
    return [row for row in all_rows if row.run_id in run_ids]


def _write_end(run: StoredRun, df: pd.DataFrame) -> None:
    """Write to ``run.json`` that a run is done, when none of its rows is pending any more."""
    if run.info["ended"] not in ("prepared", "died") or not len(df):
        return
    counts = recovery.count_statuses(df, run.run_id)
    complete = run.info["ended"] == "prepared" or sum(counts.values()) == run.info["psets"]
    if complete and WAITING.isdisjoint(counts):
        done = {"ended": "done", "end": now(), "counts": counts | {"left": 0}}
        runs.write_info(run.layout, run.info | done)
