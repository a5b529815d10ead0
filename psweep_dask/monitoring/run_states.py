"""How the runs of a study stand, from its files alone: no server, no driver is asked."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from psweep_dask._format import short, shown_commands
from psweep_dask.params.pset import RESERVED_FIELDS, UNFINISHED
from psweep_dask.storage import database, journal
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import Block, Packed, RecordError
from psweep_dask.study.runs import StoredRun, resume_call, stored_runs
from psweep_dask.worker.early_rows import early_blocks, seqs_in

log = logging.getLogger("psweep_dask")

LAST = 5
"""So many failures are told."""

RECENT = 60.0
"""The rate of a run that goes on is that of its last so many seconds."""

_GOOD = frozenset({"ok", "simulated"}) | UNFINISHED


@dataclass(frozen=True)
class Failed:
    """A pset that has failed."""

    pset_seq: int
    status: str
    pset: str
    why: str


@dataclass(frozen=True)
class RunState:
    """How a run stands.

    Parameters
    ----------
    run_id, func : str
    run_seq : int
    begun : str or None
        As ISO 8601, UTC.
    state : str
        "running" while its driver lives, "dead" when that has died, else how it has ended.
    total : int
        Its psets.
    counts : dict
        Its rows by ``_status``. Of a run that is done: as they were at its end.
    rate : float
        Psets a second once its workers were there: recently while it goes on, else of all of it;
        0 if unknown.
    last_failures : list of Failed
        The newest first; none of a run that is done, whose rows have them.
    advice : str
        The call that goes on with it, where there is something left and nobody at it.
    """

    run_id: str
    run_seq: int
    func: str
    begun: str | None
    state: str
    total: int
    counts: dict[str, int]
    rate: float
    last_failures: list[Failed]
    advice: str = ""

    @property
    def done(self) -> int:
        """How many psets have a row that does not wait for a job."""
        return sum(number for status, number in self.counts.items() if status not in UNFINISHED)

    @property
    def failed(self) -> int:
        """How many psets have failed."""
        return sum(number for status, number in self.counts.items() if status not in _GOOD)

    @property
    def left(self) -> int:
        """How many psets have no row yet, or one that waits for a job."""
        return max(0, self.total - self.done)

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes, as far as can be told."""
        if self.state != "running" or not self.rate:
            return None
        return self.left / self.rate

    def as_dict(self) -> dict[str, Any]:
        """Give all that JSON can hold."""
        more = {"done": self.done, "failed": self.failed, "left": self.left}
        return asdict(self) | more | {"seconds_left": self.seconds_left}


def run_states(layout: Layout) -> list[RunState]:
    """Look at the runs of a study, the oldest first.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"b": 1 / pset["a"]}, ps.plist("a", [0, 1]), cluster="sync")
    >>> [one] = run_states(Layout("calc"))
    >>> one.state, one.counts, one.left
    ('done', {'ok': 1, 'error': 1}, 0)
    """
    runs = stored_runs(layout)
    blocks = {one.run_id: _blocks(one) for one in runs if _is_open(one)}  # before the database
    df = database.read_or_empty(layout.database_path) if blocks else pd.DataFrame()
    return [_state(one, blocks.get(one.run_id), df) for one in runs]


def _is_open(one: StoredRun) -> bool:
    return one.info["ended"] != "done" or one.journal_path.exists()


def _blocks(one: StoredRun) -> list[Block]:
    try:
        blocks = list(journal.replay(one.journal_path))
        return [*blocks, *early_blocks(one.layout.early_dir(one.run_id), seqs_in(blocks))]
    except FileNotFoundError:  # there is none any more, or never was
        return []
    except RecordError as err:  # a parameter of a class that is unknown here
        log.warning("the journal of run %s cannot be read here: %s", one.run_id, err)
        return []


