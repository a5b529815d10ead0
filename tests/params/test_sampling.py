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
def test_sample_reaches_all_of_each_range(method):
    params = ps.sample(SPACE, 500, method=method, seed=1)
    assert len(params) == 500
    values = {name: [pset[name] for pset in params] for name in SPACE}
    assert all(type(x) is float and -1 <= x <= 2 for x in values["x"])
    assert all(type(lr) is float and 1e-6 <= lr <= 1 for lr in values["lr"])
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
def test_sample_with_the_same_seed_is_the_same(method):
    params = ps.sample(SPACE, 16, method=method, seed=1)
    assert ps.sample(SPACE, 16, method=method, seed=1) == params
    assert ps.sample(SPACE, 16, method=method, seed=2) != params
    assert ps.sample(SPACE, 16, method=method) != ps.sample(SPACE, 16, method=method)


def test_sample_lhs_has_each_part_of_a_range_once():
    xs = sorted(pset["x"] for pset in ps.sample({"x": (0.0, 1.0), "y": (0.0, 1.0)}, 50, seed=0))
    assert [int(50 * x) for x in xs] == list(range(50))


def test_sample_grid_has_the_same_levels_in_each_range():
    params = ps.sample({"x": (0.0, 1.0), "y": (0.0, 4.0), "s": ["a", "b"]}, 55, method="grid")
    assert len(params) == 50
    assert sorted({pset["y"] for pset in params}) == [0.0, 1.0, 2.0, 3.0, 4.0]
    whole = ps.sample({"n": (1, 3), "m": (1, 100, "log")}, 100, method="grid")
    assert sorted({pset["n"] for pset in whole}) == [1, 2, 3]
    assert {1, 100} <= {pset["m"] for pset in whole}
    assert len(ps.sample({"x": (0.0, 1.0)}, 64, method="grid")) == 64
    assert len(ps.sample(dict.fromkeys("abc", (0.0, 1.0)), 27, method="grid")) == 27


def test_sample_takes_arrays_and_ranges_for_choices_of_python_types():
    params = ps.sample({"a": np.arange(3), "b": range(2)}, 20, seed=0)
    assert {type(pset["a"]) for pset in params} == {int}
    assert {pset["b"] for pset in params} == {0, 1}


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ({"x": 5}, {}, r"'x': 5 is not a range; write \(0.0, 1.0\)"),
        ({"x": (1, 2, 3)}, {}, "is not a range"),
        ({"x": (2.0, 1.0)}, {}, "the first bound must be lower"),
        ({"x": (0.0, 1.0, "log")}, {}, "begins above zero"),
        ({"x": (0.0, float("nan"))}, {}, "nan cannot be a bound"),
        ({"x": ("a", "b")}, {}, "'a' cannot be a bound"),
        ({"x": []}, {}, "'x' has no choices"),
        ({}, {}, "space must be a dict"),
        ({"x": [1]}, {"n": 0}, "n must be a whole number above zero, not an int: 0"),
        ({"x": [1]}, {"method": "magic"}, "not 'magic'"),
        ({"x": [1, 2], "y": [1, 2]}, {"method": "grid", "n": 3}, "make 4 psets, more than n=3"),
    ],
)
def test_sample_names_bad_input(space, options, message):
    with pytest.raises(ParamsError, match=message):
        ps.sample(space, **{"n": 4, **options})
