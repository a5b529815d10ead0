"""New points are where the curve is badly resolved."""

from __future__ import annotations

import math

import pytest

import psweep_dask as ps
from psweep_dask.analysis.dataset import LabelError
from psweep_dask.params.grid import ParamsError


def run(func, params, **options):
    return ps.run(func, params, cluster="sync", progress=False, **options)


def step(pset):
    return {"y": math.tanh(50 * (pset["x"] - 0.3))}


def test_refine_several_times_comes_close_to_a_step(study_folder):
    df = run(step, ps.pgrid(ps.plist("x", [0.0, 0.5, 1.0]), ps.plist("k", [7])))
    for _ in range(3):
        params = ps.refine(df, "x", "y", n=8)
        assert all(pset["k"] == 7 for pset in params)
        assert not {pset["x"] for pset in params} & set(df.x)
        df = run(step, params)
    assert len(df) == 27
    near = df.x.between(0.2, 0.4)
    assert near.sum() > 15
    sorted_ = df.sort_values("x")
    assert sorted_.y.diff().max() < 0.5  # with even steps, it is 1.4


def test_refine_integers_stay_integers_and_do_not_come_twice():
    df = run(lambda p: {"y": p["n"] ** 2}, ps.plist("n", [0, 4, 8]), save=False)
    params = ps.refine(df, "n", "y", n=20)
    assert sorted(pset["n"] for pset in params) == [1, 2, 3, 5, 6, 7]
    assert {type(pset["n"]) for pset in params} == {int}


def no_middle(pset):
    if pset["x"] == 0.5:
        raise ValueError("no 0.5")
    return {"y": math.nan} if 0.5 < pset["x"] < 0.6 else step(pset)


def test_refine_averages_repeats():
    df = run(step, ps.plist("x", [0.0, 0.0, 1.0]), save=False)
    assert ps.refine(df, "x", "y", n=1) == [{"x": 0.5}]


def test_refine_proposes_nothing_twice_that_has_failed_or_gave_nan(study_folder):
    df = run(no_middle, ps.plist("x", [0.0, 0.5, 0.55, 1.0]))
    for _ in range(6):
        params = ps.refine(df, "x", "y", n=2)
        assert len(params) == 2
        assert not {pset["x"] for pset in params} & set(df.x)
        df = run(no_middle, params)
    assert df.x.is_unique
    assert (df.x < 0.5).sum() > 5  # where the step is


def test_refine_integers_that_have_failed_are_not_proposed(caplog):
    def func(pset):
        return {"y": pset["n"]} if pset["n"] in (0, 5) else {}

    df = run(func, ps.plist("n", [0, 1, 2, 4, 5]), save=False)
    assert ps.refine(df, "n", "y", n=3) == [{"n": 3}]
    df = run(func, ps.plist("n", range(6)), save=False)
    assert ps.refine(df, "n", "y", n=3) == []
    assert "all between them have been tried" in caplog.text


def test_refine_knows_failures_outside_of_the_curve():
    df = run(no_middle, ps.plist("x", [0.0, 0.2, 0.5]), save=False)
    assert 0.0 < ps.refine(df, "x", "y", n=1)[0]["x"] < 0.2


def test_refine_takes_nullable_numbers():
    df = run(step, ps.plist("x", [0.0, 1.0]), save=False)
    df = df.astype({"x": "Float64", "y": "Float64"})
    assert ps.refine(df, "x", "y", n=1) == [{"x": 0.5}]


def test_refine_bad_input_is_an_error_that_names_it():
    df = run(step, ps.pgrid(ps.plist("x", [0.0, 1.0]), ps.plist("k", [1, 2])), save=False)
    with pytest.raises(LabelError, match="'k' varies too, from 1 to 2: choose rows before"):
        ps.refine(df, "x", "y")
    df = df[df.k == 1]
    with pytest.raises(ParamsError, match="no column 'q'"):
        ps.refine(df, "q", "y")
    with pytest.raises(ParamsError, match="n must be a whole number above zero, not 0"):
        ps.refine(df, "x", "y", n=0)
    with pytest.raises(ParamsError, match="1 values of 'x' have a number as 'y'"):
        ps.refine(df[:1], "x", "y")
    with pytest.raises(ParamsError, match="'_pset_id' holds no numbers"):
        ps.refine(df, "_pset_id", "y")


def test_refine_integers_without_any_between_is_empty_with_a_warning(caplog):
    df = run(step, ps.plist("x", [0, 1]), save=False)
    assert ps.refine(df, "x", "y") == []
    assert "nothing to refine: 'x' are whole numbers" in caplog.text
