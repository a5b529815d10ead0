"""func is checked, named and pickled for the workers."""

from __future__ import annotations

import functools
import pickle
import sys
import threading
from pathlib import Path

import pytest

from psweep_dask.storage import pickling
from psweep_dask.worker.func import (
    MAX_SOURCE_CHARACTERS,
    FuncError,
    func_name,
    func_source,
    import_paths,
    own_modules_by_value,
    pack_func,
    script_dir,
)


def add(pset, number=1):
    return {"y": pset["a"] + number}


async def wait(pset):
    return {}


LOCK = threading.Lock()


def locked(pset, lock=LOCK):
    with lock:
        return {}


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (5, "func must be callable with one pset, not 5"),
        (wait, "func 'wait' is async; call asyncio.run inside a plain func"),
        (lambda: {"y": 1}, "func 'lambda' must be callable with one argument, the pset: too many"),
        (lambda pset, more: {}, "missing a required argument: 'more'; bind the others with"),
        (functools.partial(add, 1, 2), "func 'add' must be callable with one argument"),
        (functools.partial(locked, lock=LOCK), "func 'locked' cannot be pickled .*lock.* inside"),
    ],
)
def test_pack_func_names_what_is_wrong_with_func(func, message):
    with pytest.raises(FuncError, match=message):
        pack_func(func)


class Adder:
    def __call__(self, pset):
        return add(pset)


@pytest.mark.parametrize("func", [add, Adder(), functools.partial(add, number=1), lambda a: add(a)])
def test_pack_func_accepts_whatever_can_be_called_with_a_pset(func):
    assert pickling.loads(pack_func(func))({"a": 1}) == {"y": 2}


def test_pack_func_accepts_functions_without_a_signature():
    assert pickle.loads(pack_func(dict)) is dict


def test_func_name_of_all_kinds_of_callables():
    funcs = [add, Adder(), functools.partial(add, number=1), lambda pset: {}, len]
    assert list(map(func_name, funcs)) == ["add", "Adder", "add", "lambda", "len"]


def test_func_source_is_that_of_the_function_in_a_partial():
    source = "def add(pset, number=1):\n"
    assert func_source(functools.partial(add, number=1)).startswith(source)
    assert func_source(Adder()) is None


def test_func_source_is_cut(study_folder, monkeypatch):
    lines = "    pass\n" * MAX_SOURCE_CHARACTERS
    (study_folder / "long_func.py").write_text(f"def func(pset):\n{lines}")
    monkeypatch.syspath_prepend(study_folder)
    import long_func

    assert len(func_source(long_func.func)) == MAX_SOURCE_CHARACTERS


def test_own_modules_are_pickled_by_value_within_the_block(study_folder, monkeypatch):
    (study_folder / "own_module.py").write_text("def func(pset):\n    return {'y': 7}\n")
    monkeypatch.syspath_prepend(study_folder)
    import own_module

    with own_modules_by_value():
        inside = pickling.dumps(own_module.func)
    outside = pickling.dumps(own_module.func)
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "own_module")
    assert pickle.loads(inside)({}) == {"y": 7}
    with pytest.raises(ModuleNotFoundError, match="own_module"):
        pickle.loads(outside)


def test_import_paths_are_those_of_the_driver_only_with_shared_files(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "/lib", "/lib"])
    assert import_paths(shared_files=True) == (str(Path.cwd()), "/lib")
    assert import_paths(shared_files=False) == (str(script_dir()),)


def test_script_dir_is_the_working_directory_without_a_script(monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", "scripts/study.py", raising=False)
    assert script_dir() == Path.cwd() / "scripts"
    monkeypatch.delattr(main, "__file__")
    assert script_dir() == Path.cwd()
