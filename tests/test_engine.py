"""The loop between the plan and an executor, on an executor that misbehaves on purpose."""

from __future__ import annotations

import random

import pytest

from psweep_dask.engine import Engine
from psweep_dask.plan import Plan
from psweep_dask.pset import check_params
from psweep_dask.task import SliceResult


def plan_of(count):
    return Plan("run", 0, 100, *check_params([{"a": number} for number in range(count)]))


class FakeExecutor:
    """Gives slices back in a random order, each cut at a random place, at once."""

    def __init__(self, seed, slots=3):
        self.random = random.Random(seed)
        self.slots = slots
        self.waiting = []
        self.ran = []
        self.cancelled = False
        self.most_in_flight = 0

    @property
    def in_flight(self):
        return len(self.waiting)

    def start(self, slices):
        self.waiting += slices
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def finished(self, timeout):
        if timeout == 0.0:
            return []
        one, packed = self.waiting.pop(self.random.randrange(self.in_flight))
        assert isinstance(packed, bytes)
        done = self.random.randint(1, len(one.places))
        self.ran += one.places[:done]
        return [(one, SliceResult(frame=b"x", done=done, seconds=done * 0.001))]

    def cancel(self):
        self.cancelled = True


@pytest.mark.parametrize("seed", range(20))
def test_each_pset_runs_once_whatever_comes_back_when(seed):
    executor = FakeExecutor(seed)
    results = list(Engine(plan_of(500), executor).results())
    assert sorted(executor.ran) == list(range(500))
    assert sum(result.done for result in results) == 500
    assert executor.most_in_flight <= 6


def test_after_stop_nothing_new_is_handed_out():
    executor = FakeExecutor(0)
    engine = Engine(plan_of(500), executor)
    results = engine.results()
    next(results)
    left = executor.in_flight
    engine.stop()
    assert len(list(results)) == left
    assert executor.cancelled


def test_after_the_grace_it_stops_waiting(monkeypatch):
    monkeypatch.setattr("psweep_dask.engine.GRACE", 0.0)
    executor = FakeExecutor(0)
    engine = Engine(plan_of(500), executor)
    results = engine.results()
    next(results)
    engine.stop()
    assert list(results) == []
    assert executor.cancelled


def test_a_caller_that_stops_asking_cancels_what_is_in_flight():
    executor = FakeExecutor(0)
    results = Engine(plan_of(500), executor).results()
    next(results)
    results.close()
    assert executor.cancelled


def test_an_interrupted_slice_is_handed_over_before_the_interrupt_goes_on():
    executor = FakeExecutor(0)
    executor.finished = lambda timeout: [
        (executor.waiting.pop()[0], SliceResult(frame=b"x", done=1, interrupted=True))
    ]
    results = Engine(plan_of(500), executor).results()
    assert next(results).done == 1
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert executor.cancelled
