"""Any value can be written as JSON, and becomes a value of Python."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import uuid
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask._convert import is_gap, is_nan, to_json_text, to_json_value, to_python


class Level(enum.IntEnum):
    LOW = 3


@dataclasses.dataclass
class Inner:
    when: dt.date


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Level.LOW, 3),
        (Inner(dt.date(2026, 1, 2)), {"when": "2026-01-02"}),
        (np.datetime64("2026-01-02T03:04"), "2026-01-02T03:04:00"),
        (np.timedelta64(90, "s"), 90.0),
        (np.datetime64("NaT"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (np.float32(np.inf), None),
        (np.array(["a", None], dtype=object), ["a", None]),
        (np.array(["2026-01-02"], dtype="datetime64[D]"), ["2026-01-02T00:00:00"]),
        ({1: {"x"}, "b": (b"\x01",)}, {"1": ["x"], "b": ["01"]}),
        ({10, 9, 2}, [2, 9, 10]),
        ({"b", 1}, ["b", 1]),
        (decimal.Decimal("0.10"), "0.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("a/b"), "a/b"),
        (range(3), [0, 1, 2]),
        (len, "<built-in function len>"),
        (np.longdouble(1), "1.0"),
        (np.longdouble("nan"), None),
        (np.datetime64("99999-01-01", "D"), "99999-01-01T00:00:00"),
        (np.timedelta64(2, "M"), "2 months"),
        (pd.Period("2026-01"), "2026-01"),
        (pd.Interval(0, 1), "(0, 1]"),
        (decimal.Decimal("NaN"), None),
        (np.ma.masked, None),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
    ],
)
def test_json_value_of_any_object(value, expected):
    assert to_json_value(value) == expected
    assert type(to_json_value(value)) is type(expected)


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
values = st.recursive(
    scalars.filter(lambda value: not isinstance(value, float) or abs(value) < 1e300),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_json_text_of_what_json_knows_comes_back_as_it_was(value):
    assert json.loads(to_json_text(value)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(1), 1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (pd.Timestamp("2026-01-02T03:04:05"), dt.datetime(2026, 1, 2, 3, 4, 5)),
        (pd.Timedelta("90s"), dt.timedelta(seconds=90)),
        ([1], [1]),
        (None, None),
    ],
)
def test_python_value_of_scalars_and_times(value, expected):
    assert to_python(value) == expected
    assert type(to_python(value)) is type(expected)


@pytest.mark.parametrize("value", [pd.Timestamp(1, unit="ns"), pd.Timedelta(1, "ns")])
def test_python_value_of_a_time_with_nanoseconds_is_the_time_itself(value):
    assert to_python(value) is value


@pytest.mark.parametrize("value", [None, float("nan"), np.float64("nan"), pd.NaT, pd.NA])
def test_gap_is_a_missing_value_of_any_type(value):
    assert is_gap(value)
    assert is_nan(value) is isinstance(value, float)


@pytest.mark.parametrize("value", [0, "", False, [], np.arange(2), pd.DataFrame(), float("inf")])
def test_gap_is_no_other_value(value):
    assert not is_gap(value)
    assert not is_nan(value)
