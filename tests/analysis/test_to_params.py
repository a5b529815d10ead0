"""Psets come back from a database as they were, whatever pandas has made of its columns."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import psweep_dask as ps
from psweep_dask._query import QueryError
from psweep_dask.params.grid import ParamsError


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Point:
    x: int


def same(was, now):
    """Equal in type and value, NaN included."""
    if isinstance(was, np.ndarray):
        return type(now) is np.ndarray and was.dtype == now.dtype and (was == now).all()
    if isinstance(was, float) and math.isnan(was):
        return isinstance(now, float) and math.isnan(now)
    return type(was) is type(now) and was == now


values = st.one_of(
    st.integers(-3, 3),
    st.floats(width=16),
    st.booleans(),
    st.none(),
    st.text("ab", max_size=2),
    st.lists(st.integers(0, 1), max_size=2),
    st.dictionaries(st.text("ab", max_size=1), st.integers(0, 1), max_size=1),
    st.sampled_from([Colour.RED, Point(1), PurePosixPath("a/b"), decimal.Decimal("0.1"), 2**70]),
    st.dates(dt.date(2000, 1, 1), dt.date(2001, 1, 1)),
    st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2001, 1, 1)),
    st.timedeltas(dt.timedelta(0), dt.timedelta(5)),
    st.sampled_from([np.arange(3), np.zeros(2)]).map(np.copy),
)
psets = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


@settings(max_examples=100, deadline=None)
@given(st.lists(psets, min_size=1, max_size=6))
def test_to_params_returns_psets_of_any_types_with_their_hashes(params):
    if not any(params):
        return
    df = ps.run(lambda pset: {"y": 1}, params, cluster="sync", save=False, progress=False)
    back = ps.to_params(df)
    assert [ps.pset_sha1(pset) for pset in back] == df._pset_sha1.tolist()
    for was, now in zip(params, back, strict=True):
        assert was.keys() == now.keys()
        assert all(same(was[name], now[name]) for name in was), (was, now)


def test_to_params_of_a_loaded_study_with_new_columns(study_folder):
    first = [{"a": 1, "when": dt.datetime(2026, 1, 2)}, {"a": 2}]
    ps.run(lambda pset: {}, first, cluster="sync")
    second = [{"a": 2.5, "_note": "x"}, {"b": float("nan"), "c": None}]
    ps.run(lambda pset: {}, second, cluster="sync")
    back = ps.to_params(ps.load("calc"))
    assert back[:3] == [*first, second[0]]
    assert [type(pset.get("a")) for pset in back] == [int, int, float, type(None)]
    assert math.isnan(back[3]["b"])
    assert back[3]["c"] is None
    df = ps.run(lambda pset: {}, back, cluster="sync", skip_dups=True)
    assert len(df) == 4
    assert ps.df_extract_params(df) == [*ps.to_params(df)[:3], pytest.approx(back[3], nan_ok=True)]


def test_to_params_of_an_edited_value_is_an_error():
    df = ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync", save=False)
    df.loc[df.a == 2, "a"] = 7
    with pytest.raises(ParamsError, match=r"the values \{'a': 7\} does not give its _pset_sha1"):
        ps.to_params(df)
    assert ps.to_params(df.drop(columns="_pset_sha1")) == [{"a": 1}, {"a": 7}]


def test_to_params_without_book_keeping_is_an_error():
    with pytest.raises(ParamsError, match="ps.read_params takes any DataFrame"):
        ps.to_params(pd.DataFrame({"a": [1]}))


def test_df_extract_row_returns_a_row_or_its_pset():
    df = ps.run(lambda p: {"y": 2.5}, [{"a": 1, "b": "x"}, {"a": 2}], cluster="sync", save=False)
    row = ps.df_extract_row(df, df._pset_id.iloc[1])
    assert list(row) == list(df.columns)
    assert row["y"] == 2.5
    assert ps.df_extract_row(df, df._pset_id.iloc[1][:8], kind="pset") == {"a": 2}
    plain = ps.df_extract_row(df, df._pset_id.iloc[0], py_types=True)
    assert type(plain["a"]) is int
    assert type(plain["y"]) is float
    with pytest.raises(QueryError, match="no pset has an id that begins with it"):
        ps.df_extract_row(df, "zz")
    with pytest.raises(ParamsError, match="kind must be None or 'pset', not 'x'"):
        ps.df_extract_row(df, df._pset_id.iloc[0], kind="x")


def test_to_params_of_a_database_without_status_and_with_keys_that_enter_no_hash():
    params = [{"a": 1, "_label": "x", "b_": 2}, {"a": 2, "_label": "y"}]
    df = ps.run(lambda pset: {"y": 1}, params, cluster="sync", save=False)
    assert ps.to_params(df)[1] == params[1]
    assert ps.to_params(df.drop(columns="_status")) == ps.to_params(df)


def test_to_params_of_empty_psets():
    df = ps.run(lambda pset: {"y": 1}, [{}, {}], cluster="sync", save=False)
    assert ps.to_params(df) == [{}, {}]
    with pytest.raises(ParamsError, match="a database is needed, with parameters"):
        ps.to_params(df.drop(columns="_pset_sha1"))


def test_to_params_of_true_and_false_beside_numbers_of_another_run(study_folder):
    for value in (1, True, 0.5, False):
        df = ps.run(lambda pset: {}, [{"a": value}], cluster="sync")
    assert [repr(pset["a"]) for pset in ps.to_params(df)] == ["1", "True", "0.5", "False"]
