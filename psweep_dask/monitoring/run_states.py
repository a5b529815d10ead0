"""The states of the runs of a study, read from its files: no server and no driver is asked."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import pandas as pd

from psweep_dask._format import format_commands, short_repr
from psweep_dask.storage import database, journal
from psweep_dask.storage.columns import column_roles
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import Block, RecordError, seqs_in
from psweep_dask.storage.status import FAILED, WAITING
from psweep_dask.study.runs import StoredRun, resume_call, stored_runs
from psweep_dask.worker.early_rows import early_blocks

log = logging.getLogger("psweep_dask")

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class FailedPset:
    """A pset that has failed."""

    pset_seq: int
    status: str
    pset: str  # its parameters, shortened
    why: str  # one line of its _exc_txt


@dataclass(frozen=True)
class RunState:
    """The state of a run.

    Parameters
    ----------
    begun : str or None
        UTC, as ISO 8601.
    state : str
        "running" while its driver lives, "dead" if the driver was killed, else how it ended.
    counts : dict
        Number of its rows by ``_status``. Of a run that is done: as they were at its end.
    rate : float
        Psets per second, from the moment when there were workers: of the last minute while the
        run goes on, else of all of it; 0 if unknown.
    last_failures : list of FailedPset
        The newest first. Empty for a run that is done: the database has its rows.
    advice : str
        The call that finishes the run; empty if it is done, or goes on.
    """

    run_id: str
    run_seq: int
    func: str
    begun: str | None
    state: str
    total: int
    counts: dict[str, int]
    rate: float
    last_failures: list[FailedPset]
    advice: str = ""

    @property
    def done(self) -> int:
        """How many psets have a row, rows that wait for a batch job not counted."""
        return sum(number for status, number in self.counts.items() if status not in WAITING)

    @property
    def failed(self) -> int:
        """How many psets have failed."""
        return sum(number for status, number in self.counts.items() if status in FAILED)

    @property
    def left(self) -> int:
        """How many psets have no row yet, or one that waits for a batch job."""
        return max(0, self.total - self.done)

    @property
    def seconds_left(self) -> float | None:
        """Estimate of how many seconds the rest takes; None if unknown."""
        return self.left / self.rate if self.state == "running" and self.rate else None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, ready for JSON."""
        numbers = {"done": self.done, "failed": self.failed, "left": self.left}
        return asdict(self) | numbers | {"seconds_left": self.seconds_left}


def run_states(layout: Layout) -> list[RunState]:
    """Return the states of the runs of a study, the oldest run first."""
    runs = stored_runs(layout)
    # Journals are read before the database: rows move from the one to the other.
    blocks = {run.run_id: _read_blocks(run) for run in runs if _is_open(run)}
    df = database.read_or_empty(layout.database_path, is_plain=True) if blocks else pd.DataFrame()
    return [_state_of(run, blocks.get(run.run_id), df) for run in runs]


def _is_open(run: StoredRun) -> bool:
    """Return whether rows of a run may be missing in the database."""
    return run.info["ended"] != "done" or run.folder.journal_path.exists()


def _read_blocks(run: StoredRun) -> list[Block]:
    """Read the rows that the driver of a run has journaled, and those that its workers keep."""
    try:
        blocks = list(journal.replay(run.folder.journal_path, is_plain=True))
        return [*blocks, *early_blocks(run.folder.early_dir, seqs_in(blocks), is_plain=True)]
    except FileNotFoundError:  # the journal was never there, or its rows are in the database
        return []
    except RecordError as err:
        log.warning("the journal of run %s cannot be read here: %s", run.run_id, err)
        return []


def _state_of(run: StoredRun, blocks: list[Block] | None, df: pd.DataFrame) -> RunState:
    info = run.info
    alive = blocks is not None and run.is_alive()
    state = "running" if alive else run.ending
    tables: list[Columns] = []
    if blocks is not None:
        journaled = [dict(zip(names, columns, strict=True)) for names, columns in blocks]
        tables = [_database_rows(df, run.run_id, seqs_in(blocks)), *journaled]
        counts = dict(Counter(status for table in tables for status in table["_status"]))
        rate = _recent_rate(journaled) if alive else 0.0  # rows of the database are older
    else:
        counts = {name: n for name, n in (info.get("counts") or {}).items() if n and name != "left"}
        rate = info.get("psets_per_second") or _mean_rate(info, counts)
    return RunState(
        run_id=run.run_id,
        run_seq=info["run_seq"],
        func=str(info.get("func", "")),
        begun=info.get("start"),
        state=state,
        total=info["psets"],
        counts=counts,
        rate=rate,
        last_failures=_last_failures(tables),
        advice="" if state in ("running", "done", "simulated") else _advice(run, counts),
    )


def _advice(run: StoredRun, counts: Mapping[str, int]) -> str:
    """Return what finishes a run: a call, or for offline runs a sentence."""
    if "offline" not in run.info:
        return resume_call(run.layout, run.info)
    calc_dir = repr(run.layout.calc_dir)
    scripts = sorted(run.layout.root.glob("run_*.sh")) if counts.get("prepared") else []
    submit = f"{format_commands(scripts)} submits what is not yet, " if scripts else ""
    lost = counts.get("lost", 0)
    prepare = f", and ps.prep_rest({calc_dir}) for the {lost} that are lost" if lost else ""
    return f"{submit}ps.collect({calc_dir}) brings what there is{prepare}"


def _database_rows(df: pd.DataFrame, run_id: str, journaled: Collection[int]) -> Columns:
    """Return the rows of a run in the database, but for those that the journal has as well."""
    if not {"_run_id", "_pset_seq", "_status"} <= set(df.columns):
        return {"_status": []}
    rows = df[(df["_run_id"] == run_id) & ~df["_pset_seq"].isin(journaled)]
    return {str(name): rows[name].tolist() for name in rows.columns}


def _last_failures(tables: list[Columns]) -> list[FailedPset]:
    failed: deque[tuple[Columns, int]] = deque(maxlen=5)
    for table in tables:
        for place, status in enumerate(table["_status"]):
            if status in FAILED:
                failed.appendleft((table, place))
    return [_failed_pset(*failure) for failure in failed]


def _failed_pset(table: Columns, place: int) -> FailedPset:
    pset = {name: table[name][place] for name in column_roles(table).params}
    lines = str(table["_exc_txt"][place] or "").strip().split("\n")
    why = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    status = str(table["_status"][place])
    return FailedPset(int(table["_pset_seq"][place]), status, short_repr(pset), why)


def _recent_rate(tables: list[Columns]) -> float:
    """Return psets per second over the last minute."""
    now = time.time()
    times = [zip(table["_time_utc"], table["_pset_runtime"], strict=True) for table in tables]
    ends = [begun / 1e9 + runtime for begun, runtime in chain.from_iterable(times)]
    recent = [end for end in ends if end > now - 60]
    return len(recent) / max(now - min(recent), 1e-3) if recent else 0.0


def _mean_rate(info: dict[str, Any], counts: dict[str, int]) -> float:
    """Return the rate of a run that has none in ``run.json``: prepared, or its driver died."""
    begun, end = info.get("start"), info.get("end")
    if begun is None or end is None:
        return 0.0
    seconds = (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(begun)).total_seconds()
    return sum(counts.values()) / seconds if seconds else 0.0
