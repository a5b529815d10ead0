"""The user's func: checked, named, and pickled for the workers."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from psweep_dask.errors import PsweepError
from psweep_dask.storage import pickling
from psweep_dask.worker.work import Func

MAX_SOURCE_CHARACTERS = 100_000
"""How much of the source of func is kept."""


class FuncError(PsweepError):
    """A func that cannot be called with a pset, cannot be pickled, or not be loaded by workers."""


def pack_func(
    func: Func, references: Mapping[int, tuple[str, str]] | None = None, needed: bool = True
) -> bytes:
    """Return func in pickled form.

    `references` is what `own_modules.references` returns. If it is not `needed`, since func itself
    is called in this process, a func that cannot be pickled is no error: the result is empty.

    Raises
    ------
    FuncError
        If it cannot be called with one pset, or cannot be pickled.
    """
    check_func(func)
    try:
        packed = pickling.dumps_func(func, references or {})
        pickling.loads_func(packed)
        return packed
    except Exception as err:  # __reduce__ of whatever func refers to may raise anything
        if not needed:
            return b""
        raise FuncError(
            f"func {func_name(func)!r} cannot be pickled ({err}), so it cannot be sent to a "
            "worker; open files, connections and locks inside func instead of outside, or use "
            "cluster='sync', which calls func in this process"
        ) from err


def check_func(func: Func) -> None:
    """Raise a `FuncError` if func cannot be called with one pset."""
    if not callable(func):
        raise FuncError(f"func must be callable with one pset, not {func!r}")
    if inspect.iscoroutinefunction(func):
        raise FuncError(f"func {func_name(func)!r} is async; call asyncio.run inside a plain func")
    try:
        inspect.signature(func).bind({})
    except ValueError:  # some functions written in C have no signature
        pass
    except TypeError as err:
        raise FuncError(
            f"func {func_name(func)!r} must be callable with one argument, the pset: {err}; "
            "bind the others with functools.partial"
        ) from err


def func_source(func: Any) -> str | None:
    """Return the source of func, for ``run.json``; None where Python does not know it."""
    inner = func.func if isinstance(func, functools.partial) else func
    try:
        return inspect.getsource(inner)[:MAX_SOURCE_CHARACTERS]
    except (OSError, TypeError):  # typed in a shell, written in C, an object that can be called
        return None


@contextmanager
def own_modules_by_value() -> Iterator[None]:
    """Within the block, pickle the functions and classes of the user's own modules by value.

    These are the modules in the working directory and beside the script: a batch job on another
    machine cannot import them. Installed packages are imported there.
    """
    folders = {Path.cwd().resolve(), script_dir().resolve()}
    modules = [
        module for name, module in list(sys.modules.items()) if _is_own(name, module, folders)
    ]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def script_dir() -> Path:
    """Return the folder of the script that runs, or the working directory if there is no script.

    This is not always ``sys.path[0]``: dask puts folders of its own before it.
    """
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path.cwd() if file is None else Path(file).absolute().parent


def _is_own(name: str, module: ModuleType, folders: set[Path]) -> bool:
    if name.partition(".")[0] in ("__main__", "__mp_main__", "psweep_dask"):
        return False
    file = getattr(module, "__file__", None)
    if file is None or name != getattr(module, "__name__", None):
        return False
    path = Path(file).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    return not path.is_relative_to(sys.base_prefix) and not folders.isdisjoint(path.parents)


def func_name(func: Any) -> str:
    """Return a name of func for messages, whatever kind of callable it is."""
    while isinstance(func, functools.partial):
        func = func.func
    return str(getattr(func, "__name__", type(func).__name__)).strip("<>")


def import_paths(shared_files: bool) -> tuple[str, ...]:
    """Return the folders in which a worker looks for modules of func.

    These are all folders of ``sys.path`` if the worker sees the files of this machine, else only
    that of the script.
    """
    paths = [str(Path(path).absolute()) for path in sys.path]
    return tuple(dict.fromkeys(paths)) if shared_files else (str(script_dir()),)
