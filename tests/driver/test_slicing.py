"""The slicing policy by simulation: a fake clock, up to thousands of slots, hostile durations."""

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
def test_makespan_is_close_to_the_shortest_possible(load):
    slots, durations = LOADS[load]
    outcome = simulate(durations, slots)
    ideal = max(sum(durations) / slots, max(durations))
    warm_up = slots * slicing.DISPATCH_SECONDS + slicing.MIN_BUDGET  # to reach every slot once
    assert sorted(outcome.order) == list(range(len(durations)))
    assert outcome.makespan <= 1.10 * ideal + warm_up


@pytest.mark.parametrize(
    ("slots", "mean"), [(1, 1e-5), (2, 1e-5), (2, 0.1), (16, 1e-3), (256, 0.01), (256, 1.0)]
)
def test_dispatch_takes_a_bounded_share_of_the_driver(slots, mean):
    durations = [mean] * int(slots * 30 / max(mean, 1e-4))
    outcome = simulate(durations, slots)
    assert (
        len(outcome.lengths) * slicing.DISPATCH_SECONDS
        <= 0.5 * outcome.makespan + slots * slicing.DISPATCH_SECONDS * 12
    )


def test_slices_in_flight_do_not_grow_with_the_number_of_psets():
    windows = {simulate([1e-4] * count, 4).longest_window for count in (1_000, 10_000, 100_000)}
    assert max(windows) <= 4 * slicing.SLICES_PER_SLOT


def test_timeline_in_the_docstring_of_the_module_is_what_happens():
    outcome = simulate([0.1] * 40, 2)
    assert outcome.lengths == [5, 5, 11, 11, 6, 5, 6, 6, 3, 2, 2, 1, 1]
    assert outcome.makespan == pytest.approx(2.0, abs=0.05)
    assert "13 slices" in slicing.__doc__


def test_long_psets_have_slices_of_their_own_and_none_waits_for_another():
    outcome = simulate([10.0] * 40, 4)
    assert outcome.longest_window == 4
    assert outcome.makespan == pytest.approx(100, rel=0.01)


@given(
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(0, 50),
    st.randoms(use_true_random=False),
)
def test_slicer_hands_out_every_pset_until_it_is_done(total, slots, pset_bytes, rnd):
    slicer = Slicer(total, slots, pset_bytes * 1e5)
    done = []
    in_flight = []
    while slicer.left or in_flight:
        while slicer.left and len(in_flight) < slicer.wanted(slots):
            in_flight.append(slicer.next(slots))
        slice_ = in_flight.pop(rnd.randrange(len(in_flight)))
        count = rnd.randint(1, len(slice_.places))
        done += slice_.places[:count]
        slicer.finished(slice_, count, rnd.choice([0.0, 1e-6, 0.1, 100.0]))
        slots = rnd.randint(1, 40)  # workers come and go
    assert sorted(done) == list(range(total))


def test_order_of_psets_is_kept_on_one_slot():
    assert simulate([0.1] * 50, 1).order == list(range(50))


def test_first_slices_take_psets_from_both_ends_of_params():
    slicer = Slicer(1000, 2)
    first, second = slicer.next(2), slicer.next(2)
    assert (first.places[0], second.places[0]) == (999, 0)
    assert len(first.places) == slicing.FIRST_SLICE_PSETS
    assert first.budget == slicing.MIN_BUDGET


def test_large_psets_make_short_slices():
    slicer = Slicer(1000, 1, pset_bytes=slicing.MAX_SLICE_BYTES / 2)
    longest = 0
    while slicer.left:
        slice_ = slicer.next(1)
        longest = max(longest, len(slice_.places))
        slicer.finished(slice_, len(slice_.places), 1e-6)
    assert longest == 2


def test_slice_without_any_done_pset_is_handed_out_again():
    slicer = Slicer(1, 1)
    slice_ = slicer.next(1)
    slicer.finished(slice_, 0, 0.0)
    assert slicer.next(1).places == slice_.places


def test_psets_handed_back_alone_have_slices_of_their_own_with_the_life_asked_for():
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
    assert [(slice_.places, slice_.life) for slice_ in handed_out[:2]] == [([0], 30.0), ([1], 0.0)]
    assert {slice_.life for slice_ in handed_out[2:]} == {0.0}
    assert sorted(place for slice_ in handed_out for place in slice_.places) == list(range(40))