def _state(one: StoredRun, blocks: list[Block] | None, df: pd.DataFrame) -> RunState:
    info = one.info
    alive = blocks is not None and one.is_alive()
    state = "running" if alive else one.ending
    rows = _Rows()
    if blocks is not None:
        rows.add_database(df, one.run_id, seqs_in(blocks))
        rows.add(blocks)
        counts, rate = dict(rows.counts), rows.rate() if alive else 0.0
    else:
        counts = {name: n for name, n in (info.get("counts") or {}).items() if n and name != "left"}
        rate = info.get("psets_per_second") or _rate_of_all(info, counts)
    return RunState(
        one.run_id,
        info["run_seq"],
        str(info.get("func", "")),
        info.get("start"),
        state,
        info["psets"],
        counts,
        rate,
        rows.failures(),
        "" if state in ("running", "done", "simulated") else _advice(one, counts),
    )


def _advice(one: StoredRun, counts: Mapping[str, int]) -> str:
    if "offline" not in one.info:
        return resume_call(one.layout, one.info)
    calc_dir = repr(one.layout.calc_dir)
    scripts = sorted(one.layout.root.glob("run_*.sh")) if counts.get("prepared") else []
    first = f"{shown_commands(scripts)} submits what is not yet, " if scripts else ""
    lost = counts.get("lost", 0)
    again = f", and ps.prep_rest({calc_dir}) for the {lost} that are lost" if lost else ""
    return f"{first}ps.collect({calc_dir}) brings what there is{again}"


class _Rows:
    """Counts rows of one run."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._failed: deque[tuple[Any, ...]] = deque(maxlen=LAST)
        self._ends: list[float] = []

    def add_database(self, df: pd.DataFrame, run_id: str, journaled: Collection[int]) -> None:
        """Count those of the database, but for those that the journal has as well."""
        if not {"_run_id", "_pset_seq", "_status"} <= set(df.columns):
            return
        rows = df[(df["_run_id"] == run_id) & ~df["_pset_seq"].isin(journaled)]
        names = tuple(str(name) for name in rows.columns)
        columns = [rows[name].tolist() for name in rows.columns if name != "_time_utc"]
        self.add([(tuple(name for name in names if name != "_time_utc"), columns)])

    def add(self, blocks: Iterable[Block]) -> None:
        for names, columns in blocks:
            by_name = dict(zip(names, columns, strict=True))
            for place, (seq, status) in enumerate(
                zip(by_name["_pset_seq"], by_name["_status"], strict=True)
            ):
                self.counts[status] += 1
                if status not in _GOOD:
                    self._failed.append((seq, status, by_name, place))
            if "_time_utc" in by_name:
                times = zip(by_name["_time_utc"], by_name["_pset_runtime"], strict=True)
                self._ends += [begun / 1e9 + runtime for begun, runtime in times]

    def rate(self) -> float:
        now = dt.datetime.now(dt.UTC).timestamp()
        recent = [one for one in self._ends if one > now - RECENT]
        if not recent:
            return 0.0
        return len(recent) / max(now - min(recent), 1e-3)

    def failures(self) -> list[Failed]:
        return [_failed(*one) for one in reversed(self._failed)]


def _failed(seq: int, status: str, columns: dict[str, list[Any]], place: int) -> Failed:
    pset = {}
    for name, values in columns.items():
        if name in RESERVED_FIELDS:
            break
        value = values[place]
        pset[name] = value.open() if isinstance(value, Packed) else value
    text = str(columns["_exc_txt"][place] or "").strip().split("\n")
    why = text[-1] if text[0].startswith("Traceback") else text[0]
    return Failed(int(seq), str(status), short(pset), why)


def _rate_of_all(info: dict[str, Any], counts: Mapping[str, int]) -> float:
    """Tell the rate of a run without a measured one: it was prepared, or its driver has died."""
    begun, end = info.get("start"), info.get("end")
    if begun is None or end is None:
        return 0.0
    took = (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(begun)).total_seconds()
    return sum(counts.values()) / took if took else 0.0
