"""Pickle values of users and read them back: func, psets, results, databases.

No pickle on disk names a module of this package, so that modules can move: this package itself
writes tuples, dicts and bytes with a format number. The pickles of version 0.1.0.dev0, which do
name modules, can still be read.
"""

from __future__ import annotations

import enum
import importlib
import io
import logging
import operator
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import CodeType, FunctionType
from typing import Any, BinaryIO, cast

import cloudpickle
import numpy as np

from psweep_dask.errors import PsweepError
from psweep_dask.storage.stand_ins import RESOLVE, StandIn
from psweep_dask.storage.stand_ins import Unpickler as StandInUnpickler

log = logging.getLogger("psweep_dask")

_PACKAGE = "psweep_dask"
_SPAWNED_MAIN = "__mp_main__"


def dumps(value: Any) -> bytes:
    """Return a value in pickled form, with the classes and functions of the user's script in it.

    Their code keeps the name of its file, so that tracebacks show lines of the source. cloudpickle
    removes that name since version 3.1.2, so that its bytes are the same in any notebook.
    """
    stream = io.BytesIO()
    dump(value, stream)
    return stream.getvalue()


def dump(value: Any, stream: BinaryIO, **kwargs: Any) -> None:
    """Pickle a value into a file, as `dumps` does, with further options of ``pickle.dump``."""
    _send_spawned_main()
    pickler: Any = _Pickler  # untyped, as its base is
    pickler(stream, **{"protocol": pickle.HIGHEST_PROTOCOL, **kwargs}).dump(value)


def _send_spawned_main() -> None:
    """Have the script sent by value where multiprocessing has imported it as another module."""
    if _SPAWNED_MAIN in sys.modules:
        cloudpickle.register_pickle_by_value(sys.modules[_SPAWNED_MAIN])


def loads(data: bytes) -> Any:
    """Return the value that `dumps` of this or of an older version has pickled."""
    if _PACKAGE_NAME not in data:
        return pickle.loads(data)
    return _Unpickler(io.BytesIO(data)).load()


def dumps_func(func: Any, references: Mapping[int, tuple[str, str]]) -> bytes:
    """Return func in pickled form. Objects with these ids are not in it: it names their place.

    A place is a module and a name in it. `loads_func` takes the object that is there.
    """
    _send_spawned_main()
    stream = io.BytesIO()
    pickler: Any = _FuncPickler
    pickler(stream, protocol=pickle.HIGHEST_PROTOCOL, references=references).dump(func)
    return stream.getvalue()


def loads_func(data: bytes) -> Any:
    """Return the func that `dumps_func` or `dumps` has pickled."""
    return _FuncUnpickler(io.BytesIO(data)).load()


def load_rows(stream: BinaryIO, **kwargs: Any) -> Any:
    """Return rows from a file, whose values have the classes of the user's script if possible.

    A class of the user's script is pickled by value. When it is read, the class of that name in
    the present script takes its place, if it has the same bases, fields and members, and at least
    the same methods. So values are equal to those that the script makes, whichever session has
    written them. Other classes are made again as they were.

    A value that cannot be restored here is a `StandIn`, and a log line says so. Other errors mean
    that the pickle is damaged.
    """
    rows, stand_ins = load_rows_quietly(stream, **kwargs)
    warn_of(stand_ins, getattr(stream, "name", "a journal"))
    return rows


def warn_of(stand_ins: Sequence[StandIn], where: str) -> None:
    """Say that there are values that could not be restored."""
    if stand_ins:
        log.warning("%s: %r, and perhaps others; they stay in the file", where, stand_ins[0])


def load_rows_quietly(stream: BinaryIO, **kwargs: Any) -> tuple[Any, list[StandIn]]:
    """Do what `load_rows` does, but return the stand-ins that were made instead of a log line."""
    start = stream.tell()
    changed: set[type] = set()
    try:
        return _load_whole(stream, changed, **kwargs), []
    except BaseException as err:  # whatever the code of a foreign class raises
        if isinstance(err, StandInUnpickler.passed_on):
            raise
    unpickler, rows = _load_with_stand_ins(stream, start, changed, **kwargs)
    return rows, unpickler.made


