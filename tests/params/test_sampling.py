"""Samples: within their ranges, even, of Python's types, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

import psweep_dask as ps
from psweep_dask.params import sampling
from psweep_dask.params.grid import ParamsError

SPACE = {
    "x": (-1.0, 2.0),
    "lr": (1e-6, 1.0, "log"),
    "n": (1, 10),
    "m": (1, 1000, "log"),
    "s": ["a", "b", None],
    "k": [5],
}
METHODS = sorted({*sampling.METHODS} - {"grid"})


@pytest.mark.parametrize("method", METHODS)
def test_each_value_is_in_its_range_and_all_of_it_is_reached(method):
    params = ps.sample(SPACE, 500, method=method, seed=1)
    assert len(params) == 500
    values = {name: [one[name] for one in params] for name in SPACE}
    assert all(type(one) is float and -1 <= one <= 2 for one in values["x"])
    assert all(type(one) is float and 1e-6 <= one <= 1 for one in values["lr"])
    assert set(map(type, values["n"] + values["m"])) == {int}
    assert set(values["n"]) == set(range(1, 11))
    assert set(values["s"]) == {"a", "b", None}
    assert set(values["k"]) == {5}
    for name in ("lr", "m"):  # as many in each decade
        decades = np.floor(np.log10(values[name]) - 1e-9).astype(int)
        _, counts = np.unique(decades, return_counts=True)
        assert counts[counts > 10].min() > 40
    assert min(values["m"]) <= 2
    assert np.histogram(values["x"], bins=3)[0].min() > 130


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_psets_and_another_one_others(method):
    some = ps.sample(SPACE, 16, method=method, seed=1)
    assert ps.sample(SPACE, 16, method=method, seed=1) == some
    assert ps.sample(SPACE, 16, method=method, seed=2) != some
    assert ps.sample(SPACE, 16, method=method) != ps.sample(SPACE, 16, method=method)


def test_a_latin_hypercube_has_each_slice_of_a_range_once():
    xs = sorted(one["x"] for one in ps.sample({"x": (0.0, 1.0), "y": (0.0, 1.0)}, 50, seed=0))
    assert [int(50 * x) for x in xs] == list(range(50))


def test_a_grid_has_the_same_levels_in_each_range():
    params = ps.sample({"x": (0.0, 1.0), "y": (0.0, 4.0), "s": ["a", "b"]}, 55, method="grid")
    assert len(params) == 50
    assert sorted({one["y"] for one in params}) == [0.0, 1.0, 2.0, 3.0, 4.0]
    whole = ps.sample({"n": (1, 3), "m": (1, 100, "log")}, 100, method="grid")
    assert sorted({one["n"] for one in whole}) == [1, 2, 3]
    assert {1, 100} <= {one["m"] for one in whole}
    assert len(ps.sample({"x": (0.0, 1.0)}, 64, method="grid")) == 64
    assert len(ps.sample(dict.fromkeys("abc", (0.0, 1.0)), 27, method="grid")) == 27


def test_arrays_and_ranges_are_choices_of_python_types():
    params = ps.sample({"a": np.arange(3), "b": range(2)}, 20, seed=0)
    assert {type(one["a"]) for one in params} == {int}
    assert {one["b"] for one in params} == {0, 1}


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ({"x": 5}, {}, r"'x': 5 is no range; write \(0.0, 1.0\)"),
        ({"x": (1, 2, 3)}, {}, "is no range"),
        ({"x": (2.0, 1.0)}, {}, "the lower bound comes first"),
        ({"x": (0.0, 1.0, "log")}, {}, "begins above zero"),
        ({"x": (0.0, float("nan"))}, {}, "nan is no number that can be a bound"),
        ({"x": ("a", "b")}, {}, "'a' is no number"),
        ({"x": []}, {}, "'x' has no choices"),
        ({}, {}, "space must be a dict"),
        ({"x": [1]}, {"n": 0}, "n must be a whole number above zero, not an int: 0"),
        ({"x": [1]}, {"method": "magic"}, "not 'magic'"),
        ({"x": [1, 2], "y": [1, 2]}, {"method": "grid", "n": 3}, "make 4 psets, more than n=3"),
    ],
)
def test_bad_input_is_named(space, options, message):
    with pytest.raises(ParamsError, match=message):
        ps.sample(space, **{"n": 4, **options})
