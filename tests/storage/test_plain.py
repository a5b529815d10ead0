"""Plain reading: all values of Python, numpy and pandas are there, and nothing else is called."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import os
import pathlib
import pickle
import uuid
import zoneinfo
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from psweep_dask.storage import pickling, plain
from psweep_dask.storage.pickling import PackedValue
from psweep_dask.storage.stand_ins import StandIn

ZONE = zoneinfo.ZoneInfo("Europe/Berlin")
NOW = pd.Timestamp("2020-01-02", tz=ZONE)
OBJECTS = [
    *(None, True, 2**80, 1.5, 1j, "text", b"bytes", bytearray(b"x"), [1, [2]], {"a": {1}}),
    *(frozenset({2}), range(3), slice(1, 2), decimal.Decimal("1.1"), fractions.Fraction(1, 3)),
    *(dt.date(2020, 1, 1), dt.time(1), dt.timedelta(1), dt.datetime.now(dt.UTC)),
    *(dt.datetime(2020, 1, 1, tzinfo=ZONE), pathlib.Path("x"), uuid.UUID(int=1), NOW, pd.NaT),
    *(pd.NA, pd.Timedelta(1), pd.Period("2020", "M"), pd.Interval(0, 1), pd.offsets.Day(2)),
    *(np.float32(2), np.int8(1), np.bool_(1), np.str_("s"), np.datetime64("2020"), np.arange(3)),
    *(np.array([1, "a"], dtype=object), np.zeros(2, dtype=[("a", "i4"), ("b", "f8")])),
    *(np.ma.array([1, 2], mask=[0, 1]), pd.DataFrame({"a": [1]}), pd.Series([1]), pd.Index([1])),
]
COLUMNS = {
    "category": pd.Categorical(["u", "v", "u"]),
    "Int64": pd.array([1, None, 3], dtype="Int64"),
    "Float64": pd.array([1.0, None, 3], dtype="Float64"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["a", None, "c"], dtype="string"),
    "str": pd.Series(["a", None, "c"]),
    "time": pd.Series([pd.Timestamp("2020")] * 3),
    "zone": pd.Series([NOW] * 3),
    "timedelta": pd.Series([pd.Timedelta(3, "s")] * 3),
    "period": pd.period_range("2020", periods=3, freq="M"),
    "interval": pd.interval_range(0, 3),
    "sparse": pd.arrays.SparseArray([0, 0, 1]),
}


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("protocol", [2, 5])
def test_plain_value_is_the_value(value, protocol):
    got = plain.loads(pickle.dumps(value, protocol))
    assert type(got) is type(value)
    assert pickle.dumps(got) == pickle.dumps(pickle.loads(pickle.dumps(value, protocol)))


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("is_index", [False, True])
def test_plain_database_is_the_database(name, is_index):
    df = pd.DataFrame({"a": [1.5, 2, None], "b": ["x", "y", "z"], name: COLUMNS[name]})
    df = df.set_index([name]) if is_index else df
    pd.testing.assert_frame_equal(plain.loads(pickling.dumps(df)), df)
    indexed = df.reset_index().set_index(["a", "b"])
    pd.testing.assert_frame_equal(plain.loads(pickling.dumps(indexed)), indexed)


class Runs:
    def __reduce__(self):
        return os.mkdir, ("it-has-run",)


class Point:
    def __init__(self, x):
        self.x = x


@pytest.mark.parametrize("pack", [lambda value: value, lambda value: PackedValue(dumped(value))])
def test_plain_reading_calls_nothing_and_shows_what_is_there(study_folder, pack):
    df = pd.DataFrame({"a": [1, 2, 3], "y": [pack(Runs()), pack(Point(7)), {"k": Runs()}]})
    df = plain.loads(pickling.dumps(df))
    assert df.a.tolist() == [1, 2, 3]
    assert [type(value) for value in df.y] == [StandIn, StandIn, dict]
    assert "mkdir" in repr(df.y[0])
    assert "it-has-run" in repr(df.y[0])
    assert "Point" in repr(df.y[1])
    assert "'x': 7" in repr(df.y[1])
    assert not list(study_folder.iterdir())
    pickling.loads_rows(pickling.dumps(df))  # as it does when it is asked to
    assert list(study_folder.iterdir())


def dumped(value):
    return pickling.dumps(value)


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nmkdir\n(S'it-has-run'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n(cbuiltins\nset\nS'add'\ntR.",
        b"coperator\ngetitem\n((dS'a'\ntR.",
        b"cpandas\nread_pickle\n(S'it-has-run'\ntR.",
        b"cpandas\neval\n(S'1'\ntR.",
        b"cpandas.io.common\nos.mkdir\n(S'it-has-run'\ntR.",
        b"cnumpy\nload\n(S'it-has-run'\ntR.",
        b"cpsweep_dask.study.edit\ndelete\n(S'calc'\nS'a'\ntR.",
    ],
)
def test_plain_reading_has_no_way_to_other_calls(pickled, study_folder):
    with suppress(pickle.UnpicklingError, TypeError):
        plain.loads(pickled)
    assert not list(study_folder.iterdir())