def _load_with_stand_ins(
    stream: BinaryIO, start: int, changed: set[type], **kwargs: Any
) -> tuple[StandInUnpickler, Any]:
    while True:
        stream.seek(start)
        unpickler = _StandInRowUnpickler(stream, changed, **kwargs)
        try:
            return unpickler, unpickler.load()
        except _ChangedClassError as err:
            changed.add(err.class_)


def _load_whole(stream: BinaryIO, changed: set[type], **kwargs: Any) -> Any:
    """Return rows; raise if one of their values cannot be restored."""
    start = stream.tell()
    while True:
        unpickler = _RowUnpickler(stream, changed, **kwargs)
        try:
            return unpickler.load()
        except _ChangedClassError as err:
            changed.add(err.class_)
        except Exception:
            if not unpickler.own_classes:  # no class of the script can be the cause
                raise
            changed |= unpickler.own_classes  # one of them does not accept its old values any more
        stream.seek(start)


def loads_rows(data: bytes) -> Any:
    """Return rows from bytes, as `load_rows` does."""
    if _CLASS_BY_VALUE not in data and _PACKAGE_NAME not in data and _RESOLVE not in data:
        try:
            return pickle.loads(data)
        except BaseException as err:  # as above
            if isinstance(err, StandInUnpickler.passed_on):
                raise
    return load_rows(io.BytesIO(data))


def loads_value(data: bytes) -> Any:
    """Return a single value, or raise what its class raises."""
    if _CLASS_BY_VALUE not in data and _PACKAGE_NAME not in data and _RESOLVE not in data:
        return pickle.loads(data)
    return _load_whole(io.BytesIO(data), set())


def as_in_this_script(value: Any) -> Any:
    """Return a copy of a value, in which classes of an older script are those of this script."""
    return loads_value(dumps(value))


def check_format(number: Any, known: int, what: str, error: type[Exception]) -> None:
    """Raise `error` if the format number on disk is higher than the highest that is known here."""
    if number > known:
        raise error(
            f"{what} has format {number}, and this version of {_PACKAGE} knows formats up to "
            f"{known}: a later version has written it; install that version to read it"
        )


class PackedValue:
    """A value in pickled form. If it cannot be restored, the other values of its frame still can.

    In a file it is a dict of bytes and a text, without this class. Who reads the file with pandas
    alone gets the text.

    Examples
    --------
    >>> PackedValue(b"").open()
    <a value that cannot be restored here: EOFError('Ran out of input')>
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reason = ""

    def open(self) -> Any:
        """Return the value, or this object if the value cannot be restored."""
        try:
            return loads_value(self.data)
        except BaseException as err:  # whatever the code of a foreign class raises
            if isinstance(err, StandInUnpickler.passed_on):
                raise
            self.reason = repr(err)
            return self

    def __reduce__(self) -> tuple[Any, ...]:
        text = repr(self) if self.reason else _UNOPENED_TEXT  # the same str: pickle writes it once
        return operator.getitem, ({DATA_KEY: self.data, _TEXT_KEY: text}, _TEXT_KEY)

    def __repr__(self) -> str:
        return f"<a value that cannot be restored here: {self.reason}>"


class OldObject:
    """An object of this package in a pickle of version 0.1.0.dev0: only its attributes."""

    def __new__(cls, *args: Any) -> OldObject:
        """Accept the arguments that named tuples have."""
        return super().__new__(cls)


_CLASS_BY_VALUE = b"_make_skeleton_"
"""In each pickle of a class by value: the names of cloudpickle's functions begin so."""

_PACKAGE_NAME = _PACKAGE.encode()
"""In each pickle that names this package, or has packed values."""

_RESOLVE = RESOLVE[1].encode()
"""In each pickle that names what could not be imported."""

DATA_KEY = f"{_PACKAGE}: the value, pickled"
_TEXT_KEY = "text"
_UNOPENED_TEXT = f"<a value that {_PACKAGE} has packed>"


