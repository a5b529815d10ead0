"""What the script has set in the user's own modules is what func sees on workers."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from distributed import Client, LocalCluster

import psweep_dask as ps
from psweep_dask.storage import pickling
from psweep_dask.worker import own_modules

CONFIG = """
import functools, threading
import numpy as np
n_steps = 1
unused = 1
numbers = [1, 2]
MISSING = object()
lock = threading.Lock()
rng = np.random.default_rng(0)
def default(x=MISSING):
    return "missing" if x is MISSING else x
class Model:
    def run(self):
        return n_steps
@functools.cache
def cached():
    return numbers
def scaled(x=1, *, by=1):
    return x * by
def answer():
    return "old answer"
def uses_lock():
    with lock:
        return rng.random()
"""


@pytest.fixture
def config(study_folder, monkeypatch):
    """A module of the user, as the script has imported it."""
    own_modules._tell_once.cache_clear()
    (study_folder / "lab_config.py").write_text(CONFIG)
    monkeypatch.syspath_prepend(study_folder)
    yield importlib.import_module("lab_config")
    del sys.modules["lab_config"]


def values_for(func):
    return own_modules.packed(own_modules.reachable_values(func))


def edit(module, old, new):
    path = module.__file__
    with open(path) as file:
        text = file.read()
    time.sleep(0.05)  # longer than the clock of file systems ticks
    with open(path, "w") as file:
        file.write(text.replace(old, new))
    importlib.invalidate_caches()


def test_modules_are_own_unless_they_are_installed_or_part_of_python(config):
    assert own_modules.is_own(config)
    assert not any(map(own_modules.is_own, (os, np, pytest, ps, sys, importlib)))
    assert not own_modules.is_own(sys.modules["__main__"])


def test_folders_of_the_user_come_first_and_those_of_packages_last(monkeypatch):
    of_script = ["/home/me/study", "/opt/py/lib/python311.zip", "/opt/py/lib/python3.11"]
    of_script += ["/home/me/lib", "/opt/py/lib/python3.11/site-packages"]
    monkeypatch.setattr(sys, "path", ["", "/worker/lib/python3.11", "/home/me/lib"])
    for _ in range(2):
        own_modules.add_import_paths(of_script)
        assert sys.path == [
            *("/home/me/study", "/home/me/lib", "", "/worker/lib/python3.11"),
            *("/opt/py/lib/python311.zip", "/opt/py/lib/python3.11"),
            "/opt/py/lib/python3.11/site-packages",
        ]


def test_values_are_found_by_all_ways_in_which_code_reaches_them(config):
    def by_name(pset):
        return config.n_steps

    def by_import(pset):
        from lab_config import n_steps

        return n_steps

    def by_function(pset):
        return indirect()

    def indirect():
        return config.Model().run()

    class Callable:
        model = config.Model

        def __call__(self, pset):
            return self.model().run()

    table = {"x": [by_name]}

    def by_table(pset):
        return table["x"][0](pset)

    for func in (by_name, by_import, by_function, by_table, config.Model.run):
        values = values_for(func)["lab_config"]
        assert pickling.loads(values["n_steps"]) == 1
        assert "unused" not in values
    assert "numbers" in values_for(config.cached)["lab_config"]


def test_values_that_are_equal_keep_the_objects_of_the_module(config):
    def func(pset):
        return config.n_steps, config.MISSING, config.numbers, config.default

    values = values_for(func)
    config.n_steps = 5
    before = config.MISSING, config.numbers
    old = own_modules.set_values(values)
    assert old == {("lab_config", "n_steps"): 5}
    assert (config.n_steps, config.default()) == (1, "missing")
    assert before[0] is config.MISSING
    assert before[1] is config.numbers


def test_values_of_an_earlier_session_are_in_force_in_a_block_only(config):
    config.added = "by the script"
    values = values_for(lambda pset: (config.n_steps, config.added))
    config.n_steps = 7
    del config.added
    with own_modules.values_in_force(values):
        assert (config.n_steps, config.added) == (1, "by the script")
    assert config.n_steps == 7
    assert not hasattr(config, "added")


def test_what_cannot_be_sent_is_told_once_by_its_name(config, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(2):
        values = values_for(lambda pset: config.uses_lock())
    assert "lock" not in values["lab_config"]
    assert "rng" not in values["lab_config"]  # all workers would draw the same numbers
    assert caplog.text.count("lab_config.lock cannot be sent to workers") == 1


def test_func_sees_what_the_script_has_set_on_all_workers(config):
    def func(pset):
        return {"y": config.n_steps, "z": config.default(), "w": config.Model().run()}

    for value in (100, 200):
        config.n_steps = value
        df = ps.run(func, ps.plist("a", range(20)), save=False)
        assert set(df.y) == set(df.w) == {value}
        assert set(df.z) == {"missing"}


def test_resume_and_retry_see_what_the_script_of_the_run_had_set(config):
    def func(pset):
        if not os.path.exists("mended"):
            raise ValueError
        return {"y": config.n_steps}

    config.n_steps = 100
    ps.run(func, ps.plist("a", range(4)))
    config.n_steps = 3
    with open("mended", "w"):
        pass
    for cluster in ("local", "sync"):
        df = ps.retry("calc", cluster=cluster)
        assert set(df[df._status == "ok"].y) == {100}
    assert ps.reproduce("calc", df._pset_id.iloc[0]) == {"y": 100}
    assert config.n_steps == 3


def test_workers_run_the_code_that_the_script_has_reloaded(config, caplog):
    caplog.set_level(logging.INFO)

    def func(pset):
        return {"y": config.Model().run(), "z": config.default()}

    def values():
        df = ps.run(func, ps.plist("a", range(20)), save=False)
        return set(df.y), set(df.z)

    assert values() == ({1}, {"missing"})
    caplog.clear()
    edit(config, "return n_steps", "return 1000 * n_steps")
    importlib.reload(config)
    assert values() == ({1000}, {"missing"})
    assert caplog.text.count("start again, since lab_config has changed") == 1
    edit(config, "1000 * n_steps", "2000 * n_steps")
    importlib.reload(config)
    assert set(ps.run(config.Model.run, [{"a": 1}], save=False)._status) == {"error"}
    assert values() == ({2000}, {"missing"})


def test_code_that_is_edited_and_not_reloaded_is_told(config, caplog):
    caplog.set_level(logging.INFO)
    edit(config, "return n_steps", "return 5 * n_steps")
    df = ps.run(lambda pset: {"y": config.Model().run()}, ps.plist("a", range(9)), save=False)
    assert set(df.y) == {5}
    assert caplog.text.count("lab_config was edited since the script imported it") == 1


def test_module_that_only_func_imports_is_imported_anew_after_an_edit(study_folder):
    (study_folder / "late.py").write_text("def f(): return 1\n")
    (study_folder / "script.py").write_text("""
