"""A discrete-event simulation of the slicing policy, with a fake clock and any number of slots."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from psweep_dask.clusters.executor import Slice
from psweep_dask.driver.slicing import DISPATCH_SECONDS, Slicer

HAND_OVER = 0.002  # seconds from a finished slice to the next one that waits at the scheduler


@dataclass
class Outcome:
    """Seconds until all were done, the length of each slice, the psets in order of their end."""

    makespan: float = 0.0
    lengths: list[int] = field(default_factory=list)
    longest_window: int = 0
    order: list[int] = field(default_factory=list)


@dataclass(order=True)
class Event:
    """A slice that a slot has finished."""

    now: float
    number: int
    slot: int = field(compare=False)
    slice_: Slice = field(compare=False)
    done: int = field(compare=False)
    seconds: float = field(compare=False)


def simulate(durations: Sequence[float], slots: int) -> Outcome:
    """Run the policy against psets of known durations.

    Slices start in the order they were sent. The driver sends one after the other, and each
    takes it `DISPATCH_SECONDS` seconds.
    """
    slicer = Slicer(len(durations), slots)
    outcome = Outcome()
    events: list[Event] = []
    sent: deque[tuple[float, Slice]] = deque()
    free = deque(range(slots))
    driver_free = 0.0
    in_flight = 0

    def top_up(now: float) -> None:
        nonlocal driver_free, in_flight
        while in_flight < slicer.wanted(slots) and slicer.left:
            driver_free = max(now, driver_free) + DISPATCH_SECONDS
            slice_ = slicer.next(slots)
            sent.append((driver_free, slice_))
            in_flight += 1
            outcome.lengths.append(len(slice_.places))
        outcome.longest_window = max(outcome.longest_window, in_flight)

    def start(now: float) -> None:
        while free and sent:
            arrived, slice_ = sent.popleft()
            done, seconds = 0, 0.0
            for place in slice_.places:
                seconds += durations[place]
                done += 1
                if seconds >= slice_.budget:
                    break
            finish = max(arrived, now + HAND_OVER) + seconds
            number = len(outcome.lengths) * len(durations) + len(events)
            heapq.heappush(events, Event(finish, number, free.popleft(), slice_, done, seconds))

    top_up(0.0)
    start(0.0)
    while events:
        event = heapq.heappop(events)
        in_flight -= 1
        free.append(event.slot)
        outcome.order.extend(event.slice_.places[: event.done])
        outcome.makespan = event.now
        slicer.finished(event.slice_, event.done, event.seconds)
        start(event.now)
        top_up(event.now)
        start(event.now)
    return outcome
