"""The user's own modules, which workers import: what the script has set in them reaches workers.

Own modules are those in the working directory, beside the script, and in editable installations:
all that are neither installed nor a part of Python. They are imported by workers and not sent by
value, so that their classes and functions are the same for all code of a process. What the script
has set in them, such as ``config.n_steps = 100``, is sent with func, and set on the workers.
"""

from __future__ import annotations

import enum
import functools
import importlib
import logging
import random
import re
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import psutil

from psweep_dask.storage import pickling

log = logging.getLogger("psweep_dask")

ModuleValues = dict[str, dict[str, bytes]]
"""Pickled values by the name of a module and the name of a value in it."""

PROCESS_ID = uuid.uuid4().hex

_IMPORTED_NS = time.time_ns()  # a worker imports this module before those of the user

Values = dict[tuple[str, str], Any]
"""Values by the name of a module and the name of a value in it, such as ``Settings.n``."""

_RANDOM = np.random.Generator, np.random.RandomState, random.Random
"""Not sent: all workers would draw the same numbers."""

_WRAPPERS = (
    functools.partial,
    MethodType,
    classmethod,
    staticmethod,
    property,
    type(functools.cache(len)),
)
_WRAPPED = ("func", "args", "keywords", "fget", "__func__", "__self__", "__wrapped__")

_DEFAULTS = ("__defaults__", "__kwdefaults__")

_MAX_ITEMS = 1000
"""In larger lists and dicts no functions are looked for."""

_MISSING = object()

_WITHOUT_STATE = (
    *(FunctionType, BuiltinFunctionType, type, ModuleType, enum.Enum, np.generic),
    *(str, bytes, int, float, complex, tuple, frozenset, range, type(None)),
)
"""Types whose values nobody changes."""


def is_own(module: object) -> bool:
    """Return whether a module is the user's own: neither installed nor a part of Python."""
    file = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "__main__")
    if not isinstance(file, str) or name.partition(".")[0] in _NOT_OWN:
        return False
    if any(part in file for part in _INSTALLED_PARTS) or file.startswith(_STDLIB):
        return False
    return not _has_installed(file.rpartition("/" + name.partition(".")[0])[0])


@functools.cache
def _has_installed(folder: str) -> bool:
    """Return whether packages were installed in a folder, as by ``pip install --target``."""
    return any(Path(folder).glob("*.dist-info"))


_NOT_OWN = {"__main__", "__mp_main__", "psweep_dask"}
_INSTALLED_PARTS = ("site-packages", "dist-packages")
_INSTALLED_PATH = re.compile(r"/(site|dist)-packages\b|/lib\w*/python3|/python3\d*\.zip$")
_STDLIB = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})


def add_import_paths(paths: Iterable[str]) -> None:
    """Have this process find modules where the script does.

    Folders of the user come first, as in the script. Those of installed packages come last, since
    this process may belong to another environment, with packages of its own.
    """
    own: list[str] = []
    installed: list[str] = []
    for path in paths:
        (installed if _INSTALLED_PATH.search(path) else own).append(path)
    sys.path[:] = dict.fromkeys((*own, *sys.path, *installed))


def reachable_values(func: Callable[..., Any], *psets: Any) -> Values:
    """Return the values in own modules that func may look up, as they are now.

    These are found by the names in the code of func and of what it calls, also of classes of
    objects in `psets`. Of a module whose file was edited, and which was not loaded again, there are
    none: workers have it as the file is, and a line of the log says so.
    """
    search = _Search()
    search.visit([func, *psets])
    edited = _edited(search.functions)
    return {place: value for place, value in search.values.items() if place[0] not in edited}


def references(values: Values) -> dict[int, tuple[str, str]]:
    """Return the places of objects that func and own modules share, by the id of the object.

    On a worker they are shared again, so that a change by func is seen by the module.
    """
    return {
        id(value): place
        for place, value in values.items()
        if not isinstance(value, _WITHOUT_STATE) and "." not in place[1]
    }


def packed(values: Values) -> ModuleValues:
    """Return values in pickled form, by their module and name.

    What cannot be pickled is told once; a worker has what its own import of the module makes.
    """
    pickled: ModuleValues = {}
    for (module, name), value in values.items():
        if isinstance(value, _RANDOM):
            continue
        try:
            pickled.setdefault(module, {})[name] = pickling.dumps(value)
        except Exception as err:  # __reduce__ of any class may raise anything
            _tell_once(
                f"{module}.{name} cannot be sent to workers ({err}): each has what its own import "
                f"of {module} makes"
            )
    return pickled