_REDUCERS: Any = cloudpickle.Pickler.dispatch_table


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    make, args, *_ = _REDUCERS[CodeType](code)
    # Argument 10 of ``types.CodeType`` is the name of the file, since Python 3.11.
    return make, (*args[:10], code.co_filename, *args[11:])


class _Pickler(cloudpickle.Pickler):
    """Adds to a class by value its place in the script, which cloudpickle leaves out.

    Public names of this package are pickled as ``psweep_dask.<name>``, without their module. Its
    other exceptions become `PsweepError`, which all of them are.
    """

    dispatch_table = ChainMap({CodeType: _reduce_code}, _REDUCERS)  # noqa: RUF012  (as in its base)

    def reducer_override(self, obj: Any) -> Any:
        name = _public_name(obj) if isinstance(obj, FunctionType | type) else None
        if name is not None:
            return getattr, (importlib.import_module(_PACKAGE), name)
        made: Any = super().reducer_override(obj)  # type: ignore[no-untyped-call]  # (of a base without types)
        if isinstance(made, tuple) and made[0] is cloudpickle.cloudpickle._make_skeleton_class:
            kind, name, bases, attributes, *rest = made[1]
            attributes = {**attributes, "__qualname__": obj.__qualname__}
            return made[0], (kind, name, bases, attributes, *rest), *made[2:]
        return made


class _FuncPickler(_Pickler):
    def __init__(
        self, stream: BinaryIO, references: Mapping[int, tuple[str, str]], **kwargs: Any
    ) -> None:
        super().__init__(stream, **kwargs)  # type: ignore[no-untyped-call]  # (as above)
        self._references = references

    def persistent_id(self, obj: Any) -> tuple[str, str] | None:
        return self._references.get(id(obj))


def _public_name(obj: FunctionType | type) -> str | None:
    """Return the name in ``psweep_dask`` that a function or class is pickled by, if it has one."""
    if not str(obj.__module__).startswith(f"{_PACKAGE}."):
        return None
    package = importlib.import_module(_PACKAGE)
    name: str = obj.__name__
    if name in package.__all__ and getattr(package, name) is obj:
        return name
    is_error = isinstance(obj, type) and issubclass(obj, PsweepError)
    return PsweepError.__name__ if is_error else None


def find_old(module: str, name: str, find: Callable[[str, str], Any]) -> Any:
    """Find what version 0.1.0.dev0 has pickled under the names of its modules.

    In numpy 1, modules of numpy 2 have other names.
    """
    if module.startswith("numpy._core.") and np.__version__.startswith("1."):
        return find(module.replace("._core.", ".core."), name)
    if not module.startswith(f"{_PACKAGE}."):
        return find(module, name)
    if name in _OLD_NAMES:
        return _OLD_NAMES[name]
    package = importlib.import_module(_PACKAGE)
    return getattr(package, name) if name in package.__all__ else find(module, name)


class _Unpickler(pickle.Unpickler):
    """Finds what version 0.1.0.dev0 has pickled."""

    def find_class(self, module: str, name: str) -> Any:
        return find_old(module, name, super().find_class)


class _FuncUnpickler(_Unpickler):
    def persistent_load(self, place: tuple[str, str]) -> Any:
        module, name = place
        return operator.attrgetter(name)(importlib.import_module(module))


