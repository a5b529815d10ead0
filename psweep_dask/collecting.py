"""``collect``: what batch jobs have left in the folders of their psets comes into the database."""

from __future__ import annotations

import logging
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from psweep_dask import database, frame, past, recovery, slurm
from psweep_dask.errors import PsweepError
from psweep_dask.layout import Layout
from psweep_dask.options import OptionError
from psweep_dask.outcome import read_outcome
from psweep_dask.past import PastRun, check_study, past_runs
from psweep_dask.progress import show_log_lines
from psweep_dask.provenance import now
from psweep_dask.pset import UNFINISHED
from psweep_dask.record import Record, RecordError
from psweep_dask.remote_shell import shell_to
from psweep_dask.standing import Standing, Standings
from psweep_dask.work import counted

log = logging.getLogger("psweep_dask")

BUSY = ("pending", "running", "submitted")
"""What a job does that may still bring a result; "submitted" means that no more is known."""


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
        uses. By default the SLURM here is asked, if there is one.
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
    if not isinstance(over, bool):
        raise OptionError(f"over={over!r}; allowed are True, False")
    if over and ask is not None:
        raise OptionError(f"over=True says what ask={ask!r} would find out; give one of them")
    show_log_lines()
    layout = Layout(calc_dir, database_dir, database_basename)
    check_study(layout)
    shell = None if ask is None else shell_to(ask)
    collected = collect_from(layout, shell, over)
    log.info("%s", collected.summary())
    return collected.df


@dataclass
class Collected:
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
    """

    df: pd.DataFrame
    found: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    busy: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def busy_seqs(self, run_id: str) -> set[int]:
        """Tell which psets of a run have a job that waits or runs."""
        return self.busy[run_id]

    def summary(self) -> str:
        """Tell it to people."""
        new = ", ".join(f"{number} {status}" for status, number in self.found.most_common())
        text = f"collected {counted(self.found.total(), 'pset')}" + (f": {new}" if new else "")
        if self.waiting:
            left = ", ".join(f"{number} {state}" for state, number in self.waiting.most_common())
            text += f"; {self.waiting.total()} are left: {left}"
        return text


def collect_from(layout: Layout, shell: list[str] | None = None, over: bool = False) -> Collected:
    """Do the work of `collect`.

    Parameters
    ----------
    layout : Layout
    shell : list of str, optional
        What takes a command to the machine whose SLURM is asked.
    over : bool, optional
        No job waits or runs any more.
    """
    offline = {one.run_id: one for one in past_runs(layout) if "offline" in one.info}
    if not offline:
        return Collected(recovery.load_from(layout))
    with layout.lock():  # of a preparation that was killed
        df, _ = recovery.recover(layout, database.read_or_empty(layout.database_path))
    # Before the folders: what ends meanwhile is seen.
    queue = None if over else slurm.jobs_of_user(shell or ())
    if shell is not None and queue is None:
        raise CollectError(
            f"squeue does not answer by {shlex.join(shell)!r}; nothing was collected"
        )
    collected = Collected(df)
    changes = _changes(layout, offline, Standings(layout, queue, over), collected)
    if changes:
        with layout.lock():
            df = database.read_or_empty(layout.database_path)
            collected.df = frame.append(df, _rows(df, changes))
            database.df_write(collected.df, layout.database_path)
    for one in offline.values():
        _note_end(one, collected.df)
    return collected


def _changes(
    layout: Layout, offline: Mapping[str, PastRun], standings: Standings, collected: Collected
) -> dict[str, Record]:
    """Find what is new, by ``_pset_id``."""
    changes: dict[str, Record] = {}
    for row in _waiting_rows(collected.df, offline):
        run_id, pset_id = row["_run_id"], row["_pset_id"]
        folder = layout.pset_folder(pset_id)
        standing = standings.of(run_id, pset_id)
        try:
            left = read_outcome(folder, offline[run_id].info["offline"]["func"])
        except (OSError, RecordError) as err:  # of one pset: the others do not wait for it
            log.warning("%s is not collected: %s", folder.path, err)
            left = {"_status": row["_status"]}
        now = _judged(left, row["_status"], standing)
        if now["_status"] not in UNFINISHED:
            collected.found[now["_status"]] += 1
        elif now["_status"] == "lost":
            collected.waiting["lost"] += 1
        else:
            collected.waiting[standing.doing] += 1
            if standing.doing in BUSY:
                collected.busy[run_id].add(int(row["_pset_seq"]))
        if now["_status"] != row["_status"]:
            changes[pset_id] = now
    return changes


def _judged(left: Record | None, status: str, standing: Standing) -> Record:
    """Decide what becomes of a row by what its folder and the batch system tell."""
    if left is not None and left["_status"] != "lost":
        return left
    if standing.doing in ("pending", "running"):
        return {"_status": "prepared", "_exc_txt": None}
    if left is None and standing.doing == "ended":
        text = f"its job is over, and has left nothing: {standing.detail}"
        return {"_status": "lost", "_exc_txt": text}
    return left or {"_status": status}


def _waiting_rows(df: pd.DataFrame, run_ids: Container[str]) -> Iterator[dict[str, Any]]:
    columns = ["_run_id", "_pset_id", "_pset_seq", "_status"]
    if set(columns) <= set(df.columns):
        rows = df.loc[df["_status"].isin(UNFINISHED), columns]
        for values in rows.itertuples(index=False, name=None):
            row = dict(zip(columns, values, strict=True))
            if row["_run_id"] in run_ids:
                yield row


def _rows(df: pd.DataFrame, changes: Mapping[str, Record]) -> pd.DataFrame:
    """Make the rows that take the place of those in the database, with all that these had."""
    rows = df[df["_pset_id"].isin(changes) & df["_status"].isin(UNFINISHED)]
    stamps = rows["_time_utc"].astype("datetime64[ns]").astype("int64")
    blocks = []
    for row, stamp in zip(rows.to_dict("records"), stamps, strict=True):
        whole: Record = (
            {str(name): value for name, value in row.items()}
            | {"_time_utc": stamp}
            | changes[row["_pset_id"]]
        )
        blocks.append((tuple(whole), [[value] for value in whole.values()]))
    return frame.from_blocks(blocks)


def _note_end(offline: PastRun, df: pd.DataFrame) -> None:
    """Note that a run is done when none of its rows waits any more."""
    if offline.info["ended"] not in ("prepared", "died") or "_status" not in df.columns:
        return
    statuses = df.loc[df["_run_id"] == offline.run_id, "_status"]
    complete = offline.info["ended"] == "prepared" or len(statuses) == offline.info["psets"]
    if complete and not statuses.isin(UNFINISHED).any():
        counts = {str(status): int(number) for status, number in statuses.value_counts().items()}
        done = {"ended": "done", "end": now(), "counts": {**counts, "left": 0}}
        past.write_info(offline.layout, offline.info | done)
