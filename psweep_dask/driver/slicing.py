"""How psets are cut into slices: a pure policy, which is told durations and reads no clock.

A slice is a few psets that travel to a worker as one task, with a *time budget*: the worker stops
after the pset during which the budget ran out, and the psets that it did not reach are handed back.
So a wrong guess of the duration does no harm, and psets that take longer than others do not keep
the other slots waiting.

40 psets of 0.1 s each on 2 slots, for which 2.0 s is the shortest time possible:

=====  ===========================================================================================
0.0 s  Nothing is known yet. Each slot gets a first slice of 5 psets, with a budget of 0.05 s.
0.1 s  Both slices come back with 1 pset done, and hand 4 back. Now the mean is known: 0.1 s. Two
       slices for each slot are sent. The first two have the target budget of 0.5 s, and 11 psets,
       as many as take twice the budget; the other two have a smaller budget, since less is left.
0.6 s  The first two come back with 5 psets done, and hand 6 back. Two slices of 6 psets are sent.
1.0 s  Less than a full budget is left for each slot: slices of 3, 2, 2, and 1 psets follow.
1.8 s  The last slice is sent, with 1 pset.
2.0 s  Both slots finish at the same time, after 13 slices.
=====  ===========================================================================================
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from psweep_dask.clusters.executor import Slice

TARGET_BUDGET = 0.5
"""Seconds that a slice takes where nothing else limits it. A worker that is lost loses at most so
much finished work, and the progress bar moves as often."""

SLICES_PER_SLOT = 2
"""Slices in flight for each slot while psets are short: the next one is there when a slice ends.
A single slot has one, so that its psets finish in their order."""

DISPATCH_SECONDS = 0.006  # CPU of scheduler and client for each slice, measured on two cores
MAX_DISPATCH_SHARE = 0.25  # of the driver's core: with many slots, slices get longer
MAX_DISPATCH_SHARE_AT_ENDS = 0.8  # for the first and the last slices, which are short
MIN_BUDGET = 0.05  # seconds, of these

FIRST_SLICE_PSETS = 64  # at most: enough to learn the rate of the cheapest func
FIRST_SLICE_DIVISOR = 4  # a first slice has at most 1/4 of a slot's share of all psets

RATE_SMOOTHING = 0.5  # weight of the newest slice in the moving average of log(psets per second)
LENGTH_FACTOR = 2.0  # a slice has as many psets as take this many times its budget, which ends it
MAX_GROWTH = 64  # a slice has at most this many times the psets that the longest so far has done
MAX_SLICE_BYTES = 4 * 2**20  # of the pickled psets, so that messages to workers stay small
MIN_WORK_SECONDS = 2 * DISPATCH_SECONDS  # in less, dispatching costs more than balancing gains

# Near the end a slice gets 1/1.3 of the work left per slot, so that all slots finish together.
# Values from 1.3 to 2 differ by 1 % at most; the smallest makes the fewest slices.
TAIL_DIVISOR = 1.3


class Slicer:
    """Cuts the psets of a plan into slices, and learns from the slices that come back.

    Memory does not grow with the number of psets: those that no slice has had yet are a range.
    `slots` is the number of worker threads that are expected, `pset_bytes` the mean pickled size.
    """

    def __init__(self, total: int, slots: int, pset_bytes: float = 0.0) -> None:
        self._total = total
        self._handed_back: deque[int] = deque()
        self._alone: deque[tuple[int, float]] = deque()
        self._postponed: deque[int] = deque()
        self._cursor = 0
        self._max_length = max(1, int(MAX_SLICE_BYTES / pset_bytes)) if pset_bytes else total
        self._first = _first_slices(total, slots, self._max_length)
        self._sampled = {place for places in self._first for place in places}
        self._unsampled = total - len(self._sampled)
        self._longest = 1
        self._log_rate: float | None = None

    @property
    def left(self) -> int:
        """Number of psets that are not done and in no slice."""
        waiting = len(self._handed_back) + len(self._alone) + len(self._postponed)
        return waiting + self._unsampled + sum(map(len, self._first))

    def wanted(self, slots: int) -> int:
        """Return how many slices should be in flight on this number of slots."""
        if self._log_rate is None:
            return slots
        short = slots > 1 and self._mean < _target(slots) / 2
        return slots * (SLICES_PER_SLOT if short else 1)

    def next(self, slots: int) -> Slice:
        """Return the next slice. There must be psets left."""
        smallest = max(MIN_BUDGET, slots * DISPATCH_SECONDS / MAX_DISPATCH_SHARE_AT_ENDS)
        if self._first:
            return Slice(self._first.popleft(), smallest)
        if self._alone:
            place, life = self._alone.popleft()
            return Slice([place], smallest, life)
        share = self.left / slots
        budget = min(_target(slots), max(smallest, share * self._mean / TAIL_DIVISOR))
        length = min(
            int(LENGTH_FACTOR * budget / self._mean) + 1,
            MAX_GROWTH * self._longest,
            math.ceil(max(MIN_WORK_SECONDS / self._mean, share)),
            self._max_length,
        )
        return Slice(self._take(length), budget)

    def finished(self, slice_: Slice, done: int, seconds: float) -> None:
        """Take a slice back, of which the first `done` psets have run and took `seconds`."""
        self._handed_back.extendleft(reversed(slice_.places[done:]))
        if not done:
            return
        self._longest = max(self._longest, done)
        newest = math.log(done / max(seconds, 1e-9))
        before = newest if self._log_rate is None else self._log_rate
        self._log_rate = before + RATE_SMOOTHING * (newest - before)

    def hand_back(self, places: Iterable[int], alone: bool = False, life: float = 0.0) -> None:
        """Take back psets that were not run to their end; they are handed out again soon.

        With `alone`, each gets a slice of its own, so that it shows which of them ends its worker;
        that worker needs `life` seconds before its walltime.
        """
        if alone:
            self._alone.extend((place, life) for place in places)
        else:
            self._handed_back.extend(places)

    def postpone(self, place: int) -> None:
        """Take back a pset; it is handed out again after all others."""
        self._postponed.append(place)

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
        while self._postponed and len(places) < length:
            places.append(self._postponed.popleft())
        return places


def _target(slots: int) -> float:
    return max(TARGET_BUDGET, slots * DISPATCH_SECONDS / MAX_DISPATCH_SHARE)


def _first_slices(total: int, slots: int, max_length: int) -> deque[list[int]]:
    """Deal evenly spaced psets out to the slots, from both ends to the middle.

    Params are often sorted by cost. So the sample has a good mean, and the psets with the highest
    cost, at one end, start early. A single slot goes in order.
    """
    length = max(1, min(FIRST_SLICE_PSETS, max_length, total // (FIRST_SLICE_DIVISOR * slots)))
    count = min(total, slots * length)
    if slots == 1 or count < 2:
        return deque([list(range(count))])
    places = deque((number * (total - 1)) // (count - 1) for number in range(count))
    ends_first = [places.popleft() if number % 2 else places.pop() for number in range(count)]
    return deque(ends_first[slot::slots] for slot in range(min(slots, count)))
