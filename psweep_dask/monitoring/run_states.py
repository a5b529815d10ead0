"""The states of the runs of a study, read from its files: no server and no driver is asked."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
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

FAILURES_SHOWN = 5
"""How many failures of a run are shown, the last ones."""

RATE_WINDOW_SECONDS = 60.0
"""The rate of a run that goes on is that of the last minute."""


@dataclass(frozen=True)
class FailedPset:
    """A pset that has failed.

    Parameters
    ----------
    pset_seq : int
        Its ``_pset_seq``.
    status : str
        Its ``_status``.
    pset : str
        Its parameters, shortened.
    why : str
        One line of its ``_exc_txt``.
    """

    pset_seq: int
    status: str
    pset: str
    why: str


@dataclass(frozen=True)
class RunState:
    """The state of a run.

    Parameters
    ----------
    run_id, func : str
        Its ``_run_id`` and the name of its func.
    run_seq : int
        Its ``_run_seq``.
    begun : str or None
        Time of its begin, UTC, as ISO 8601.
    state : str
        "running" while its driver lives, "dead" if the driver was killed, else how it ended.
    total : int
        Number of its psets.
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
        if self.state != "running" or not self.rate:
            return None
        return self.left / self.rate

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, ready for JSON."""
        numbers = {"done": self.done, "failed": self.failed, "left": self.left}
        return asdict(self) | numbers | {"seconds_left": self.seconds_left}


def run_states(layout: Layout) -> list[RunState]:
    """Return the states of the runs of a study, the oldest run first.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"b": 1 / pset["a"]}, ps.plist("a", [0, 1]), cluster="sync")
    >>> [run] = run_states(Layout("calc"))
    >>> run.state, run.counts, run.left
    ('done', {'ok': 1, 'error': 1}, 0)
    """
    runs = stored_runs(layout)
    # Journals are read before the database: rows move from the one to the other.
    blocks = {run.run_id: _read_blocks(run) for run in runs if _is_open(run)}
    df = database.read_or_empty(layout.database_path) if blocks else pd.DataFrame()
    return [_state_of(run, blocks.get(run.run_id), df) for run in runs]


def _is_open(run: StoredRun) -> bool:
    """Return whether rows of a run may be missing in the database."""
    return run.info["ended"] != "done" or run.folder.journal_path.exists()


def _read_blocks(run: StoredRun) -> list[Block]:
    """Read the rows that the driver of a run has journaled, and those that its workers keep."""
    try:
        blocks = list(journal.replay(run.folder.journal_path))
        early_dir = run.layout.run_folder(run.run_id).early_dir
        return [*blocks, *early_blocks(early_dir, seqs_in(blocks))]
    except FileNotFoundError:  # the journal was never there, or its rows are in the database
        return []
    except RecordError as err:  # a parameter is of a class that this process does not know
        log.warning("the journal of run %s cannot be read here: %s", run.run_id, err)
        return []


def _state_of(run: StoredRun, blocks: list[Block] | None, df: pd.DataFrame) -> RunState:
    info = run.info
    alive = blocks is not None and run.is_alive()
    state = "running" if alive else run.ending
    rows = _RowCounter()
    if blocks is not None:
        rows.add_database(df, run.run_id, seqs_in(blocks))
        rows.add(blocks)
        counts, rate = dict(rows.counts), rows.rate() if alive else 0.0
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
        last_failures=rows.last_failures(),
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


class _RowCounter:
    """Counts the rows of one run, and keeps the last ones that failed."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._failed: deque[tuple[Any, ...]] = deque(maxlen=FAILURES_SHOWN)
        self._end_times: list[float] = []

    def add_database(self, df: pd.DataFrame, run_id: str, journaled: Collection[int]) -> None:
        """Count the rows of the database that the journal does not have as well."""
        if not {"_run_id", "_pset_seq", "_status"} <= set(df.columns):
            return
        rows = df[(df["_run_id"] == run_id) & ~df["_pset_seq"].isin(journaled)]
        rows = rows.drop(columns="_time_utc", errors="ignore")  # no rate: older than this driver
        self.add([(tuple(map(str, rows.columns)), [rows[name].tolist() for name in rows.columns])])

    def add(self, blocks: Iterable[Block]) -> None:
        for names, columns in blocks:
            by_name = dict(zip(names, columns, strict=True))
            pairs = zip(by_name["_pset_seq"], by_name["_status"], strict=True)
            for index, (seq, status) in enumerate(pairs):
                self.counts[status] += 1
                if status in FAILED:
                    self._failed.append((seq, status, by_name, index))
            if "_time_utc" in by_name:
                times = zip(by_name["_time_utc"], by_name["_pset_runtime"], strict=True)
                self._end_times += [begun / 1e9 + runtime for begun, runtime in times]

    def rate(self) -> float:
        now = dt.datetime.now(dt.UTC).timestamp()
        recent = [end for end in self._end_times if end > now - RATE_WINDOW_SECONDS]
        if not recent:
            return 0.0
        return len(recent) / max(now - min(recent), 1e-3)

    def last_failures(self) -> list[FailedPset]:
        return [_failed_pset(*failed) for failed in reversed(self._failed)]


def _failed_pset(seq: int, status: str, columns: dict[str, list[Any]], index: int) -> FailedPset:
    pset = {name: columns[name][index] for name in column_roles(columns).params}
    lines = str(columns["_exc_txt"][index] or "").strip().split("\n")
    why = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return FailedPset(int(seq), str(status), short_repr(pset), why)


def _mean_rate(info: dict[str, Any], counts: dict[str, int]) -> float:
    """Return the rate of a run that has none in ``run.json``: prepared, or its driver died."""
    begun, end = info.get("start"), info.get("end")
    if begun is None or end is None:
        return 0.0
    seconds = (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(begun)).total_seconds()
    return sum(counts.values()) / seconds if seconds else 0.0