def _make_code(filename: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    """Return code from what version 0.1.0.dev0 has pickled of it."""
    return make(*args).replace(co_filename=filename)


_OLD_NAMES: dict[str, Any] = {
    "_make_code": _make_code,
    "Packed": PackedValue,
    **dict.fromkeys(("Failure", "Glimpse", "Shown", "SliceResult", "Slow", "Work"), OldObject),
}
"""What pickles of version 0.1.0.dev0 name of its modules."""


def _get_item(container: Any, key: Any) -> Any:
    """Do what ``operator.getitem`` does, but return a packed value itself instead of its text."""
    if type(container) is dict and DATA_KEY in container:
        return PackedValue(container[DATA_KEY]).open()
    return operator.getitem(container, key)


class _ChangedClassError(Exception):
    """A class of the script is not the one that was pickled."""

    def __init__(self, class_: type) -> None:
        self.class_ = class_


def _split(place: str) -> tuple[str, str]:
    module, _, name = place.partition(":")
    return module, name


class _ScriptClasses:
    """Finds the classes of the present script, if they are those that were pickled."""

    def __init__(self, changed: set[type]) -> None:
        self._changed = changed
        self.own_classes: set[type] = set()

    def find(self, module: str, name: str, find: Callable[[str, str], Any]) -> Any:
        """Return a class or function; `find` looks for it where the pickle says."""
        if (module, name) == RESOLVE:
            return lambda place: self.find(*_split(place), find)
        function = find_old(module, name, find)
        if function is operator.getitem:
            return _get_item
        if module != cloudpickle.cloudpickle.__name__:
            return function
        if name == "_make_skeleton_enum":
            return partial(self._make_enum, function)
        if name == "_make_skeleton_class":
            return partial(self._make_class, function)
        return partial(self._fill_class, function) if name == "_class_setstate" else function

    def _make_class(self, make: Callable[..., type], *args: Any) -> type:
        kind, _, bases, attributes = args[:4]
        own = self._own_class(attributes.get("__module__"), attributes.get("__qualname__"), bases)
        return self._used(own) if type(own) is kind else make(*args)

    def _make_enum(self, make: Callable[..., type], *args: Any) -> type:
        bases, _, qualname, members, module = args[:5]
        own: Any = self._own_class(module, qualname, bases)
        if not isinstance(own, enum.EnumMeta):
            return make(*args)
        values: dict[str, Any] = {name: own[name].value for name in own.__members__}
        same = all(name in values and values[name] == value for name, value in members.items())
        return self._used(own) if same else make(*args)

    def _own_class(self, module: Any, qualname: str | None, bases: tuple[type, ...]) -> type | None:
        """Return the class that has the same place in the present script; None if there is none."""
        if module != "__main__" or qualname is None:
            return None
        own = getattr(sys.modules["__main__"], qualname, None)
        if not isinstance(own, type) or own in self._changed or own.__module__ != "__main__":
            return None
        same = [base.__qualname__ for base in own.__bases__] == [
            base.__qualname__ for base in bases
        ]
        return own if same and own.__qualname__ == qualname else None

    def _used(self, own: Any) -> type:
        self.own_classes.add(own)
        return cast("type", own)

    def _fill_class(self, fill: Callable[[type, Any], type], class_: type, state: Any) -> type:
        if class_ not in self.own_classes:
            return fill(class_, state)
        attributes = state[0]
        # Names with underscores are Python's own, and not the same in each version of Python.
        missing = {name for name in attributes if name[0] != "_"} - vars(class_).keys()
        if missing or _fields(attributes) != _fields(vars(class_)):
            raise _ChangedClassError(class_)
        return class_


class _RowUnpickler(pickle.Unpickler):
    def __init__(self, stream: BinaryIO, changed: set[type], **kwargs: Any) -> None:
        super().__init__(stream, **kwargs)
        self._classes = _ScriptClasses(changed)
        self.own_classes = self._classes.own_classes

    def find_class(self, module: str, name: str) -> Any:
        return self._classes.find(module, name, super().find_class)


class _StandInRowUnpickler(StandInUnpickler):
    passed_on = (*StandInUnpickler.passed_on, _ChangedClassError)

    def __init__(self, stream: BinaryIO, changed: set[type], **kwargs: Any) -> None:
        super().__init__(stream, **kwargs)
        self._classes = _ScriptClasses(changed)

    def find_global(self, module: str, name: str) -> Any:
        return self._classes.find(module, name, super().find_global)


def _fields(attributes: Mapping[str, Any]) -> list[list[str]]:
    """Return the names of the fields of a class, in their order."""
    lists = ("__annotations__", "_fields", "__slots__", "__match_args__")
    return [list(attributes.get(name, ())) for name in lists]
