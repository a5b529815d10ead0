"""How values of users are pickled and read back: func, psets, results, databases.

No pickle that stays on disk names a module of this package, so that modules can move: what we
write ourselves are tuples, dicts and bytes with a format number. Pickles of older versions, which
do name modules, are still read.
"""

from __future__ import annotations

import enum
import importlib
import io
import operator
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType, FunctionType
from typing import Any, BinaryIO, cast

import cloudpickle

_PACKAGE = "psweep_dask"


def dumps(value: Any) -> bytes:
    """Pickle a value; classes and functions of the user's script go along by value.

    Their code keeps the name of its file, so that tracebacks show the lines of the source.
    cloudpickle drops that name since version 3.1.2, to give the same bytes in any notebook.

    Examples
    --------
    >>> loads(dumps({"a": 1}))
    {'a': 1}
    """
    stream = io.BytesIO()
    dump(value, stream)
    return stream.getvalue()


def dump(value: Any, stream: BinaryIO, **kwargs: Any) -> None:
    """Pickle a value in the same way into a file; `kwargs` are those of ``pickle.dump``."""
    pickler: Any = _Pickler  # untyped, as its base is
    pickler(stream, **{"protocol": pickle.HIGHEST_PROTOCOL, **kwargs}).dump(value)


def loads(data: bytes) -> Any:
    """Restore what `dumps` of this or of an older version has pickled.

    Examples
    --------
    >>> loads(dumps([1, 2]))
    [1, 2]
    """
    if _NAMES_US not in data:
        return pickle.loads(data)
    return _Unpickler(io.BytesIO(data)).load()


def load_rows(stream: BinaryIO, **kwargs: Any) -> Any:
    """Restore rows from a file, with the classes that the user's script has now.

    A class of the user's script is pickled by value. It becomes the class of the script that
    reads, if that one has the same bases, fields and members, and at least the same methods. So
    values are equal to the script's own, whichever session has written them. Other classes are
    made again as they were.

    Parameters
    ----------
    stream : binary file
    **kwargs
        As for ``pickle.load``.
    """
    start = stream.tell()
    changed: set[type] = set()
    while True:
        unpickler = _RowUnpickler(stream, changed, **kwargs)
        try:
            return unpickler.load()
        except _ChangedError as err:
            changed.add(err.kind)
        except Exception:
            if not unpickler.own:  # no class of the script is the reason
                raise
            changed |= unpickler.own  # one of them does not take its old values any more
        stream.seek(start)


def loads_rows(data: bytes) -> Any:
    """Restore rows or a single value from bytes, in the same way as `load_rows`.

    Examples
    --------
    >>> loads_rows(dumps([1, 2]))
    [1, 2]
    """
    if _BY_VALUE not in data and _NAMES_US not in data:
        return pickle.loads(data)
    return load_rows(io.BytesIO(data))


def as_in_this_script(value: Any) -> Any:
    """Return a copy of a value in which classes of an older script are those of this script.

    Examples
    --------
    >>> as_in_this_script({"a": 1})
    {'a': 1}
    """
    return loads_rows(dumps(value))


def check_format(number: Any, known: int, what: str, error: type[Exception]) -> None:
    """Make sure that this version can read what is on disk.

    Parameters
    ----------
    number : int
        The format number that was read.
    known : int
        The highest that this version knows.
    what : str
        What was read, for the message.
    error : type
        Class of the exception.

    Raises
    ------
    Exception
        Of the class `error`, if a later version has written it.
    """
    if number > known:
        raise error(
            f"{what} has format {number}, and this version of {_PACKAGE} knows formats up to "
            f"{known}: a later version has written it; install that version to read it"
        )


class Packed:
    """A value in pickled form, so that one that cannot be restored costs no other.

    In a file it stands as plain bytes with a text. Who reads that file with pandas alone gets the
    text.

    Parameters
    ----------
    data : bytes

    Examples
    --------
    >>> Packed(dumps([1, 2])).open()
    [1, 2]
    >>> Packed(b"").open()
    <a value that cannot be restored here: EOFError('Ran out of input')>
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reason = ""

    def open(self) -> Any:
        """Return the value, or this object where the value cannot be restored."""
        try:
            return loads_rows(self.data)
        except Exception as err:  # whatever the code of a foreign class raises
            self.reason = repr(err)
            return self

    def __reduce__(self) -> tuple[Any, ...]:
        text = repr(self) if self.reason else _UNOPENED  # one object, which pickle writes once
        return operator.getitem, ({_PACKED: self.data, _TEXT: text}, _TEXT)

    def __repr__(self) -> str:
        return f"<a value that cannot be restored here: {self.reason}>"


class OldObject:
    """An object of ours in a pickle of an older version: its attributes, without its class."""

    def __new__(cls, *args: Any) -> OldObject:
        """Take any arguments: named tuples were made with some."""
        return super().__new__(cls)


_BY_VALUE = b"_make_skeleton_"
"""Is in a pickle with classes by value: the names of cloudpickle's functions begin so."""

