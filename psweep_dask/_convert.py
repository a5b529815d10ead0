"""Conversion of values: to scalars of Python, and to what JSON can hold."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import operator
import pathlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd


def to_json_value(value: Any) -> Any:
    """Return a value in a form that JSON can hold.

    Dates become ISO 8601, time spans seconds, complex numbers two numbers, sets sorted lists,
    dataclasses mappings, enums their names, bytes hexadecimal. NaN and infinity become None, since
    JSON has no number for them; so do masked values. Any other object becomes its ``repr``.

    Examples
    --------
    >>> to_json_value({"a": (1, np.float32(0.5)), "b": {3, 2}, "c": dt.date(2026, 1, 2)})
    {'a': [1, 0.5], 'b': [2, 3], 'c': '2026-01-02'}
    >>> to_json_value([np.array([[1, 2]]), 1 + 2j, dt.timedelta(minutes=1), math.nan])
    [[[1, 2]], [1.0, 2.0], 60.0, None]
    """
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value, int | str) else value.name
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [to_json_value(element) for element in value]
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else str(key): to_json_value(element)
            for key, element in value.items()
        }
    if isinstance(value, np.ndarray):  # tolist makes ints of some dates
        return to_json_value(list(value) if value.dtype.kind in "mM" else value.tolist())
    return _convert_other(value)


def to_python(value: Any) -> Any:
    """Return the Python object that equals a scalar of NumPy or a time of pandas.

    Other values are returned as they are. So are times with nanoseconds, which Python does not
    have, and times of NumPy become times of pandas then.

    Examples
    --------
    >>> to_python(np.float32(0.5)), to_python(np.datetime64("2026-01-02", "ns"))
    (0.5, datetime.datetime(2026, 1, 2, 0, 0))
    """
    if isinstance(value, np.datetime64 | np.timedelta64):
        value = time_of_pandas(value)
    elif isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pd.Timestamp) and not value.nanosecond:
        return value.to_pydatetime() if value.year <= dt.MAXYEAR else value
    if isinstance(value, pd.Timedelta) and not value.nanoseconds:
        return value.to_pytimedelta()
    return value


def time_of_pandas(value: np.datetime64 | np.timedelta64) -> Any:
    """Return a time of NumPy as one of pandas, or as it is if pandas cannot hold it."""
    try:
        return pd.Timestamp(value) if isinstance(value, np.datetime64) else pd.Timedelta(value)
    except (ValueError, OverflowError):  # a time far away, or a difference in months
        return value


def to_int(value: Any) -> int | None:
    """Return a whole number of any type as an int, and None for all other values.

    True and False are no numbers here.

    Examples
    --------
    >>> to_int(np.int64(2)), to_int(2.0), to_int(True)
    (2, None, None)
    """
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def is_nan(value: Any) -> bool:
    """Return whether a value is NaN. Any value is allowed, also an array."""
    return isinstance(value, float) and math.isnan(value)


def is_gap(value: Any) -> bool:
    """Return whether a cell has no value: None, NaN of any type, NaT, NA, or a masked value.

    Examples
    --------
    >>> [is_gap(value) for value in (None, np.float32("nan"), np.ma.masked, 0, "", [])]
    [True, True, True, False, False, False]
    """
    if isinstance(value, np.ma.MaskedArray):
        return value.ndim == 0 and bool(np.ma.getmaskarray(value).all())
    return pd.api.types.is_scalar(value) and bool(pd.isna(value))


def to_json_text(value: Any) -> str:
    """Return a value as JSON on one line, converted by `to_json_value`."""
    return _encode(to_json_value(value))


def _convert_other(value: Any) -> Any:
    for types, convert in _CONVERTERS:
        if isinstance(value, types):
            return convert(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: to_json_value(getattr(value, field.name)) for field in fields}
    return repr(value)


def _time(value: np.datetime64 | np.timedelta64) -> Any:
    time = time_of_pandas(value)
    return str(time) if isinstance(time, np.generic) else to_json_value(time)


def _scalar(value: np.generic) -> Any:
    scalar = value.item()
    if isinstance(scalar, np.generic):  # a longdouble, which has more digits than a float
        return None if is_gap(scalar) else str(scalar)
    return to_json_value(scalar)


def _decimal(value: decimal.Decimal) -> str | None:
    return None if value.is_nan() else str(value)


def _in_order(values: list[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:  # of types that cannot be compared
        return sorted(values, key=to_json_text)


_encode = json.JSONEncoder(ensure_ascii=False).encode

_CONVERTERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    ((np.datetime64, np.timedelta64), _time),
    (np.generic, _scalar),
    ((type(pd.NaT), type(pd.NA)), lambda value: None),
    (dt.timedelta, lambda value: value.total_seconds()),
    ((dt.date, dt.time), lambda value: value.isoformat()),
    ((set, frozenset), lambda value: _in_order([to_json_value(element) for element in value])),
    (complex, lambda value: [to_json_value(value.real), to_json_value(value.imag)]),
    ((bytes, bytearray), lambda value: value.hex()),
    (pathlib.PurePath, lambda value: value.as_posix()),
    (decimal.Decimal, _decimal),
    ((fractions.Fraction, uuid.UUID, pd.Period, pd.Interval), str),
    (range, list),
)
