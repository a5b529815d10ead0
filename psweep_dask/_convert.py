"""Values in plainer forms: the scalars of Python itself, and what text formats know."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import pathlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd


def plain(value: Any) -> Any:
    """Give what JSON can hold of a value.

    Dates are written as ISO 8601, spans of time in seconds, complex numbers as two numbers,
    sets as sorted lists, dataclasses as mappings, enums by their names, bytes in hexadecimal.
    What is not finite is None, since JSON has no number for it; of an object that is none of
    these there is its ``repr``.

    Examples
    --------
    >>> plain({"a": (1, np.float32(0.5)), "b": {3, 2}, "c": dt.date(2026, 1, 2), "d": math.nan})
    {'a': [1, 0.5], 'b': [2, 3], 'c': '2026-01-02', 'd': None}
    >>> plain(np.array([[1, 2]])), plain(1 + 2j), plain(dt.timedelta(minutes=1))
    ([[1, 2]], [1.0, 2.0], 60.0)
    """
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value, int | str) else value.name
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist()) if value.dtype.kind not in "mM" else plain(list(value))
    return _rarer(value)


def of_python(value: Any) -> Any:
    """Give the value of Python that equals a scalar of NumPy or a time of pandas.

    Times with nanoseconds stay as they are, since Python has none.

    Examples
    --------
    >>> of_python(np.int64(1)), of_python(pd.Timestamp("2026-01-02"))
    (1, datetime.datetime(2026, 1, 2, 0, 0))
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pd.Timestamp) and not value.nanosecond:
        return value.to_pydatetime()
    if isinstance(value, pd.Timedelta) and not value.nanoseconds:
        return value.to_pytimedelta()
    return value


def is_nan(value: Any) -> bool:
    """Tell NaN from all else, arrays included.

    Examples
    --------
    >>> is_nan(math.nan), is_nan(None), is_nan(np.arange(2))
    (True, False, False)
    """
    return isinstance(value, float) and value != value


def as_text(value: Any) -> str:
    """Write a value as JSON, on one line.

    Examples
    --------
    >>> as_text({"a": (1, None)})
    '{"a": [1, null]}'
    """
    return _encode(plain(value))


def _rarer(value: Any) -> Any:
    if isinstance(value, np.generic):
        return _scalar(value)
    for types, convert in _CONVERTERS:
        if isinstance(value, types):
            return convert(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    return repr(value)


def _scalar(value: np.generic) -> Any:
    if isinstance(value, np.datetime64):
        return plain(pd.Timestamp(value))
    if isinstance(value, np.timedelta64):
        return plain(pd.Timedelta(value))
    scalar = value.item()
    return repr(scalar) if isinstance(scalar, np.generic) else plain(scalar)


def _in_order(values: list[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:  # of types that cannot be compared
        return sorted(values, key=as_text)


_encode = json.JSONEncoder(ensure_ascii=False).encode

_CONVERTERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (type(pd.NaT), lambda value: None),
    (dt.timedelta, lambda value: value.total_seconds()),
    ((dt.date, dt.time), lambda value: value.isoformat()),
    ((set, frozenset), lambda value: _in_order([plain(one) for one in value])),
    (complex, lambda value: [plain(value.real), plain(value.imag)]),
    ((bytes, bytearray), lambda value: value.hex()),
    (pathlib.PurePath, lambda value: value.as_posix()),
    ((decimal.Decimal, fractions.Fraction, uuid.UUID), str),
    (range, list),
)