def set_values(values: ModuleValues) -> dict[tuple[str, str], Any]:
    """Set values in the modules of this process, where they differ from what is there.

    Objects that are the same stay, so that ``value is module.MISSING`` remains true. Return the old
    values by module and name.
    """
    old: dict[tuple[str, str], Any] = {}
    for module_name, pickled in values.items():
        for name, data in pickled.items():
            try:
                owner, last = _owner(module_name, name)
            except (ImportError, AttributeError):  # func, which needs it, says so itself
                continue
            present = getattr(owner, last) if last in _DEFAULTS else vars(owner).get(last, _MISSING)
            if present is _MISSING or not _has_pickle(present, data):
                setattr(owner, last, pickling.loads(data))
                old[module_name, name] = present
    return old


def _owner(module: str, name: str) -> tuple[Any, str]:
    """Return the module or class that has a name, and the last part of the name."""
    *classes, last = name.split(".")
    owner: Any = importlib.import_module(module)
    for class_ in classes:
        owner = getattr(owner, class_)
    return owner, last


def set_in_main(func: Callable[..., Any]) -> None:
    """Put the functions and classes of the script that came with func into this ``__main__``.

    There multiprocessing looks for them if func has a pool of processes.
    """
    inner = func.func if isinstance(func, functools.partial) else func
    names = getattr(getattr(inner, "__func__", inner), "__globals__", {})
    for name, value in names.items():
        if isinstance(value, FunctionType | type) and value.__module__ == "__main__":
            setattr(sys.modules["__main__"], name, value)


@contextmanager
def values_in_force(values: ModuleValues) -> Iterator[None]:
    """Have the values of an earlier session in the modules of this process, within the block."""
    old = set_values(values)
    try:
        yield
    finally:
        for (module, name), value in old.items():
            owner, last = _owner(module, name)
            if value is _MISSING:
                delattr(owner, last)
            else:
                setattr(owner, last, value)


def own_files() -> dict[str, str]:
    """Return the files of the own modules that this process has imported, by their names."""
    modules = list(sys.modules.items())
    return {name: str(module.__file__) for name, module in modules if is_own(module)}


def outdated_modules(driver: str, driver_files: Mapping[str, str]) -> list[str]:
    """Return the own modules of this worker that were edited since the worker began.

    Also those that the driver has from another file. There are none where the driver, which has
    this `PROCESS_ID`, is the worker itself.
    """
    if driver == PROCESS_ID:
        return []
    times = file_times()
    return [
        name
        for name, path in own_files().items()
        if times[name] > _IMPORTED_NS or driver_files.get(name, path) != path
    ]


def file_times() -> dict[str, int]:
    """Return when the files of the own modules were changed, in nanoseconds since 1970, by name."""
    return {name: _changed_ns(Path(path)) for name, path in own_files().items()}


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # removed, or inside of an archive
        return 0