import time
import psweep_dask as ps
def func(pset):
    import late
    return {"y": late.f()}
def values():
    return set(ps.run(func, ps.plist("a", range(8)), save=False).y)
print(values())
time.sleep(0.05)
with open("late.py", "w") as file:
    file.write("def f(): return 22\\n")
print(values())
""")
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == "{1}\n{22}\n", done.stderr


def test_file_that_was_edited_is_taken_whole(config, caplog):
    caplog.set_level(logging.INFO)
    config.n_steps = 100
    edit(config, "n_steps = 1", "n_steps = 7")
    edit(config, "return n_steps", "return n_steps, 'edited'")
    df = ps.run(lambda pset: {"y": config.Model().run()}, [{"a": 1}], save=False)
    assert df.y.tolist() == [(7, "edited")]
    assert "without what the script has set in it" in caplog.text


def test_edit_during_a_run_is_told_at_its_end(config, caplog):
    def func(pset):
        if pset["a"] == 2:
            edit(config, "return n_steps", "return -n_steps")
        return {"y": config.Model().run()}

    df = ps.run_local(func, ps.plist("a", range(4)), save=False)
    assert df.y.tolist() == [1] * 4
    assert "lab_config was edited meanwhile: workers that came later have the new" in caplog.text


def test_function_that_the_script_has_kept_from_before_a_reload_is_no_reason_to_say_anything(
    config, caplog
):
    caplog.set_level(logging.INFO)
    kept = config.answer
    edit(config, "old answer", "new answer")
    importlib.reload(config)
    df = ps.run(lambda pset: {"old": kept(), "new": config.answer()}, [{"a": 1}], save=False)
    assert "was edited since" not in caplog.text
    assert (df.old.tolist(), df.new.tolist()) == (["old answer"], ["new answer"])


def test_classes_of_modules_have_what_the_script_has_set_in_them(config):
    config.Model.scale = 1
    values = values_for(lambda pset: config.Model.scale)
    assert {"Model", "Model.scale"} <= values["lab_config"].keys()
    config.Model.scale = 5
    config.Model.run = lambda self: "patched"
    df = ps.run(
        lambda pset: {"y": config.Model.scale, "z": config.Model().run()}, [{"a": 1}], save=False
    )
    assert (df.y.tolist(), df.z.tolist()) == ([5], ["patched"])


def test_functions_of_modules_have_what_the_script_has_set_in_them(config):
    config.answer.calls = 3
    config.scaled.__defaults__ = (9,)
    config.scaled.__kwdefaults__ = {"by": 2}

    def func(pset):
        return {"y": config.answer.calls, "z": config.scaled(), "same": config.default()}

    df = ps.run(func, [{"a": 1}], save=False)
    assert df[["y", "z", "same"]].iloc[0].tolist() == [3, 18, "missing"]


def test_object_that_script_and_module_share_is_shared_on_workers(config):
    config.settings = config.Model()
    shared, numbers, missing, lock = config.settings, config.numbers, config.MISSING, config.lock

    def func(pset):
        shared.n = pset["a"]
        numbers.append(pset["a"])
        with lock:
            same = shared is config.settings and missing is config.MISSING
        return {"n": config.settings.n, "same": same, "numbers": config.cached()}

    df = ps.run_local(func, ps.plist("a", [5, 6]), save=False)
    assert df.n.tolist() == [5, 6]
    assert df.same.all()
    assert df.numbers.iloc[-1] == [1, 2, 5, 6]


def test_modules_of_objects_in_psets_are_searched_too(config):
    config.n_steps = 100
    psets = [{"a": 1, "_model": config.Model()}]
    df = ps.run(lambda pset: {"y": pset["_model"].run()}, psets, save=False)
    assert df.y.tolist() == [100]


def test_packages_in_a_folder_of_pip_are_not_own(study_folder, monkeypatch):
    (study_folder / "lib" / "thing-1.0.dist-info").mkdir(parents=True)
    (study_folder / "lib" / "lab_thing.py").write_text("n = 1\n")
    monkeypatch.syspath_prepend(study_folder / "lib")
    assert not own_modules.is_own(importlib.import_module("lab_thing"))
    del sys.modules["lab_thing"]


def test_workers_of_the_user_that_have_older_code_are_an_error(config):
    def func(pset):
        return {"y": config.Model().run()}

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert ps.run(func, [{"a": 1}], cluster=client, save=False).y.tolist() == [1]
        edit(config, "return n_steps", "return 3")
        importlib.reload(config)
        with pytest.raises(ps.PsweepError, match=r"lab_config.*client\.restart\(\)"):
            ps.run(func, [{"a": 1}], cluster=client, save=False)
        client.restart()
        assert ps.run(func, [{"a": 1}], cluster=client, save=False).y.tolist() == [3]
