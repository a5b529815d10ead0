"""The numbers of a run and a few of its rows, as those who watch it are shown them."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import count, zip_longest
from typing import Any

from psweep_dask._format import duration, shown_rate
from psweep_dask.storage.record import Record
from psweep_dask.worker.summary import Slow, bin_edge, slowest_of
from psweep_dask.worker.work import Failure, SliceResult

KINDS = 50
"""Failures of so many kinds are kept,"""

OF_A_KIND = 10
"""and so many of each."""

ROWS = 2000
"""So many rows are kept, a fair draw of all."""

MARKS = 16
"""The rate is that since the oldest of so many marks,"""

MARKS_A_RUN = 64
"""of which one is set each time that the run has got older by this fraction."""

SOONEST = 0.5
"""Seconds between two marks at least."""


class RunStats:
    """Counts what is done; its size does not grow with the number of psets.

    One thread may add while others ask.

    Parameters
    ----------
    total : int
        Psets of the run.
    good : {'ok', 'simulated'}, optional
        What psets are that did not fail.
    clock : callable, optional
        Gives seconds.

    Examples
    --------
    >>> stats = RunStats(total=3)
    >>> stats.add(SliceResult(statuses=Counter(ok=1, timeout=1)))
    []
    >>> stats.counts()
    {'ok': 1, 'timeout': 1, 'left': 1}
    """

    def __init__(
        self, total: int, good: str = "ok", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self.good = good
        self.done = 0
        self.statuses: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._failures: dict[str, list[Failure]] = {}
        self.runtimes: Counter[int] = Counter()
        self.slowest: list[Slow] = []
        self._clock = clock
        self._shown: list[tuple[float, int, Record]] = []  # a heap, the first is the next to go
        self._number = count()
        self._lock = threading.RLock()
        self.begin()

    @property
    def left(self) -> int:
        """How many psets have no row yet."""
        return self.total - self.done

    def begin(self) -> None:
        """Start the clock: the workers are there."""
        self.started = self._clock()
        self._ended: float | None = None
        self._marks = deque([(self.started, self.done)], MARKS)

    def end(self) -> None:
        """Stop the clock."""
        self._ended = self._clock()

    def add(self, result: SliceResult) -> list[Failure]:
        """Take in a slice; gives the first failures of kinds that are new."""
        with self._lock:
            return self._add(result)

    def _add(self, result: SliceResult) -> list[Failure]:
        new: dict[str, Failure] = {}
        for one in result.examples:
            if one.kind not in self.failed:
                new.setdefault(one.kind, one)
        self.done += result.rows
        self.statuses.update(result.statuses)
        self.failed.update(result.failed)
        for one in result.examples:
            if one.kind in self._failures or len(self._failures) < KINDS:
                known = self._failures.setdefault(one.kind, [])
                known += [one] if len(known) < OF_A_KIND else []
        self.runtimes.update(result.summary.runtimes)
        self.slowest = slowest_of(self.slowest, result.summary.slowest)
        for rank, row in result.summary.shown:
            one_more = (-rank, next(self._number), row)
            if len(self._shown) < ROWS:
                heapq.heappush(self._shown, one_more)
            else:
                heapq.heappushpop(self._shown, one_more)
        now = self._clock()
        if now - self._marks[-1][0] >= max(SOONEST, (now - self.started) / MARKS_A_RUN):
            self._marks.append((now, self.done))
        return list(new.values())

    def counts(self) -> dict[str, int]:
        """Give the number of psets by ``_status``, and how many have none yet."""
        with self._lock:
            return {self.good: 0, **self.statuses, "left": self.left}

    def seconds(self) -> float:
        """Tell how long it has been going on."""
        return (self._clock() if self._ended is None else self._ended) - self.started

    def rate(self) -> float:
        """Give psets a second: of the last quarter of the run while it goes on, then of all."""
        since, done = self._marks[0] if self._ended is None else (self.started, 0)
        seconds = self.seconds() - (since - self.started)
        return (self.done - done) / seconds if seconds > 0 else 0.0

    def seconds_left(self) -> float | None:
        """Estimate how long the rest takes; None while there is nothing to go by."""
        if self._ended is not None or not self.left:
            return 0.0
        rate = self.rate()
        return self.left / rate if rate > 0 else None

    def line(self) -> str:
        """Tell it in a line.

        Examples
        --------
        >>> stats = RunStats(total=3)
        >>> stats.add(SliceResult(statuses=Counter(ok=1)))
        []
        >>> stats.line()
        '1 of 3 psets (33 %), 0 failed, ... psets/s, ... left'
        """
        left = self.seconds_left()
        parts = [
            f"{self.done:,} of {self.total:,} psets ({100 * self.done // max(1, self.total)} %)",
            f"{self.failed.total():,} failed",
            shown_rate(self.rate()),
            *([] if left is None else [f"{duration(left)} left"]),
        ]
        return ", ".join(parts)

    def failures(self) -> list[Failure]:
        """Give the first failure of each kind, the most frequent kind first, then the second..."""
        kinds = sorted(self._failures, key=lambda kind: -self.failed[kind])
        rounds = zip_longest(*(self._failures[kind] for kind in kinds))
        return [one for each in rounds for one in each if one is not None]

    def rows(self) -> list[Record]:
        """Give rows that are shown, in the order of ``_pset_seq``."""
        with self._lock:
            shown = [row for _, _, row in self._shown]
        return sorted(shown, key=lambda row: int(row["_pset_seq"]))

    def numbers(self) -> dict[str, Any]:
        """Give all that JSON can hold."""
        with self._lock:
            return self._numbers()

    def _numbers(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "done": self.done,
            "counts": self.counts(),
            "failed": dict(self.failed.most_common()),
            "seconds": self.seconds(),
            "psets_per_second": self.rate(),
            "seconds_left": self.seconds_left(),
            "ended": self._ended is not None,
            "runtimes": [
                {"from": bin_edge(one), "to": bin_edge(one + 1), "psets": self.runtimes[one]}
                for one in sorted(self.runtimes)
            ],
            "slowest": [one._asdict() for one in self.slowest],
            "failures": [
                {
                    "kind": one.kind,
                    "pset_seq": one.pset_seq,
                    "pset": one.pset,
                    "traceback": one.exc_txt,
                }
                for one in self.failures()
            ],
        }
