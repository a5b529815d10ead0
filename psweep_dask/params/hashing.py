"""The canonical JSON of a pset, from which its hash is made."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import hashlib
import json
import pathlib
import sys
import types
import uuid
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

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
    if value is pd.NA:
        return {"__na__": None}
    if callable(value):
        return _canonical_callable(value)
    raise TypeError(f"{kind_of(value)} has no canonical form")


def _canonical_callable(value: Any) -> Any:
    """Return a form of a function or a class that is made of its name, and of its code if need be.

    A name that others can import says which function it is. In a script, a notebook or another
    function, functions with the same name can have other code, as all lambdas have.
    """
    if isinstance(value, functools.partial):
        return {"__partial__": [value.func, value.args, value.keywords]}
    module, name = _module_and_name(value)
    if isinstance(value, types.FunctionType) and (module == "__main__" or "<" in name):
        inputs = [value.__defaults__, value.__kwdefaults__, _closure(value)]
        return {"__function__": [module, name, _canonical_code(value.__code__), inputs]}
    is_named = isinstance(value, types.FunctionType | type) and "<" not in name
    if not is_named and not _is_found(value, module, name):
        raise TypeError(f"{kind_of(value)} that cannot be imported by its name")
    return {"__class__" if isinstance(value, type) else "__function__": [module, name]}


def _module_and_name(value: Any) -> tuple[str, str]:
    module = "numpy" if isinstance(value, np.ufunc) else getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError(f"{kind_of(value)} has no canonical form")
    return module, name


def _is_found(value: Any, module: str, name: str) -> bool:
    try:
        return attrgetter(name)(sys.modules[module]) is value
    except (KeyError, AttributeError):
        return False


def _closure(function: types.FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or ()]


def _canonical_code(code: types.CodeType) -> Any:
    consts = [
        _canonical_code(const)
        if isinstance(const, types.CodeType)
        else repr(const)
        if const is ...
        else const
        for const in code.co_consts
    ]
    counts = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
    return [code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars, counts]


def _canonical_scalar(value: np.generic) -> Any:
    scalar = value.item()
    if isinstance(scalar, np.generic):  # longdouble: no scalar of Python equals it
        raise TypeError(f"{kind_of(value)} has no canonical form")
    return scalar


def _canonical_array(array: np.ndarray[Any, Any]) -> Any:
    if array is np.ma.masked:  # the database has a gap in its place, as where a key is missing
        raise TypeError("it is masked: use None, or leave the key out")
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
