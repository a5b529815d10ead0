"""The policy by simulation: a fake clock, up to thousands of slots, hostile durations."""

from __future__ import annotations

import random

import pytest
from helpers.engine_simulation import simulate
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.driver import slicing
from psweep_dask.driver.slicing import Slicer


def lognormal(count):
    rnd = random.Random(1)
    return [rnd.lognormvariate(-3.5, 1) for _ in range(count)]


def pareto(count):
    rnd = random.Random(2)
    return [0.1 * rnd.paretovariate(2.5) for _ in range(count)]


LOADS = {
    "empty": (2, [5e-6] * 200_000),
    "10 ms": (2, [0.01] * 400),
    "100 ms": (2, [0.1] * 41),
    "log-normal": (2, lognormal(400)),
    "a long one last": (2, [0.005] * 300 + [1.0]),
    "a long one first": (2, [1.0] + [0.005] * 300),
    "ascending": (2, [0.0005 * number for number in range(400)]),
    "descending": (2, [0.0005 * number for number in reversed(range(400))]),
    "cheap, then costly": (2, [0.0001] * 10_000 + [0.05] * 100),
    "costly, then cheap": (2, [0.05] * 100 + [0.0001] * 10_000),
    "alternating": (2, [0.0001, 0.1] * 100),
    "hours": (8, [7200.0] * 40),
    "16 slots, 10 ms": (16, [0.01] * 16_000),
    "64 slots, log-normal": (64, lognormal(64 * 400)),
    "64 slots, heavy tail": (64, pareto(64 * 100)),
    "256 slots, 1 s": (256, [1.0] * 256 * 40),
    "1000 slots, 10 s": (1000, [10.0] * 1000 * 20),
    "2000 slots, a minute each": (2000, [60.0] * 2000 * 10),
}


@pytest.mark.parametrize("load", LOADS)
def test_makespan_stays_close_to_the_ideal(load):
    slots, durations = LOADS[load]
    outcome = simulate(durations, slots)
    ideal = max(sum(durations) / slots, max(durations))
    warm_up = slots * slicing.DISPATCH + slicing.MIN_BUDGET  # to reach every slot once
    assert sorted(outcome.order) == list(range(len(durations)))
    assert outcome.makespan <= 1.10 * ideal + warm_up


@pytest.mark.parametrize(
    ("slots", "mean"), [(1, 1e-5), (2, 1e-5), (2, 0.1), (16, 1e-3), (256, 0.01), (256, 1.0)]
)
def test_dispatching_takes_a_bounded_share_of_the_driver(slots, mean):
    durations = [mean] * int(slots * 30 / max(mean, 1e-4))
    outcome = simulate(durations, slots)
    assert (
        outcome.slices * slicing.DISPATCH <= 0.5 * outcome.makespan + slots * slicing.DISPATCH * 12
    )


def test_the_window_does_not_grow_with_the_number_of_psets():
    windows = {simulate([1e-4] * count, 4).longest_window for count in (1_000, 10_000, 100_000)}
    assert max(windows) <= 4 * slicing.PREFETCH


def test_long_psets_travel_alone_and_never_queue_behind_one_another():
    outcome = simulate([10.0] * 40, 4)
    assert outcome.longest_window == 4
    assert outcome.makespan == pytest.approx(100, rel=0.01)


@given(
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(0, 50),
    st.randoms(use_true_random=False),
)
def test_every_pset_is_handed_out_until_it_is_done(total, slots, pset_bytes, rnd):
    slicer = Slicer(total, slots, pset_bytes * 1e5)
    done = []
    in_flight = []
    while slicer.left or in_flight:
        while slicer.left and len(in_flight) < slicer.wanted(slots):
            in_flight.append(slicer.next(slots))
        one = in_flight.pop(rnd.randrange(len(in_flight)))
        count = rnd.randint(1, len(one.places))
        done += one.places[:count]
        slicer.finished(one, count, rnd.choice([0.0, 1e-6, 0.1, 100.0]))
        slots = rnd.randint(1, 40)  # workers come and go
    assert sorted(done) == list(range(total))


def test_one_slot_runs_psets_in_their_order():
    assert simulate([0.1] * 50, 1).order == list(range(50))


def test_first_slices_reach_over_all_params_from_both_ends():
    slicer = Slicer(1000, 2)
    first, second = slicer.next(2), slicer.next(2)
    assert (first.places[0], second.places[0]) == (999, 0)
    assert len(first.places) == slicing.FIRST_LENGTH
    assert first.budget == slicing.MIN_BUDGET


def test_large_psets_travel_in_short_slices():
    slicer = Slicer(1000, 1, pset_bytes=slicing.MAX_BYTES / 2)
    longest = 0
    while slicer.left:
        one = slicer.next(1)
        longest = max(longest, len(one.places))
        slicer.finished(one, len(one.places), 1e-6)
    assert longest == 2


def test_a_slice_that_ran_nothing_is_handed_out_again():
    slicer = Slicer(1, 1)
    one = slicer.next(1)
    slicer.finished(one, 0, 0.0)
    assert slicer.next(1).places == one.places


def test_who_must_travel_alone_does_and_needs_the_life_that_was_asked_for():
    slicer = Slicer(40, 1)
    first = slicer.next(1).places
    assert len(first) > 2
    slicer.hand_back(first[:1], alone=True, life=30.0)
    slicer.hand_back(first[1:2], alone=True)
    slicer.hand_back(first[2:])
    handed_out = []
    while slicer.left:
        handed_out.append(slicer.next(1))
        slicer.finished(handed_out[-1], len(handed_out[-1].places), 1e-3)
    assert [(one.places, one.life) for one in handed_out[:2]] == [([0], 30.0), ([1], 0.0)]
    assert {one.life for one in handed_out[2:]} == {0.0}
    assert sorted(place for one in handed_out for place in one.places) == list(range(40))
