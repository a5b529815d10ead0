"""How anything of the user is pickled, be it func, a pset or a result."""

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
    dump(value, stream)
    return stream.getvalue()


def dump(value: Any, stream: BinaryIO, **kwds: Any) -> None:
    """Pickle a value in the same way into a file; `kwds` are those of ``pickle.dump``."""
    pickler: Any = _Pickler  # untyped, as its base is
    pickler(stream, **{"protocol": pickle.HIGHEST_PROTOCOL, **kwds}).dump(value)


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    return _make_code, (code.co_filename, *_REDUCERS[CodeType](code)[:2])


def _make_code(filename: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    return make(*args).replace(co_filename=filename)


_REDUCERS: Any = cloudpickle.Pickler.dispatch_table


class _Pickler(cloudpickle.Pickler):
    """Tells of classes by value where in the script they are, which cloudpickle does not."""

    dispatch_table = ChainMap({CodeType: _reduce_code}, _REDUCERS)  # noqa: RUF012  (as in its base)

    def reducer_override(self, obj: Any) -> Any:
        made: Any = super().reducer_override(obj)  # type: ignore[no-untyped-call]  # (of a base without types)
        if isinstance(made, tuple) and made[0] is cloudpickle.cloudpickle._make_skeleton_class:
            kind, name, bases, attributes, *rest = made[1]
            attributes = {**attributes, "__qualname__": obj.__qualname__}
            return made[0], (kind, name, bases, attributes, *rest), *made[2:]
        return made


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
