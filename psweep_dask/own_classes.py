"""Rows are read with the classes that the user's script has, where these are what they were."""

from __future__ import annotations

import enum
import io
import pickle
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, BinaryIO, cast

import cloudpickle

from psweep_dask.pickling import dumps


def load_rows(stream: BinaryIO, **kwds: Any) -> Any:
    """Unpickle what is in a file with rows.

    Classes of the user's script, which are pickled by value, become those of the script that
    reads, if it still has them, with the same bases, fields and members, and at least the same
    methods: so values are equal to its own, whichever session has written them. Else they are
    rebuilt as they were.

    Parameters
    ----------
    stream : binary file
    **kwds
        As for ``pickle.load``.
    """
    start = stream.tell()
    changed: set[type] = set()
    while True:
        reader = _Unpickler(stream, changed, **kwds)
        try:
            return reader.load()
        except _ChangedError as err:
            changed.add(err.kind)
        except Exception:
            if not reader.own:  # nothing of ours is in the way
                raise
            changed |= reader.own  # one of them takes its values no more
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
        self.own: set[type] = set()

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
        kind, _, bases, attributes = args[:4]
        own = self._find(attributes.get("__module__"), attributes.get("__qualname__"), bases)
        return self._take(own) if type(own) is kind else make(*args)

    def _make_enum(self, make: Callable[..., type], *args: Any) -> type:
        bases, _, qualname, members, module = args[:5]
        own: Any = self._find(module, qualname, bases)
        if not isinstance(own, enum.EnumMeta):
            return make(*args)
        now: dict[str, Any] = {one: own[one].value for one in own.__members__}
        same = all(one in now and now[one] == value for one, value in members.items())
        return self._take(own) if same else make(*args)

    def _find(self, module: Any, qualname: str | None, bases: tuple[type, ...]) -> type | None:
        """Find a class in the script, where it was found by the one that has pickled it."""
        if module != "__main__" or qualname is None:
            return None
        own = getattr(sys.modules["__main__"], qualname, None)
        if not isinstance(own, type) or own in self._changed or own.__module__ != "__main__":
            return None
        same = [one.__qualname__ for one in own.__bases__] == [one.__qualname__ for one in bases]
        return own if same and own.__qualname__ == qualname else None

    def _take(self, own: Any) -> type:
        self.own.add(own)
        return cast("type", own)

    def _fill(self, fill: Callable[[type, Any], type], kind: type, state: Any) -> type:
        if kind not in self.own:
            return fill(kind, state)
        attributes = state[0]
        # Names with underscores are Python's own, some of which come and go.
        missing = {one for one in attributes if one[0] != "_"} - vars(kind).keys()
        if missing or _fields(attributes) != _fields(vars(kind)):
            raise _ChangedError(kind)
        return kind


def _fields(attributes: Mapping[str, Any]) -> list[list[str]]:
    """Tell what values of a class are made of, in its order."""
    kinds = ("__annotations__", "_fields", "__slots__", "__match_args__")
    return [list(attributes.get(one, ())) for one in kinds]
