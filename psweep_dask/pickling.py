"""How anything of the user is pickled, be it func, a pset or a result, and how rows are read."""

from __future__ import annotations

import enum
import io
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType
from typing import Any, BinaryIO, cast

import cloudpickle


def dumps(value: Any) -> bytes:
    """Pickle a value; classes and functions of the user's script go along by value.

    Their code keeps the name of its file, so that the lines of the source are in tracebacks.
    cloudpickle drops that name since version 3.1.2, to give the same bytes in any notebook.

    Examples
    --------
    >>> pickle.loads(dumps({"a": 1}))
    {'a': 1}
    """
    stream = io.BytesIO()
    pickler: Any = _Pickler  # untyped, as its base is
    pickler(stream, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return stream.getvalue()


def load_rows(stream: BinaryIO, **kwds: Any) -> Any:
    """Unpickle what is in a file with rows.

    Classes of the user's script, which are pickled by value, become those of the script that
    reads, if it still has them with all that they had: so values are equal to its own, whichever
    session has written them. Else they are rebuilt as they were.

    Parameters
    ----------
    stream : binary file
    **kwds
        As for ``pickle.load``.
    """
    start = stream.tell()
    changed: set[type] = set()
    while True:
        try:
            return _Unpickler(stream, changed, **kwds).load()
        except _ChangedError as err:
            changed.add(err.kind)
        except Exception:  # such as of a class that takes other arguments now
            stream.seek(start)
            return pickle.load(stream, **kwds)
        stream.seek(start)


def load_row(data: bytes) -> Any:
    """Unpickle one value, or several, in the same way.

    Examples
    --------
    >>> load_row(dumps([1, 2]))
    [1, 2]
    """
    if _BY_VALUE not in data:
        return pickle.loads(data)
    return load_rows(io.BytesIO(data))


def as_in_this_script(value: Any) -> Any:
    """Give a value with the classes of the user's script in the place of equal ones of a past one.

    Examples
    --------
    >>> as_in_this_script({"a": 1})
    {'a': 1}
    """
    return load_row(dumps(value))


_BY_VALUE = b"_make_skeleton_"
"""What is in a pickle with classes by value: the names of cloudpickle's functions for them."""


class _ChangedError(Exception):
    """A class of the script is not what it was."""

    def __init__(self, kind: type) -> None:
        self.kind = kind


class _Unpickler(pickle.Unpickler):
    """Takes classes from the script where it has them."""

    def __init__(self, stream: BinaryIO, changed: set[type], **kwds: Any) -> None:
        super().__init__(stream, **kwds)
        self._changed = changed
        self._own: set[type] = set()

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if module != cloudpickle.cloudpickle.__name__:
            return found
        if name == "_make_skeleton_enum":
            return partial(self._make_enum, found)
        if name == "_make_skeleton_class":
            return partial(self._make_class, found)
        return partial(self._fill, found) if name == "_class_setstate" else found

    def _make_class(self, make: Callable[..., type], *args: Any) -> type:
        kind, name, _, attributes = args[:4]
        own = self._find(attributes.get("__module__"), name)
        return self._take(own) if type(own) is kind else make(*args)

    def _make_enum(self, make: Callable[..., type], *args: Any) -> type:
        _, name, _, members, module = args[:5]
        own: Any = self._find(module, name)
        if not isinstance(own, enum.EnumMeta):
            return make(*args)
        now: dict[str, Any] = {one: own[one].value for one in own.__members__}
        same = all(one in now and now[one] == value for one, value in members.items())
        return self._take(own) if same else make(*args)

    def _find(self, module: Any, name: str) -> type | None:
        own = getattr(sys.modules["__main__"], name, None) if module == "__main__" else None
        usable = isinstance(own, type) and own.__module__ == "__main__"
        return own if usable and own not in self._changed else None

    def _take(self, own: Any) -> type:
        self._own.add(own)
        return cast("type", own)

    def _fill(self, fill: Callable[[type, Any], type], kind: type, state: Any) -> type:
        if kind not in self._own:
            return fill(kind, state)
        attributes = state[0]
        # Names with underscores are Python's own, some of which come and go.
        missing = {one for one in attributes if one[0] != "_"} - vars(kind).keys()
        if missing or _annotated(attributes) != _annotated(vars(kind)):
            raise _ChangedError(kind)
        return kind


def _annotated(attributes: Mapping[str, Any]) -> list[str]:
    return list(attributes.get("__annotations__", ()))


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    return _make_code, (code.co_filename, *_REDUCERS[CodeType](code)[:2])


def _make_code(filename: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    return make(*args).replace(co_filename=filename)


_REDUCERS: Any = cloudpickle.Pickler.dispatch_table


class _Pickler(cloudpickle.Pickler):
    dispatch_table = ChainMap({CodeType: _reduce_code}, _REDUCERS)  # noqa: RUF012  (as in its base)
