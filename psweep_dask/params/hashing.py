"""The canonical JSON of a pset, from which its hash is made."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import hashlib
import json
import pathlib
import uuid
from typing import Any

import numpy as np

from psweep_dask._format import kind_of


def _canonical(value: Any) -> Any:
    """Return a value that JSON knows in the place of one that it does not know."""
    if isinstance(value, enum.Enum):
        return {"__enum__": [type(value).__qualname__, value.name]}
    if isinstance(value, np.ndarray):
        return _canonical_array(value)
    if isinstance(value, np.datetime64 | np.timedelta64):
        return {f"__{type(value).__name__}__": [str(value), np.datetime_data(value.dtype)[0]]}
    if isinstance(value, np.generic):
        return _canonical_scalar(value)
    if isinstance(value, set | frozenset):
        return {"__set__": sorted(map(canonical_json, value))}
    if isinstance(value, dt.timedelta):
        nanoseconds = getattr(value, "nanoseconds", 0)  # of pandas
        parts = [value.days, value.seconds, value.microseconds]
        return {"__timedelta__": [*parts, nanoseconds] if nanoseconds else parts}
    if isinstance(value, dt.date | dt.time):
        return {"__time__": value.isoformat()}
    if isinstance(value, pathlib.PurePath):
        return {"__path__": value.as_posix()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"__dataclass__": [type(value).__qualname__, fields]}
    return _canonical_builtin(value)


def _canonical_builtin(value: Any) -> Any:
    if isinstance(value, complex):
        return {"__complex__": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"__bytes__": value.hex()}
    if isinstance(value, range):
        return list(value)
    if isinstance(value, decimal.Decimal | fractions.Fraction | uuid.UUID):
        return {f"__{type(value).__name__.lower()}__": str(value)}
    raise TypeError(f"{kind_of(value)} has no canonical form")


def _canonical_scalar(value: np.generic) -> Any:
    scalar = value.item()
    if isinstance(scalar, np.generic):  # longdouble: no scalar of Python equals it
        raise TypeError(f"{kind_of(value)} has no canonical form")
    return scalar


def _canonical_array(array: np.ndarray[Any, Any]) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        return {"__masked__": [array.filled(), np.ma.getmaskarray(array)]}
    if array.dtype.names:  # one by one: the bytes between fields are undefined
        fields = {name: np.ascontiguousarray(array[name]) for name in array.dtype.names}
        return {"__array__": ["fields", array.shape, list(fields), fields]}
    if array.dtype.hasobject:
        return {"__array__": ["object", array.shape, array.ravel().tolist()]}
    little_endian = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    content = hashlib.sha1(little_endian.tobytes(), usedforsecurity=False).hexdigest()
    return {"__array__": [little_endian.dtype.str, array.shape, content]}


canonical_json = json.JSONEncoder(sort_keys=True, default=_canonical).encode
"""Return a value as canonical JSON, or raise TypeError, ValueError or RecursionError."""
