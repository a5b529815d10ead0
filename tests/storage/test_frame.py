from __future__ import annotations

import datetime as dt
import enum
import json
import math
import pathlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.storage.frame import (
    FrameError,
    append,
    df_filter_conds,
    df_print,
    df_to_json,
    from_blocks,
    in_order,
)
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


def same(one, other):
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return bool(one == other) or (one != one and other != other)


@given(st.data())
def test_what_goes_into_a_column_comes_out(data):
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
def test_dtypes_are_ordinary(values, dtype):
    assert str(frame_of(*({"a": value} for value in values))["a"].dtype).startswith(dtype)


def test_strings_are_what_pandas_makes_of_strings():
    column = frame_of({"a": "x"}, {"a": "y"})["a"]
    assert column.dtype.name == pd.Series(["x", "y"]).dtype.name
    assert column.tolist() == ["x", "y"]


def test_arrays_stay_arrays():
    column = frame_of({"a": np.arange(2)}, {"a": np.arange(2) + 5})["a"]
    assert [value.tolist() for value in column] == [[0, 1], [5, 6]]
    assert all(isinstance(value, np.ndarray) for value in column)


def test_none_stays_none_also_beside_strings():
    column = frame_of({"a": None}, {"a": "text"})["a"]
    assert column[column.index[0]] is None


def test_gaps_are_filled_as_pandas_does():
    df = frame_of({"a": 1}, {"a": 2, "b": 3}, {"b": True, "c": "x"})
    expected = pd.concat(
        [pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]}), pd.DataFrame({"c": ["x"]})]
    )
    assert df["a"].dtype == expected["a"].dtype == float
    assert df["c"].dtype.name == expected["c"].dtype.name
    assert df["a"].tolist()[:2] == [1.0, 2.0]
    assert math.isnan(df["a"].iloc[2])
    assert math.isnan(df["b"].iloc[0])


def test_rows_stand_in_the_order_of_their_numbers_and_the_index_is_the_time():
    names = ("a", "_time_utc", "_pset_seq")
    df = from_blocks([(names, [[3, 1], [30, 10], [2, 0]]), (names, [[2], [20], [1]])])
    assert df["a"].tolist() == [1, 2, 3]
    assert df.index.asi8.tolist() == [10, 20, 30]
    assert df.index.name is None
    assert (df.index == df["_time_utc"]).all()


def test_columns_stand_by_kind():
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


def test_no_blocks_give_no_rows():
    assert from_blocks([]).empty


def test_append_keeps_the_users_columns_rows_and_edits():
    old = frame_of({"a": 1, "y": 1.5}, {"a": 2, "y": 2.5}).assign(note=["x", "y"])
    old["_pset_id"] = ["p0", "p1"]
    old.loc[old.a == 1, "y"] = -1.0
    old = old[old.a == 1]
    new = frame_of({"a": 7, "z": 3})
    new["_pset_id"] = ["p7"]
    new["_pset_seq"] = [2]
    df = append(old, new)
    assert df["a"].tolist() == [1, 7]
    assert df["y"].tolist()[0] == -1.0
    assert df["note"].tolist()[0] == "x"
    assert set(df) == {"a", "y", "z", "note", "_pset_id", "_pset_seq", "_time_utc"}


def test_append_takes_no_row_twice():
    old = pd.DataFrame({"_pset_id": ["x"], "_pset_seq": [0], "a": [5]})
    new = pd.DataFrame({"_pset_id": ["x", "y"], "_pset_seq": [0, 1], "a": [1, 2]})
    assert append(old, new)["a"].tolist() == [5, 2]


def test_append_puts_rows_of_an_earlier_run_before_later_ones():
    late = pd.DataFrame({"_pset_id": ["l"], "_pset_seq": [5]})
    early = pd.DataFrame({"_pset_id": ["e"], "_pset_seq": [0]})
    assert append(late, early)["_pset_seq"].tolist() == [0, 5]


def test_rows_that_the_user_added_without_a_number_go_last():
    df = pd.DataFrame({"_pset_seq": [np.nan, 1.0, 0.0], "a": ["mine", "one", "zero"]})
    assert in_order(df)["a"].tolist() == ["zero", "one", "mine"]


def test_df_filter_conds():
    df = pd.DataFrame({"a": range(6)})
    conds = [df.a > 1, (df.a < 4).to_numpy(), [True] * 6]
    assert df_filter_conds(df, conds)["a"].tolist() == [2, 3]
    assert df_filter_conds(df, [df.a < 1, df.a > 4], op="or")["a"].tolist() == [0, 5]
    assert df_filter_conds(df, [df.a < 4, df.a > 1], op="xor")["a"].tolist() == [0, 1, 4, 5]
    assert df_filter_conds(df, []) is df


def test_df_filter_conds_names_what_is_wrong():
    df = pd.DataFrame({"a": range(6)})
    with pytest.raises(FrameError, match="not 'nand'"):
        df_filter_conds(df, [df.a > 1], op="nand")
    with pytest.raises(FrameError, match=r"conds\[1\] has shape \(2,\).*6 rows"):
        df_filter_conds(df, [df.a > 1, [True, False]])


def test_df_print_leaves_the_index_out(capsys):
    df = pd.DataFrame({"a": [1]}, index=["name"])
    df_print(df)
    assert "name" not in capsys.readouterr().out
    df_print(df, index=True)
    assert "name" in capsys.readouterr().out


def test_df_to_json_has_full_precision_and_iso_dates():
    df = pd.DataFrame({"x": [0.1 + 0.2], "t": [pd.Timestamp("2026-01-02T03:04:05.678")]})
    assert df_to_json(df) == '[{"x":0.3,"t":"2026-01-02T03:04:05"}]'
    second = pd.to_datetime(["2026-01-02T03:04:05.1", "2026-01-02T03:04:05.2"])
    rows = json.loads(df_to_json(pd.DataFrame({"x": [1, 2]}, index=second), orient="index"))
    assert [one["x"] for one in rows.values()] == [1, 2]
    assert df_to_json(df[["x"]], orient="split", index=False) == '{"columns":["x"],"data":[[0.3]]}'