_NAMES_US = _PACKAGE.encode()
_PACKED = f"{_PACKAGE}: the value, pickled"
_TEXT = "text"
_UNOPENED = f"<a value that {_PACKAGE} has packed>"


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    make, args, *_ = _REDUCERS[CodeType](code)
    return make, (*args[:_FILENAME], code.co_filename, *args[_FILENAME + 1 :])


_FILENAME = 10
"""Place of the name of the file among the arguments of ``types.CodeType``, since Python 3.11."""

_REDUCERS: Any = cloudpickle.Pickler.dispatch_table


class _Pickler(cloudpickle.Pickler):
    """Writes where classes by value are in the script, which cloudpickle does not.

    Public names of this package are written as such, whichever module they are in.
    """

    dispatch_table = ChainMap({CodeType: _reduce_code}, _REDUCERS)  # noqa: RUF012  (as in its base)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, FunctionType | type) and _is_public(obj):
            return getattr, (importlib.import_module(_PACKAGE), obj.__name__)
        made: Any = super().reducer_override(obj)  # type: ignore[no-untyped-call]  # (of a base without types)
        if isinstance(made, tuple) and made[0] is cloudpickle.cloudpickle._make_skeleton_class:
            kind, name, bases, attributes, *rest = made[1]
            attributes = {**attributes, "__qualname__": obj.__qualname__}
            return made[0], (kind, name, bases, attributes, *rest), *made[2:]
        return made


def _is_public(obj: FunctionType | type) -> bool:
    if not str(obj.__module__).startswith(f"{_PACKAGE}."):
        return False
    package = importlib.import_module(_PACKAGE)
    return obj.__name__ in package.__all__ and getattr(package, obj.__name__) is obj


class _Unpickler(pickle.Unpickler):
    """Finds what older versions of this package have named by its module at that time."""

    def find_class(self, module: str, name: str) -> Any:
        if not module.startswith(f"{_PACKAGE}."):
            return super().find_class(module, name)
        if name in _OLD_NAMES:
            return _OLD_NAMES[name]
        package = importlib.import_module(_PACKAGE)
        public = name in package.__all__
        return getattr(package, name) if public else super().find_class(module, name)


def _make_code(filename: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    """Make code as older versions have pickled it."""
    return make(*args).replace(co_filename=filename)


_OLD_NAMES: dict[str, Any] = {
    "_make_code": _make_code,
    "Packed": Packed,
    **dict.fromkeys(("Failure", "Glimpse", "Shown", "SliceResult", "Slow", "Work"), OldObject),
}
"""What pickles of versions before 0.1 name of our modules."""


def _get_item(container: Any, key: Any) -> Any:
    """Do what ``operator.getitem`` does, but find the value that was packed instead of its text."""
    packed = type(container) is dict and _PACKED in container
    return Packed(container[_PACKED]).open() if packed else operator.getitem(container, key)


class _ChangedError(Exception):
    """A class of the script is not what it was."""

    def __init__(self, kind: type) -> None:
        self.kind = kind


class _RowUnpickler(_Unpickler):
    """Takes classes from the script where it has them."""

    def __init__(self, stream: BinaryIO, changed: set[type], **kwargs: Any) -> None:
        super().__init__(stream, **kwargs)
        self._changed = changed
        self.own: set[type] = set()

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if found is operator.getitem:
            return _get_item
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
        now: dict[str, Any] = {name: own[name].value for name in own.__members__}
        same = all(name in now and now[name] == value for name, value in members.items())
        return self._take(own) if same else make(*args)

    def _find(self, module: Any, qualname: str | None, bases: tuple[type, ...]) -> type | None:
        """Find a class in the script, at the place where the script that pickled it had it."""
        if module != "__main__" or qualname is None:
            return None
        own = getattr(sys.modules["__main__"], qualname, None)
        if not isinstance(own, type) or own in self._changed or own.__module__ != "__main__":
            return None
        same = [base.__qualname__ for base in own.__bases__] == [
            base.__qualname__ for base in bases
        ]
        return own if same and own.__qualname__ == qualname else None

    def _take(self, own: Any) -> type:
        self.own.add(own)
        return cast("type", own)

    def _fill(self, fill: Callable[[type, Any], type], kind: type, state: Any) -> type:
        if kind not in self.own:
            return fill(kind, state)
        attributes = state[0]
        # Names with underscores are Python's own, some of which come and go.
        missing = {name for name in attributes if name[0] != "_"} - vars(kind).keys()
        if missing or _fields(attributes) != _fields(vars(kind)):
            raise _ChangedError(kind)
        return kind


def _fields(attributes: Mapping[str, Any]) -> list[list[str]]:
    """Return the names of what values of a class are made of, in its order."""
    kinds = ("__annotations__", "_fields", "__slots__", "__match_args__")
    return [list(attributes.get(kind, ())) for kind in kinds]
