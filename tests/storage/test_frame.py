"""Rows are built from records, sorted and appended."""

from __future__ import annotations

import datetime as dt
import enum
import math
import pathlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.storage.frame import append, from_blocks, in_order, stacked
from psweep_dask.storage.record import HEADER, pack, unpack


def frame_of(*records):
    numbered = [
        {**record, "_time_utc": number, "_pset_seq": number}
        for number, record in enumerate(records)
    ]
    return from_blocks(unpack(pack(numbered)[HEADER.size :]))


class Mode(enum.IntEnum):
    FAST = 1


SCALARS = [
    st.integers(-(2**63), 2**63 - 1),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(),
    st.none(),
    st.integers() | st.none(),
    st.floats() | st.none() | st.text(),
    st.lists(st.integers()),
    st.sampled_from([Mode.FAST, 1]),
    st.sampled_from([pathlib.Path("a"), {1, 2}, {"x": 1}, (1, 2), b"x", print]),
    st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)),
    st.dates(),
    st.datetimes(timezones=st.timezones()),
    st.sampled_from(["\udc80", "x"]),
    st.complex_numbers(),
]


def same(value, other):
    if isinstance(value, float) and math.isnan(value):
        return isinstance(other, float) and math.isnan(other)
    return bool(value == other) or (value != value and other != other)


@given(st.data())
def test_from_blocks_keeps_each_value(data):
    kind = data.draw(st.sampled_from(SCALARS))
    values = data.draw(st.lists(kind, min_size=1, max_size=6))
    column = frame_of(*({"a": value} for value in values))["a"]
    for value, out in zip(values, column.tolist(), strict=True):
        assert same(value, out), (value, out)
        if column.dtype == object:
            assert type(out) is type(value)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "int64"),
        ([1.0, 2.0], "float64"),
        ([True, False], "bool"),
        ([1, 2.5], "float64"),
        ([np.float64(1), 2.0], "float64"),
        ([np.int64(1), 2], "int64"),
        ([1, None], "object"),
        ([1, "x"], "object"),
        ([dt.datetime(2026, 1, 1)], "datetime64"),
        ([np.zeros(2), np.zeros(2)], "object"),
        ([[1, 2], [3, 4]], "object"),
        ([10**30, 1], "object"),
    ],
)
def test_from_blocks_makes_ordinary_dtypes(values, dtype):
    assert str(frame_of(*({"a": value} for value in values))["a"].dtype).startswith(dtype)


def test_from_blocks_makes_of_str_what_pandas_makes():
    column = frame_of({"a": "x"}, {"a": "y"})["a"]
    assert column.dtype.name == pd.Series(["x", "y"]).dtype.name
    assert column.tolist() == ["x", "y"]


def test_from_blocks_keeps_arrays():
    column = frame_of({"a": np.arange(2)}, {"a": np.arange(2) + 5})["a"]
    assert [value.tolist() for value in column] == [[0, 1], [5, 6]]
    assert all(isinstance(value, np.ndarray) for value in column)


def test_from_blocks_keeps_none_beside_str():
    column = frame_of({"a": None}, {"a": "text"})["a"]
    assert column[column.index[0]] is None


def test_from_blocks_fills_gaps_as_pandas_does():
    df = frame_of({"a": 1}, {"a": 2, "b": 3}, {"b": True, "c": "x"})
    expected = pd.concat(
        [pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]}), pd.DataFrame({"c": ["x"]})]
    )
    assert df["a"].dtype == expected["a"].dtype == float
    assert df["c"].dtype.name == expected["c"].dtype.name
    assert df["a"].tolist()[:2] == [1.0, 2.0]
    assert math.isnan(df["a"].iloc[2])
    assert math.isnan(df["b"].iloc[0])


def test_from_blocks_sorts_by_pset_seq_and_has_the_time_as_index():
    names = ("a", "_time_utc", "_pset_seq")
    df = from_blocks([(names, [[3, 1], [30, 10], [2, 0]]), (names, [[2], [20], [1]])])
    assert df["a"].tolist() == [1, 2, 3]
    assert df.index.asi8.tolist() == [10, 20, 30]
    assert df.index.name is None
    assert (df.index == df["_time_utc"]).all()


