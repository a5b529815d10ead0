"""The canonical JSON of values: equal values have the same hash, different values have not."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import math
import operator
import pathlib
import pickle
import uuid

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from psweep_dask.params.hashing import canonical_json
from psweep_dask.params.pset import pset_sha1


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float


def double(x):
    return 2 * x


def times(factor):
    def product(x):
        return factor * x

    return product


def with_default(default):
    def product(x, factor=default):
        return factor * x

    return product


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (np.int32(7), 7),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        ((1, (2, 3)), [1, [2, 3]]),
        ({3, 1, 2}, {1, 2, 3}),
        (np.array([1, 2], dtype="<i4"), np.array([1, 2], dtype=">i4")),
        (np.arange(6).reshape(2, 3).T, np.ascontiguousarray(np.arange(6).reshape(2, 3).T)),
        (pathlib.PurePosixPath("a/b"), pathlib.PurePosixPath("a//b")),
    ],
)
def test_hash_is_the_same_for_equal_values_of_other_types(value, other):
    assert pset_sha1({"a": value}) == pset_sha1({"a": other})


DIFFERENT = [
    1,
    1.0,
    True,
    "1",
    None,
    float("nan"),
    [1],
    {"1": 1},
    {1},
    1j,
    b"1",
    Color.RED,
    Color.BLUE,
    Point(1, 2),
    Point(2, 1),
    pathlib.PurePosixPath("1"),
    dt.date(2026, 1, 1),
    dt.datetime(2026, 1, 1),
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    dt.timedelta(1),
    np.datetime64("2026-01-01"),
    np.datetime64("2026-01-01", "s"),
    np.array([1, 2]),
    np.array([1, 2], dtype=float),
    np.array([[1, 2]]),
    np.array([1, None], dtype=object),
    decimal.Decimal(1),
    uuid.UUID(int=1),
    range(3),
    pd.NA,
    double,
    times(2),
    times(3),
    with_default(2),
    with_default(3),
    lambda x: x + 1,
    lambda x: x - 1,
    lambda: ...,
    lambda x: (lambda y: y)(x),
    lambda x: (lambda y: 2 * y)(x),
    functools.partial(double, 1),
    functools.partial(double, 2),
    functools.partial(pow, 2),
    math.sin,
    np.sin,
    np.mean,
    len,
    Point,
    Color,
    int,
    np.int64,
]


def test_hash_is_different_for_different_values():
    hashes = [pset_sha1({"a": value}) for value in DIFFERENT]
    assert len(set(hashes)) == len(DIFFERENT)


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (pd.Timedelta(1, "ns"), pd.Timedelta(2, "ns")),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), np.ma.array([1.0, 2.0], mask=[0, 0])),
        (np.zeros(2, [("mass", "f8")]), np.zeros(2, [("charge", "i8")])),
        (np.zeros(2, [("mass", "f8")]), np.ones(2, [("mass", "f8")])),
    ],
)
def test_hash_sees_nanoseconds_masks_and_fields(value, other):
    same = copy.copy(value)
    hashes = [pset_sha1({"a": hashed}) for hashed in (value, other, same)]
    assert hashes[0] != hashes[1]
    assert hashes[0] == hashes[2]


def test_hash_of_whole_microseconds_is_that_of_the_standard_library():
    assert pset_sha1({"a": pd.Timedelta(3, "s")}) == pset_sha1({"a": dt.timedelta(seconds=3)})


@pytest.mark.parametrize(
    "value", [double, times(2), lambda x: [x, {"a", "b"}], functools.partial(times(2), 1), pd.NA]
)
def test_hash_of_a_function_is_the_same_when_it_comes_back_from_disk(value):
    again = pickle.loads(cloudpickle.dumps(value))
    assert pset_sha1({"a": again}) == pset_sha1({"a": value})


def test_functions_of_a_script_with_one_name_are_told_apart_by_their_code():
    scripts = [{"__name__": "__main__"} for _ in range(3)]
    for code, script in zip(("x + 1", "x + 2", "x  +  1  # again"), scripts, strict=True):
        exec(f"\ndef model(x):\n    return {code}", script)
    first, other, again = [pset_sha1({"a": script["model"]}) for script in scripts]
    assert first != other
    assert first == again


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (double, f'{{"__function__": ["{__name__}", "double"]}}'),
        (Point, f'{{"__class__": ["{__name__}", "Point"]}}'),
        (np.sin, '{"__function__": ["numpy", "sin"]}'),
        (operator.add, '{"__function__": ["_operator", "add"]}'),
        (pd.NA, '{"__na__": null}'),
    ],
)
def test_canonical_json_of_what_can_be_imported_has_its_name(value, text):
    assert canonical_json(value) == text


def test_class_inside_of_a_function_has_no_name():
    class Local:
        pass

    with pytest.raises(TypeError, match="a type that cannot be imported by its name"):
        canonical_json(Local)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (fractions.Fraction(1, 3), '{"__fraction__": "1/3"}'),
        (Color.RED, '{"__enum__": ["Color", "RED"]}'),
        (Point(1, 2), '{"__dataclass__": ["Point", {"x": 1, "y": 2}]}'),
        (dt.date(2026, 1, 2), '{"__time__": "2026-01-02"}'),
        ({"b": 1, "a": (2, 3)}, '{"a": [2, 3], "b": 1}'),
    ],
)
def test_canonical_json_is_what_hashes_of_former_versions_were_made_of(value, text):
    assert canonical_json(value) == text


@pytest.mark.parametrize("value", [object(), np.longdouble(1), [].append])
def test_canonical_json_of_other_objects_is_an_error(value):
    with pytest.raises(TypeError, match=f"{type(value).__name__} has no canonical form"):
        canonical_json(value)
