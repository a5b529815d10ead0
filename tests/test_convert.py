"""Any value can be written as JSON, and the same value always alike."""

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

from psweep_dask._convert import as_text, plain


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
        (np.longdouble(1), repr(np.longdouble(1))),
    ],
)
def test_what_becomes_of_a_value(value, expected):
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
values = st.recursive(
    scalars.filter(lambda one: not isinstance(one, float) or abs(one) < 1e300),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_what_json_knows_comes_back_as_it_was(value):
    assert json.loads(as_text(value)) == value
