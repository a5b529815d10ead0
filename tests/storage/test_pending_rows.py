"""Rows that wait for a batch job are completed, and all else stays as its owner left it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from psweep_dask.storage.pending_rows import complete, without_waiting
from psweep_dask.storage.pickling import PackedValue, dumps


def database(**columns):
    """Two rows that wait and one that is done."""
    base = {
        "a": [1, 2, 3],
        "_run_id": ["r"] * 3,
        "_pset_id": ["x", "y", "z"],
        "_time_utc": pd.to_datetime([100, 200, 300], unit="s").astype("datetime64[ns]"),
        "y": [np.nan, np.nan, 30.0],
        "_status": ["prepared", "lost", "ok"],
    }
    return pd.DataFrame({**base, **columns})


def test_complete_changes_only_rows_that_wait():
    df = complete(database(), {pset_id: {"y": 7.0, "_status": "ok"} for pset_id in "xz"})
    assert df._status.tolist() == ["ok", "lost", "ok"]
    assert df.y.tolist()[::2] == [7.0, 30.0]
    assert list(df.columns) == list(database().columns)


def test_complete_puts_new_results_before_our_fields():
    df = complete(database(), {"x": {"new": "text", "_status": "ok", "_exec_host": "n1"}})
    assert list(df.columns)[-3:] == ["y", "new", "_status"]
    assert "_exec_host" not in df.columns  # its owner took it away
    assert df.new.tolist()[0] == "text"


@pytest.mark.parametrize(
    ("dtype", "values", "new", "dtype_after"),
    [
        ("Int64", [1, None, 3], 7, "Int64"),
        ("category", ["p", "q", "p"], "q", "category"),
        ("category", ["p", "q", "p"], "else", "object"),
        ("boolean", [None, None, True], False, "boolean"),
        ("int64", [1, 2, 3], 0.5, "float64"),
    ],
)
def test_complete_keeps_the_type_that_the_owner_gave_a_column(dtype, values, new, dtype_after):
    df = database(mine=pd.array(values, dtype=dtype) if dtype != "category" else values)
    df["mine"] = df["mine"].astype(dtype)
    done = complete(df, {"x": {"mine": new, "_status": "ok"}})
    assert done["mine"].iloc[0] == new
    expected = dtype_after if dtype_after != "object" else ("object", "str")
    assert str(done["mine"].dtype) in expected
    assert done["mine"].iloc[2] == values[2]


def test_complete_fills_gaps_of_columns_that_pandas_has_filled():
    df = database(text=["p", None, "q"], switch=pd.Series([np.nan, np.nan, True], dtype=object))
    done = complete(df, {"x": {"switch": False, "text": 1, "y": PackedValue(dumps([1]))}})
    assert done.switch.tolist()[::2] == [False, True]
    assert math.isnan(done.switch.iloc[1])
    assert done.text.tolist()[::2] == [1, "q"]
    assert done.y.tolist()[::2] == [[1], 30.0]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_complete_changes_times_and_an_index_of_times(zone):
    df = database()
    df["_time_utc"] = df["_time_utc"].dt.tz_localize(None if zone is None else "UTC")
    if zone is not None:
        df["_time_utc"] = df["_time_utc"].dt.tz_convert(zone)
    df.index = pd.DatetimeIndex(df["_time_utc"])
    done = complete(df, {"y": {"_time_utc": 10**18, "_status": "ok"}})
    assert done._time_utc.dtype == df._time_utc.dtype
    assert [stamp.timestamp() for stamp in done._time_utc] == [100, 10**9, 300]
    assert done.index.tolist() == done._time_utc.tolist()


def test_complete_keeps_an_index_of_the_owner():
    df = database().set_index(pd.Index(["i", "j", "k"], name="mine"))
    done = complete(df, {"y": {"_time_utc": 10**18, "_status": "ok"}})
    assert done.index.equals(df.index)
    assert done.index.name == "mine"


def test_without_waiting_drops_replaced_rows_and_keeps_columns_of_the_owner():
    old = database(study="mine")
    new = pd.DataFrame({"a": [2], "_pset_id": ["y"], "_status": ["ok"]})
    kept, joined = without_waiting(old, new)
    assert kept._pset_id.tolist() == ["x", "z"]
    assert joined.study.tolist() == ["mine"]
    assert joined._status.tolist() == ["ok"]
    assert without_waiting(old, new.assign(_pset_id="z"))[0] is old


def test_large_ints_of_replaced_rows_stay_exact_where_other_new_rows_lack_them():
    old = database(seed=[2**60 + 1, 2**60 + 3, 5])
    new = pd.DataFrame({"_pset_id": ["x", "q"], "y": [1.0, 2.0], "_status": ["ok", "ok"]})
    kept, joined = without_waiting(old, new)
    assert kept["_pset_id"].tolist() == ["y", "z"]
    assert joined["seed"].tolist()[0] == 2**60 + 1
    assert math.isnan(joined["seed"].tolist()[1])
