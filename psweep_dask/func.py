"""The user's func: checked, named and packed for the way to the workers."""

from __future__ import annotations

import functools
import inspect
import pickle
from typing import Any

from psweep_dask import record
from psweep_dask.errors import PsweepError
from psweep_dask.work import Func


class FuncError(PsweepError):
    """A func that cannot be called or cannot travel to a worker."""


def pack_func(func: Func) -> bytes:
    """Pickle func, having checked that it can be called with one pset.

    Raises
    ------
    FuncError
        If it cannot be called that way, or cannot travel.

    Examples
    --------
    >>> pickle.loads(pack_func(lambda pset: {"b": pset["a"] + 1}))({"a": 1})
    {'b': 2}
    """
    if not callable(func):
        raise FuncError(f"func must be callable with one pset, not {func!r}")
    if inspect.iscoroutinefunction(func):
        raise FuncError(f"func {func_name(func)!r} is async; call asyncio.run inside a plain func")
    try:
        inspect.signature(func).bind({})
    except ValueError:  # some functions written in C tell no signature
        pass
    except TypeError as err:
        raise FuncError(
            f"func {func_name(func)!r} must be callable with one argument, the pset: {err}; "
            "bind the others with functools.partial"
        ) from err
    try:
        packed = record.dumps(func)
        pickle.loads(packed)
        return packed
    except Exception as err:  # __reduce__ of whatever func refers to may raise anything
        raise FuncError(
            f"func {func_name(func)!r} cannot be pickled ({err}), so it cannot travel to a worker; "
            "open files, connections and locks inside func instead of outside"
        ) from err


def func_name(func: Any) -> str:
    """Name func for people, whatever kind of callable it is.

    Examples
    --------
    >>> func_name(functools.partial(len))
    'len'
    """
    while isinstance(func, functools.partial):
        func = func.func
    return str(getattr(func, "__name__", type(func).__name__)).strip("<>")
