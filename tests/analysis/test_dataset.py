"""Databases as labelled arrays."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

import psweep_dask as ps
from psweep_dask.analysis.dataset import LabelError, params_and_results, to_xarray


def database(func, params):
    return ps.run(func, params, cluster="sync", save=False, progress=False)


GRID = ps.pgrid(ps.plist("a", ["y", "x"]), ps.plist("b", [3, 1, 2]))


def test_params_and_results_are_columns_before_and_behind_book_keeping():
    df = pd.DataFrame(columns=["a", "_vary", "_run_id", "_pset_seq", "y", "_z", "_status"])
    assert params_and_results(df) == (["a"], ["y"])
    assert params_and_results(df[["a", "_vary", "y"]]) == ([], ["a", "y"])


def test_to_xarray_puts_each_row_in_its_place_in_any_order():
    df = database(lambda p: {"y": f"{p['a']}{p['b']}", "n": p["b"] ** 2}, GRID).sample(frac=1)
    array = to_xarray(df, ["b", "a"])
    assert array.y.dims == ("b", "a")
    assert array.b.values.tolist() == [1, 2, 3]
    assert array.a.values.tolist() == ["x", "y"]
    assert array.n.dtype == int
    for row in df.to_dict("records"):
        assert array.y.sel(a=row["a"], b=row["b"]).item() == row["y"]


def test_to_xarray_failed_rows_are_nan_and_a_retried_pset_is_no_repeat(study_folder):
    def fails_once(pset):
        if pset["b"] == 2 and not repaired:
            raise ValueError("once")
        return {
            "n": pset["b"],
            "good": pset["b"] > 1,
            "when": dt.datetime(2026, 1, pset["b"]),
            "v": np.arange(2) * pset["b"],
        }

    repaired = False
    df = ps.run(fails_once, GRID[:5], cluster="sync")
    array = to_xarray(df, ["a", "b"])
    assert np.isnan(array.n.sel(a="x", b=2))
    assert np.isnan(array.good.sel(a="x", b=2))
    assert np.isnat(array.when.sel(a="x", b=2))
    assert array.v.dims == ("a", "b", "v_0")
    assert np.isnan(array.v.sel(a="x", b=2)).all()
    assert array.v.sel(a="y", b=3).values.tolist() == [0, 3]
    repaired = True
    df = ps.retry("calc", func=fails_once, cluster="sync")
    assert "repeat" not in to_xarray(df, ["a", "b"]).dims
    assert to_xarray(df, ["a", "b"]).n.sel(a="y", b=2) == 2


def test_to_xarray_repeats_are_a_dimension_or_averaged():
    numbers = iter([1.0, 2.0, 5.0, 7.0, 9.0])
    df = database(lambda p: {"y": next(numbers)}, ps.plist("a", [1, 2, 1, 1, 2]))
    array = to_xarray(df, ["a"])
    np.testing.assert_array_equal(array.y, [[1.0, 5.0, 7.0], [2.0, 9.0, np.nan]])
    assert array.y.dims == ("a", "repeat")
    mean = to_xarray(df, ["a"], repeats="mean")
    assert mean.y.dims == ("a",)
    assert mean.y.values.tolist() == [13 / 3, 5.5]
    text = database(lambda p: {"y": "t"}, ps.plist("a", [1, 1]))
    with pytest.raises(LabelError, match="'y' cannot be averaged"):
        to_xarray(text, ["a"], repeats="mean")


def test_to_xarray_other_parameters_are_attributes_or_an_error():
    df = database(lambda p: {"y": 1}, ps.pgrid(ps.plist("a", [1, 2]), ps.plist("c", [[7]])))
    assert to_xarray(df, ["a"]).attrs == {"c": [7]}
    df = database(lambda p: {"y": 1}, GRID)
    with pytest.raises(LabelError, match="'b' varies too, from 3 to 2: make it a dimension"):
        to_xarray(df, ["a"])


def test_to_xarray_bad_dims_are_errors_that_name_them():
    df = database(lambda p: {"y": 1}, GRID)
    with pytest.raises(LabelError, match="no column 'q'; there are a, b"):
        to_xarray(df, ["a", "q"])
    with pytest.raises(LabelError, match=r"write \['a'\]"):
        to_xarray(df, "a")
    with pytest.raises(LabelError, match="each once"):
        to_xarray(df, ["a", "a"])
    with pytest.raises(LabelError, match="no column 'z'"):
        to_xarray(df, ["a", "b"], values=["z"])
    arrays = database(lambda p: {"y": [1, 2]}, [{"y_0": 1}, {"y_0": 2}])
    with pytest.raises(LabelError, match=r"a column 'y_0'.*df.rename\(columns={'y_0': ...}\)"):
        to_xarray(arrays, ["y_0"])
    twice = database(lambda p: {"repeat": 1}, [{"a": 1}, {"a": 1}])
    with pytest.raises(LabelError, match="a column 'repeat'"):
        to_xarray(twice, ["a"])
    lists = database(lambda p: {"y": 1}, [{"a": [1]}, {"a": [2]}])
    with pytest.raises(LabelError, match="'a' cannot be a dimension"):
        to_xarray(lists, ["a"])
    gaps = database(lambda p: {"y": 1}, [{"a": 1}, {"b": 2}])
    with pytest.raises(LabelError, match="1 rows have no 'a'"):
        to_xarray(gaps, ["a", "b"])
    random = database(lambda p: {"y": 1}, [{"a": n, "b": n} for n in range(4000)])
    with pytest.raises(LabelError, match="4000 x 4000 cells are needed for 4000 rows"):
        to_xarray(random, ["a", "b"])


def test_to_xarray_parameters_that_are_nearly_the_same_are_different():
    zeros, changed = np.zeros(3000), np.zeros(3000)
    changed[1500] = 1
    params = [{"a": 0, "k": zeros}, {"a": 1, "k": changed}]
    df = ps.run(lambda pset: {"y": 1}, params, cluster="sync", save=False)
    with pytest.raises(ps.PsweepError, match="'k' varies too"):
        ps.to_xarray(df, ["a"])
    df = ps.run(lambda pset: {"y": 1}, [{"k": 1}, {"k": True}], cluster="sync", save=False)
    with pytest.raises(ps.PsweepError, match="equal and yet not the same"):
        ps.to_xarray(df, ["k"])


def test_table_without_book_keeping_has_the_other_columns_as_arrays():
    df = pd.DataFrame({"a": [1, 1, 2, 2], "b": [0.5, 1.5] * 2, "r": [1, 2, 3, 4]})
    dataset = to_xarray(df, ["a", "b"])
    assert list(dataset.data_vars) == ["r"]
    assert dataset.r.sel(a=2, b=0.5) == 3
    with pytest.raises(LabelError, match="'a' is one of dims, so it cannot be one of values"):
        to_xarray(df, ["a", "b"], values=["a"])
    with pytest.raises(LabelError, match="values must be a list of columns, not 'r'"):
        to_xarray(df, ["a", "b"], values="r")


def test_large_ints_beside_gaps_stay_exact_and_can_be_averaged():
    df = pd.DataFrame({"a": [1, 1, 2], "r": [2**60 + 1, 2**60 + 3, 7]})
    array = to_xarray(df, ["a"]).r
    assert array.sel(a=1).values.tolist() == [2**60 + 1, 2**60 + 3]
    assert np.isnan(array.sel(a=2, repeat=1).item())
    means = to_xarray(df, ["a"], repeats="mean").r
    assert means.values.tolist() == [float(2**60 + 2), 7.0]
    text = df.astype({"r": str})
    with pytest.raises(LabelError, match="'r' cannot be averaged"):
        to_xarray(text, ["a"], repeats="mean")
