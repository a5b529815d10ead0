"""The numbers of a run and a sample of its rows, for the bar, the page and the summary."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import chain, count, zip_longest
from typing import Any

from psweep_dask._format import format_duration, format_rate
from psweep_dask.storage.record import Record
from psweep_dask.worker.summary import SlowPset, bin_edge, slowest_of
from psweep_dask.worker.work import Failure, SliceResult

FAILURE_KINDS_KEPT = 50
FAILURES_KEPT_PER_KIND = 10
ROWS_KEPT = 2000  # a random sample of all of them

# A mark is a time, and how many psets were done by then. Marks are a 64th of the run's time apart,
# so that the 16 that are kept span its last quarter.
RATE_MARKS_KEPT = 16
RATE_MARKS_PER_RUN = 64


class RunStats:
    """Counts of a run; their size does not grow with the number of psets.

    One thread may add slices while others read.

    Parameters
    ----------
    ok_status : {'ok', 'simulated'}, optional
        The ``_status`` of psets that have not failed.
    """

    def __init__(
        self, total: int, ok_status: str = "ok", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self.ok_status = ok_status
        self.done = 0
        self.statuses: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._failures: dict[str, list[Failure]] = {}
        self._runtimes: Counter[int] = Counter()
        self._slowest: list[SlowPset] = []
        self._clock = clock
        self._sample: list[tuple[float, int, Record]] = []  # a heap: the first one leaves first
        self._number = count()  # orders entries of the heap with the same rank
        self._lock = threading.RLock()
        self.begin()

    @property
    def left(self) -> int:
        """How many psets have no row yet."""
        return self.total - self.done

    def begin(self) -> None:
        """Start the clock, now that there are workers."""
        self.started = self._clock()
        self._ended: float | None = None
        self._marks = deque([(self.started, self.done)], RATE_MARKS_KEPT)

    def end(self) -> None:
        """Stop the clock."""
        self._ended = self._clock()

    def add(self, result: SliceResult) -> list[Failure]:
        """Count a slice; return the first failure of each kind that is new."""
        new: dict[str, Failure] = {}
        with self._lock:
            for failure in result.examples:
                if failure.kind not in self.failed:
                    new.setdefault(failure.kind, failure)
                if failure.kind in self._failures or len(self._failures) < FAILURE_KINDS_KEPT:
                    kept = self._failures.setdefault(failure.kind, [])
                    if len(kept) < FAILURES_KEPT_PER_KIND:
                        kept.append(failure)
            self.done += result.rows
            self.statuses.update(result.statuses)
            self.failed.update(result.failed)
            self._runtimes.update(result.summary.runtimes)
            self._slowest = slowest_of(self._slowest, result.summary.slowest)
            for rank, row in result.summary.sample:
                entry = (-rank, next(self._number), row)
                if len(self._sample) < ROWS_KEPT:
                    heapq.heappush(self._sample, entry)
                else:
                    heapq.heappushpop(self._sample, entry)
            now = self._clock()
            interval = max(0.5, (now - self.started) / RATE_MARKS_PER_RUN)
            if now - self._marks[-1][0] >= interval:
                self._marks.append((now, self.done))
        return list(new.values())

    def counts(self) -> dict[str, int]:
        """Return the number of psets by ``_status``, and under "left" how many have none yet."""
        with self._lock:
            return {self.ok_status: 0, **self.statuses, "left": self.left}

    def seconds(self) -> float:
        """Return how long the run has lasted so far, in seconds."""
        return (self._clock() if self._ended is None else self._ended) - self.started

    def rate(self) -> float:
        """Return psets per second: over the last quarter of the run; of an ended run, over all."""
        since, done = self._marks[0] if self._ended is None else (self.started, 0)
        seconds = self.seconds() - (since - self.started)
        return (self.done - done) / seconds if seconds > 0 else 0.0

    def seconds_left(self) -> float | None:
        """Estimate how many seconds the rest takes; None before the first pset is done."""
        if self._ended is not None or not self.left:
            return 0.0
        rate = self.rate()
        return self.left / rate if rate > 0 else None

    def line(self) -> str:
        """Return a line for the log."""
        seconds = self.seconds_left()
        left = "" if seconds is None else f", {format_duration(seconds)} left"
        done = f"{self.done:,} of {self.total:,} psets ({100 * self.done // max(1, self.total)} %)"
        return f"{done}, {self.failed.total():,} failed, {format_rate(self.rate())}{left}"

    def failures(self) -> list[Failure]:
        """Return failures: the first of each kind, frequent kinds first, then the second ones."""
        kinds = sorted(self._failures, key=lambda kind: -self.failed[kind])
        rounds = zip_longest(*(self._failures[kind] for kind in kinds))
        return [failure for failure in chain.from_iterable(rounds) if failure is not None]

    def rows(self) -> list[Record]:
        """Return the sample of rows, in the order of ``_pset_seq``."""
        with self._lock:
            rows = [row for _, _, row in self._sample]
        return sorted(rows, key=lambda row: int(row["_pset_seq"]))

    def as_dict(self) -> dict[str, Any]:
        """Return all but the rows as plain values, ready for JSON."""
        with self._lock:
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
                    {"from": bin_edge(bin_), "to": bin_edge(bin_ + 1), "psets": psets}
                    for bin_, psets in sorted(self._runtimes.items())
                ],
                "slowest": [slow._asdict() for slow in self._slowest],
                "failures": [
                    {
                        "kind": failure.kind,
                        "pset_seq": failure.pset_seq,
                        "pset": failure.pset,
                        "traceback": failure.exc_txt,
                    }
                    for failure in self.failures()
                ],
            }
