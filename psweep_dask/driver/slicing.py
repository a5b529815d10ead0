"""How psets are cut into slices: a pure policy, fed with durations, that no clock enters.

A slice is a few psets that travel to a worker as one task, with a *time budget*: the worker stops
after the pset during which the budget ran out, and what it did not reach is handed out again. So
a wrong guess of the duration is harmless, and uneven psets balance themselves.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from psweep_dask.clusters.executor import Slice

TARGET_BUDGET = 0.5
"""Seconds. What a worker that dies may lose, and how often the bar moves."""

MIN_BUDGET = 0.05
"""Seconds. First slices and the tail: ten times what dispatching one costs."""

DISPATCH = 0.006
"""Seconds of one core that scheduler and client spend on a slice (measured on two cores)."""

DISPATCH_SHARE = 0.25
"""Of the driver's core that dispatching may use: many slots make slices longer by themselves."""

DISPATCH_SHARE_MAX = 0.8
"""The same for the smallest slices, at the start and at the end."""

FIRST_LENGTH = 64
"""Psets in a first slice, at most: enough to learn the rate of the cheapest func."""

FIRST_SHARE = 4
"""First slices hold one part in so many of all psets, at most."""

GROWTH = 64
"""A slice is at most so many times longer than the longest that came back whole or cut."""

WORTHWHILE = 2 * DISPATCH
"""Seconds of work that a slice holds at least, if there is so much: less costs more than it
can gain by balancing."""

HEADROOM = 2.0
"""A slice is longer than its budget should reach: the budget ends it, not its length."""

TAIL = 1.3
"""A slot takes one part in so many of its share of what is left, so that all finish together.
Values from 1.3 to 2 differ by 1 % at most; the smallest makes the fewest slices."""

SMOOTHING = 0.5
"""Weight of the newest slice in the moving average of log(psets per second)."""

PREFETCH = 2
"""Slices in flight for each slot while psets are short: hides the round trip. A single slot has
one, so that its psets finish in their order."""

MAX_BYTES = 4 * 2**20
"""Pickled psets in one slice, in bytes: the messages stay small, whatever the psets hold."""


class Slicer:
    """Cuts the psets of a plan into slices, and learns from what comes back.

    Memory does not grow with the number of psets: what was never handed out is a range.

    Parameters
    ----------
    total : int
        Number of psets.
    slots : int
        Worker threads that are hoped for.
    pset_bytes : float, optional
        Mean pickled size of a pset.

    Examples
    --------
    >>> slicer = Slicer(total=3, slots=1)
    >>> one = slicer.next(slots=1)
    >>> one.places, one.budget
    ([0], 0.05)
    >>> slicer.finished(one, done=1, seconds=2.0)
    >>> slicer.next(slots=1).places
    [1]
    """

    def __init__(self, total: int, slots: int, pset_bytes: float = 0.0) -> None:
        self._total = total
        self._handed_back: deque[int] = deque()
        self._alone: deque[tuple[int, float]] = deque()
        self._later: deque[int] = deque()
        self._cursor = 0
        self._max_length = max(1, int(MAX_BYTES / pset_bytes)) if pset_bytes else total
        self._first = _first_slices(total, slots, self._max_length)
        self._sampled = {place for places in self._first for place in places}
        self._unsampled = total - len(self._sampled)
        self._longest = 1
        self._log_rate: float | None = None

    @property
    def left(self) -> int:
        """Number of psets that are in nobody's hands."""
        waiting = len(self._handed_back) + len(self._alone) + len(self._later)
        return waiting + self._unsampled + sum(map(len, self._first))

    def wanted(self, slots: int) -> int:
        """Tell how many slices should be in flight on so many slots."""
        if self._log_rate is None:
            return slots
        short = slots > 1 and self._mean < _target(slots) / 2
        return slots * (PREFETCH if short else 1)

    def next(self, slots: int) -> Slice:
        """Hand out a slice. There must be psets left."""
        smallest = max(MIN_BUDGET, slots * DISPATCH / DISPATCH_SHARE_MAX)
        if self._first:
            return Slice(self._first.popleft(), smallest)
        if self._alone:
            place, life = self._alone.popleft()
            return Slice([place], smallest, life)
        share = self.left / slots
        budget = min(_target(slots), max(smallest, share * self._mean / TAIL))
        enough = math.ceil(WORTHWHILE / self._mean)
        length = min(
            int(HEADROOM * budget / self._mean) + 1,
            GROWTH * self._longest,
            max(enough, math.ceil(share)),
            self._max_length,
        )
        return Slice(self._take(length), budget)

    def finished(self, one: Slice, done: int, seconds: float) -> None:
        """Take a slice back: how many of its psets were run, from its first on, and how long."""
        self._handed_back.extendleft(reversed(one.places[done:]))
        if not done:
            return
        self._longest = max(self._longest, done)
        newest = math.log(done / max(seconds, 1e-9))
        if self._log_rate is None:
            self._log_rate = newest
        else:
            self._log_rate += SMOOTHING * (newest - self._log_rate)

    def hand_back(self, places: Iterable[int], alone: bool = False, life: float = 0.0) -> None:
        """Take back psets that were not run to their end, to hand them out again soon.

        Parameters
        ----------
        places : iterable of int
        alone : bool, optional
            Each in a slice of its own, so that it is known which of them does the harm.
        life : float, optional
            Seconds before its walltime that a worker must have for each of them, when `alone`.
        """
        if alone:
            self._alone.extend((place, life) for place in places)
        else:
            self._handed_back.extend(places)

    def postpone(self, places: Iterable[int]) -> None:
        """Take back psets to hand them out again when all others were."""
        self._later.extend(places)

    @property
    def _mean(self) -> float:
        """Seconds that a pset takes; before anything is known, as long as a target budget."""
        return TARGET_BUDGET if self._log_rate is None else math.exp(-self._log_rate)

    def _take(self, length: int) -> list[int]:
        places: list[int] = []
        while self._handed_back and len(places) < length:
            places.append(self._handed_back.popleft())
        while self._unsampled and len(places) < length:
            if self._cursor not in self._sampled:
                places.append(self._cursor)
                self._unsampled -= 1
            self._cursor += 1
        while self._later and len(places) < length:
            places.append(self._later.popleft())
        return places


def _target(slots: int) -> float:
    return max(TARGET_BUDGET, slots * DISPATCH / DISPATCH_SHARE)


def _first_slices(total: int, slots: int, max_length: int) -> deque[list[int]]:
    """Deal evenly spaced psets out to the slots, from both ends to the middle.

    Params are often sorted by cost, the costliest at one end. So the sample reaches over all of
    them, which also learns a better mean than their beginning would. A single slot goes in order.
    """
    length = max(1, min(FIRST_LENGTH, max_length, total // (FIRST_SHARE * slots)))
    count = min(total, slots * length)
    if slots == 1 or count < 2:
        return deque([list(range(count))])
    places = deque((number * (total - 1)) // (count - 1) for number in range(count))
    ends_first = [places.popleft() if number % 2 else places.pop() for number in range(count)]
    return deque(ends_first[slot::slots] for slot in range(min(slots, count)))