class _Search:
    """Follows the names in the code of functions to the values in own modules."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], Any] = {}
        self.functions: list[FunctionType] = []  # of own modules
        self._seen: dict[int, object] = {}  # by id; holding an object keeps its id from others

    def visit(self, start: list[object]) -> None:
        """Add what can be reached from objects."""
        waiting = list(start)
        while waiting:
            item = waiting.pop()
            if id(item) not in self._seen:
                self._seen[id(item)] = item
                waiting.extend(self._next(item))

    def _next(self, item: object) -> Iterator[object]:
        if isinstance(item, FunctionType):
            yield from self._in_function(item)
        elif isinstance(item, _WRAPPERS):
            yield from (getattr(item, name, None) for name in _WRAPPED)
        elif isinstance(item, type):
            if _is_users(item.__module__):
                self._add_attributes(item)
                yield from (*vars(item).values(), *item.__bases__)
        elif isinstance(item, list | tuple | set | frozenset | dict):
            if len(item) <= _MAX_ITEMS:
                yield from item.values() if isinstance(item, dict) else item
        elif _is_users(type(item).__module__):
            yield from (type(item), getattr(item, "__dict__", None))

    def _add_attributes(self, class_: type) -> None:
        """Add what the script may have set in a class of an own module, methods included."""
        name, module = class_.__qualname__, class_.__module__
        if issubclass(class_, enum.Enum) or "<" in name or not is_own(sys.modules.get(module)):
            return
        for key, value in vars(class_).items():
            function = isinstance(value, FunctionType)
            unchanged = function and value.__qualname__ == f"{name}.{key}"
            descriptor = hasattr(type(value), "__get__") and not function
            if not (key.startswith(("__", "_abc")) or unchanged or descriptor):
                self.values[module, f"{name}.{key}"] = value

    def _add_settings(self, function: FunctionType) -> None:
        """Add what the script may have set in a function of an own module."""
        name, module = function.__qualname__, function.__module__
        if not _is_current(function, sys.modules[module]):  # it is sent by value
            return
        attributes = {key: value for key, value in vars(function).items() if key[:2] != "__"}
        for key, value in {
            **{key: getattr(function, key) for key in _DEFAULTS},
            **attributes,
        }.items():
            if value is not None:
                self.values[module, f"{name}.{key}"] = value

    def _in_function(self, function: FunctionType) -> Iterator[object]:
        scope = function.__globals__
        if not _is_users(scope.get("__name__")):
            return
        names = {*_names(function.__code__), *function.__code__.co_freevars}
        owner = sys.modules.get(scope["__name__"])
        values = [scope[name] for name in names & scope.keys()]
        values += [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        modules = [sys.modules[name] for name in names - scope.keys() if name in sys.modules]
        if owner is not None and is_own(owner):
            self.functions.append(function)
            self._add_settings(function)
            modules.append(owner)
        modules += [value for value in values if isinstance(value, ModuleType)]
        yield from (*values, *self._in_modules(modules, names))
        yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        yield getattr(function, "__wrapped__", None)

    def _in_modules(self, modules: list[ModuleType], names: set[str]) -> Iterator[object]:
        """Yield what these names are in own modules, and in modules that they have by a name."""
        searched: set[str] = set()
        while modules:
            module = modules.pop()
            own = is_own(module)
            namespace = getattr(module, "__file__", None) is None and hasattr(module, "__path__")
            if module.__name__ in searched or not (own or namespace):
                continue
            searched.add(module.__name__)
            values = {name: vars(module)[name] for name in names & vars(module).keys()}
            if own:
                self.values |= {(module.__name__, name): value for name, value in values.items()}
                yield from values.values()
            modules += [value for value in values.values() if isinstance(value, ModuleType)]


def _names(code: CodeType) -> Iterator[str]:
    """Yield all names that code looks up or imports, also in functions inside of it.

    A text in it may be a name, too: for ``importlib.import_module``.
    """
    yield from code.co_names
    yield from (constant for constant in code.co_consts if isinstance(constant, str))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_users(name: Any) -> bool:
    """Return whether a module is the script or an own one."""
    return name == "__main__" or is_own(sys.modules.get(name or ""))


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  (to see whether it has any)
    except ValueError:
        return False
    return True


def _has_pickle(value: object, data: bytes) -> bool:
    try:
        return pickling.dumps(value) == data
    except Exception:  # __reduce__ of any class may raise anything
        return False


def _edited(functions: list[FunctionType]) -> set[str]:
    """Return the modules of which the script has older code than their files; say it once."""
    edited = set()
    for function in functions:
        module = sys.modules[function.__module__]
        path = Path(module.__file__ or "")
        changed_ns = _changed_ns(path)
        if (
            changed_ns > _process_start_ns()
            and _is_current(function, module)  # else it is sent by value
            and _code_key(function.__code__) not in _code_in(path, changed_ns)
        ):
            edited.add(module.__name__)
    for name in edited:
        _tell_once(
            f"{name} was edited since the script imported it, and not loaded again: workers have "
            "it as its file is now, without what the script has set in it; to have the same in the "
            f"script: importlib.reload({name})"
        )
    return edited


def _is_current(function: FunctionType, module: ModuleType) -> bool:
    try:
        return attrgetter(function.__qualname__)(module) is function
    except AttributeError:
        return False


@functools.cache
def _process_start_ns() -> int:
    return int(psutil.Process().create_time() * 1e9)


@functools.lru_cache(maxsize=100)
def _code_in(path: Path, changed_ns: int) -> frozenset[Any]:
    """Return the keys of all code of a file, as it is at a time; none if it has a syntax error."""
    try:
        waiting = [compile(path.read_bytes(), str(path), "exec", dont_inherit=True)]
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    keys = set()
    while waiting:
        code = waiting.pop()
        keys.add(_code_key(code))
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return frozenset(keys)


def _code_key(code: CodeType) -> Any:
    """Return what makes code the same, wherever in its file it is."""
    constants = tuple(
        _code_key(constant) if isinstance(constant, CodeType) else repr(constant)
        for constant in code.co_consts
    )
    return code.co_name, code.co_code, constants, code.co_names, code.co_varnames


@functools.cache  # so that it is logged once
def _tell_once(text: str) -> None:
    log.info("%s", text)