def test_from_blocks_orders_columns_by_role():
    blocks = [
        (
            ("a", "_run_id", "_time_utc", "_pset_seq", "y", "_status"),
            [[1], ["r"], [1], [0], [2], [3]],
        ),
        (
            ("b", "_run_id", "_time_utc", "_pset_seq", "z", "_status"),
            [[1], ["r"], [1], [1], [2], [3]],
        ),
    ]
    assert list(from_blocks(blocks)) == [
        "a", "b", "_run_id", "_time_utc", "_pset_seq", "y", "z", "_status",
    ]  # fmt: skip


def test_from_blocks_without_blocks_is_empty():
    assert from_blocks([]).empty


def test_append_keeps_the_users_columns_rows_and_edits():
    old = frame_of({"a": 1, "y": 1.5}, {"a": 2, "y": 2.5}).assign(comment=["x", "y"])
    old["_pset_id"] = ["p0", "p1"]
    old.loc[old.a == 1, "y"] = -1.0
    old = old[old.a == 1]
    new = frame_of({"a": 7, "z": 3})
    new["_pset_id"] = ["p7"]
    new["_pset_seq"] = [2]
    df = append(old, new)
    assert df["a"].tolist() == [1, 7]
    assert df["y"].tolist()[0] == -1.0
    assert df["comment"].tolist()[0] == "x"
    assert set(df) == {"a", "y", "z", "comment", "_pset_id", "_pset_seq", "_time_utc"}


def test_append_takes_no_row_twice():
    old = pd.DataFrame({"_pset_id": ["x"], "_pset_seq": [0], "a": [5]})
    new = pd.DataFrame({"_pset_id": ["x", "y"], "_pset_seq": [0, 1], "a": [1, 2]})
    assert append(old, new)["a"].tolist() == [5, 2]


def test_append_sorts_rows_by_pset_seq():
    late = pd.DataFrame({"_pset_id": ["l"], "_pset_seq": [5]})
    early = pd.DataFrame({"_pset_id": ["e"], "_pset_seq": [0]})
    assert append(late, early)["_pset_seq"].tolist() == [0, 5]


@pytest.mark.parametrize("dtype", [float, object, "Float64"])
def test_in_order_leaves_rows_without_pset_seq_behind_those_before_them(dtype):
    seqs = pd.Series([np.nan, 1, np.nan, 0, 2], dtype=dtype)
    df = pd.DataFrame({"_pset_seq": seqs, "a": ["mine", "one", "too", "zero", "two"]})
    assert in_order(df)["a"].tolist() == ["mine", "zero", "one", "too", "two"]


def test_append_puts_new_rows_behind_old_ones_without_pset_seq():
    old = pd.DataFrame({"_pset_id": ["x", "y"], "_pset_seq": [np.nan] * 2})
    new = pd.DataFrame({"_pset_id": ["z"], "_pset_seq": [0]})
    assert append(old, new)["_pset_id"].tolist() == ["x", "y", "z"]


def test_append_replaces_rows_that_wait_and_keeps_their_other_columns():
    old = pd.DataFrame({"a": [1], "mine": ["x"], "_pset_id": ["p"], "_status": ["prepared"]})
    new = pd.DataFrame({"a": [1], "y": [2.0], "_pset_id": ["p"], "_status": ["ok"]})
    (row,) = append(old, new).to_dict("records")
    assert row == {"a": 1, "mine": "x", "y": 2.0, "_pset_id": "p", "_status": "ok"}


def test_stacked_keeps_dates_that_no_unit_can_hold_together():
    fine = pd.DataFrame({"t": pd.to_datetime([1]), "_time_utc": pd.to_datetime([1]), "a": [1]})
    far = pd.DataFrame({"t": pd.Series(["3000-01-01"]).astype("datetime64[s]"), "a": [2]})
    df = stacked([fine, far.assign(_time_utc=pd.to_datetime([2]))])
    assert [time.year for time in df.t] == [1970, 3000]
    assert df.t.iloc[0].nanosecond == 1
    assert (df.t.dtype, df._time_utc.dtype.kind, df.a.tolist()) == (object, "M", [1, 2])
