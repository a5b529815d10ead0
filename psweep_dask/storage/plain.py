"""Read rows without running code that is in them: for those who only look at a study.

A pickle is a list of calls. Here only those are made that make numbers, texts, dates, arrays,
tables and containers of these. In the place of all else there is a `StandIn`.
"""

from __future__ import annotations

import io
import operator
import pickle
import zoneinfo
from typing import Any, BinaryIO

import pandas as pd

from psweep_dask.storage.pickling import DATA_KEY, OldObject, find_old
from psweep_dask.storage.stand_ins import StandIn
from psweep_dask.storage.stand_ins import Unpickler as StandInUnpickler

_NAMES = {
    "__builtin__": {"bytearray", "complex", "frozenset", "set", "slice", "xrange"},
    "_codecs": {"encode"},
    "builtins": {"bytearray", "complex", "frozenset", "range", "set", "slice"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "copyreg": {"_reconstructor"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "numpy": {"dtype", "matrix", "ndarray"},
    "numpy.ma": {"MaskedArray"},
    "numpy.ma.core": {"MaskedArray", "_mareconstruct"},
    "pandas": {"NA"},
    "pandas._libs.missing": {"NA"},
    "pathlib": {"Path", "PosixPath", "PurePosixPath"},
    "pathlib._local": {"Path", "PosixPath", "PurePosixPath"},
    "pyarrow.lib": {"_restore_array", "chunked_array", "py_buffer", "type_for_alias"},
    "uuid": {"SafeUUID", "UUID"},
    "zoneinfo": {"ZoneInfo"},
}
"""The classes and functions of which calls are made. None of them runs what is in its arguments."""

_NUMPY_MODULES = {
    f"numpy.{core}.{module}" for core in ("_core", "core") for module in ("multiarray", "numeric")
}
_NUMPY_FUNCTIONS = {"_frombuffer", "_reconstruct", "scalar"}
_PANDAS_CLASSES = (
    pd.api.extensions.ExtensionArray,
    pd.api.extensions.ExtensionDtype,
    pd.DataFrame,
    pd.Index,
    pd.Interval,
    pd.Period,
    pd.Series,
    pd.Timedelta,
    pd.Timestamp,
    pd.offsets.BaseOffset,
    type(pd.NA),
    type(pd.NaT),
)
_PANDAS_NAMES = {
    "BlockIndex",
    "BlockManager",
    "IntIndex",
    "SingleBlockManager",
    "StringDtype",
    "__nat_unpickle",
    "_nat_unpickle",
    "_new_DatetimeIndex",
    "_new_Index",
    "_new_IntervalIndex",
    "_new_PeriodIndex",
    "_new_TimedeltaIndex",
    "_period_unpickle",
    "_timedelta_unpickle",
    "_timestamp_unpickle",
    "_unpickle_block",
    "_unpickle_timestamp",
    "new_block",
}


class _NotPlainError(pickle.UnpicklingError):
    """What a pickle names is none of the plain values. It does not leave this module."""


def loads(data: bytes) -> Any:
    """Return rows without running code that is in them."""
    return load(io.BytesIO(data))


def load(stream: BinaryIO) -> Any:
    """Return rows of a file without running code that is in them."""
    start = stream.tell()
    try:
        return _Unpickler(stream).load()
    except Exception:  # a `_NotPlainError`, or what the parts of pandas raise
        stream.seek(start)
        return _StandInUnpickler(stream).load()


def _find(module: str, name: str) -> Any:
    if module.startswith("psweep_dask."):  # version 0.1.0.dev0 has named its modules
        return OldObject
    if (module, name) in (("_operator", "getitem"), ("operator", "getitem")):
        return _get_packed
    if (module, name) in (("builtins", "getattr"), ("__builtin__", "getattr")):
        return _get_attribute
    if name in _NAMES.get(module, ()):
        return _import(module, name)
    if module in _NUMPY_MODULES:
        if name in _NUMPY_FUNCTIONS:
            return find_old(module, name, _import)
    elif module == "pandas" or module.startswith("pandas."):
        if name in _PANDAS_NAMES or name.startswith("__pyx_unpickle_"):
            return _import(module, name)
        found = _import(module, name) if name.isidentifier() else None
        if isinstance(found, type) and issubclass(found, _PANDAS_CLASSES):
            return found
    raise _NotPlainError(f"{module}.{name}")


def _import(module: str, name: str) -> Any:
    try:
        return pickle.Unpickler(io.BytesIO()).find_class(module, name)
    except (ImportError, AttributeError) as err:  # another version of it has written this
        raise _NotPlainError(f"{module}.{name}") from err


def _get_packed(container: Any, key: Any) -> Any:
    """Return a packed value, in plain form if it has one."""
    if type(container) is not dict or DATA_KEY not in container:
        raise _NotPlainError("operator.getitem")
    try:
        return loads(container[DATA_KEY])
    except Exception as err:  # what a damaged pickle raises
        return StandIn(operator.getitem, (container, key), "", repr(err))


def _get_attribute(container: Any, name: str) -> Any:
    """Return what time zones are made with, which is all that plain values need of this kind."""
    if container is not zoneinfo.ZoneInfo or name != "_unpickle":
        raise _NotPlainError("builtins.getattr")
    return getattr(container, name)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _find(module, name)


class _StandInUnpickler(StandInUnpickler):
    def find_global(self, module: str, name: str) -> Any:
        return _find(module, name)

    def _reason(self, err: BaseException, values: Any = ()) -> str:
        reason = super()._reason(err, values)
        return "" if isinstance(err, _NotPlainError) else reason
