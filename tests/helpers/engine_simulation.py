"""A discrete-event simulation of the slicing policy: a fake clock, any number of slots."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from psweep_dask.clusters.executor import Slice
from psweep_dask.driver.slicing import DISPATCH, Slicer

HAND_OVER = 0.002  # seconds from a finished slice to the next one that waits at the scheduler


@dataclass
class Outcome:
    """What happened: seconds until all were done, and psets in the order they finished."""

    makespan: float = 0.0
    slices: int = 0
    longest_window: int = 0
    order: list[int] = field(default_factory=list)


@dataclass(order=True)
class Event:
    """A slice that a slot has finished."""

    now: float
    number: int
    slot: int = field(compare=False)
    one: Slice = field(compare=False)
    done: int = field(compare=False)
    seconds: float = field(compare=False)


def simulate(durations: Sequence[float], slots: int) -> Outcome:
    """Run the policy against psets of known durations.

    Slices start in the order they were sent. The driver sends one after the other, and each
    takes it `DISPATCH` seconds.
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
            driver_free = max(now, driver_free) + DISPATCH
            sent.append((driver_free, slicer.next(slots)))
            in_flight += 1
            outcome.slices += 1
        outcome.longest_window = max(outcome.longest_window, in_flight)

    def start(now: float) -> None:
        while free and sent:
            arrived, one = sent.popleft()
            done, seconds = 0, 0.0
            for place in one.places:
                seconds += durations[place]
                done += 1
                if seconds >= one.budget:
                    break
            finish = max(arrived, now + HAND_OVER) + seconds
            number = outcome.slices * len(durations) + len(events)
            heapq.heappush(events, Event(finish, number, free.popleft(), one, done, seconds))

    top_up(0.0)
    start(0.0)
    while events:
        event = heapq.heappop(events)
        in_flight -= 1
        free.append(event.slot)
        outcome.order.extend(event.one.places[: event.done])
        outcome.makespan = event.now
        slicer.finished(event.one, event.done, event.seconds)
        start(event.now)
        top_up(event.now)
        start(event.now)
    return outcome
