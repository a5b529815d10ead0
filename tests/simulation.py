"""A discrete-event simulation of the slicing policy: a fake clock, any number of slots."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from psweep_dask.slices import Slice, Slicer

ROUND_TRIP = 0.004  # seconds from a finished slice to the start of one that the driver sends then
HAND_OVER = 0.002  # seconds from a finished slice to the next one that waits at the scheduler


@dataclass
class Outcome:
    makespan: float
    slices: int
    longest_window: int
    order: list[int]
    log: list[tuple[float, float, int, int, float]]


def simulate(durations: Sequence[float], slots: int) -> Outcome:
    """Run the policy against psets of known durations, FIFO on `slots` workers."""
    slicer = Slicer(len(durations), slots)
    events: list[tuple[float, int, int, Slice, int, float]] = []
    waiting: deque[Slice] = deque()
    free = list(range(slots))
    outcome = Outcome(0.0, 0, 0, [], [])
    number = in_flight = 0

    def start(now: float, delay: float) -> None:
        nonlocal number
        while free and waiting:
            one = waiting.popleft()
            slot = free.pop(0)
            done, seconds = 0, 0.0
            for place in one.places:
                seconds += durations[place]
                done += 1
                if seconds >= one.budget:
                    break
            number += 1
            outcome.log.append((now + delay, now + delay + seconds, slot, done, one.budget))
            heapq.heappush(events, (now + delay + seconds, number, slot, one, done, seconds))

    def top_up() -> None:
        nonlocal in_flight
        while in_flight < slicer.wanted(slots) and slicer.left:
            one = slicer.next(slots)
            in_flight += 1
            outcome.slices += 1
            waiting.append(one)
        outcome.longest_window = max(outcome.longest_window, in_flight)

    top_up()
    start(0.0, ROUND_TRIP)
    while events:
        now, _, slot, one, done, seconds = heapq.heappop(events)
        in_flight -= 1
        free.append(slot)
        outcome.order.extend(one.places[:done])
        slicer.finished(one, done, seconds)
        start(now, HAND_OVER)
        top_up()
        start(now, ROUND_TRIP)
        outcome.makespan = now
    return outcome
