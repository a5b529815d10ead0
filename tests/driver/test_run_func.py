"""Which func runs: with "sync" the script's own, on workers a copy, if they can load it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading

import pytest
from distributed import Client, LocalCluster

import psweep_dask as ps


class Instrument:
    """Has state, and a lock, so that it cannot be pickled."""

    def __init__(self):
        self.lock = threading.Lock()
        self.measured = []

    def measure(self, pset):
        with self.lock:
            self.measured.append(pset["a"])
        return {"n": len(self.measured)}


@pytest.mark.parametrize("save", [True, False])
def test_sync_calls_the_very_func_of_the_script(study_folder, save):
    instrument, seen = Instrument(), []

    def func(pset):
        seen.append(threading.current_thread())
        return instrument.measure(pset)

    for number, called in enumerate((func, instrument.measure), 1):
        df = ps.run(called, ps.plist("a", [1, 2, 3]), cluster="sync", save=save)
        assert df.n.tolist()[-3:] == [3 * number - 2, 3 * number - 1, 3 * number]
    assert instrument.measured == [1, 2, 3] * 2
    assert seen == [threading.current_thread()] * 3


def test_func_that_only_sync_can_run_is_asked_for_in_resume_and_retry(study_folder):
    instrument = Instrument()

    def func(pset):
        instrument.measure(pset)
        if len(instrument.measured) == 2:
            raise ValueError
        return {}

    ps.run(func, ps.plist("a", [1, 2, 3]), cluster="sync")
    with pytest.raises(ps.PsweepError, match="its func could not be pickled: pass one as func="):
        ps.retry("calc", cluster="sync")
    assert ps.retry("calc", func, cluster="sync")._status.tolist() == ["ok", "error", "ok", "ok"]
    assert instrument.measured == [1, 2, 3, 2]


def test_breakpoint_in_func_works_with_sync(study_folder):
    (study_folder / "script.py").write_text("""
import psweep_dask as ps
def func(pset):
    b = 2 * pset["a"]
    breakpoint()
    return {"b": b}
print("b is", ps.run(func, [{"a": 21}], cluster="sync").b.tolist())
""")
    done = subprocess.run(
        [sys.executable, "script.py"], input="p b + 1\n!b = 5\nc\n",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "(Pdb) 43" in done.stdout
    assert "b is [5]" in done.stdout


@pytest.fixture
def module_by_path(study_folder, monkeypatch):
    """A module that was loaded from its path, which no worker can import by its name."""
    path = study_folder / "elsewhere" / "by_path_only.py"
    path.parent.mkdir()
    path.write_text("def func(pset): return {}\n")
    spec = importlib.util.spec_from_file_location("by_path_only", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "by_path_only", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("users", [True, False])
@pytest.mark.parametrize("before", [0, 2])
def test_func_that_workers_cannot_load_is_one_error_and_leaves_no_run(
    study_folder, module_by_path, users, before
):
    if before:
        ps.run(lambda pset: {}, ps.plist("a", range(before)), cluster="sync")
    files = set(study_folder.rglob("*"))
    match = r"func cannot be loaded on .*by_path_only.*install them, or put them beside the script"
    if users:
        with (
            LocalCluster(n_workers=1, dashboard_address="127.0.0.1:0") as cluster,
            Client(cluster, set_as_default=False) as client,
            pytest.raises(ps.PsweepError, match=match),
        ):
            ps.run(module_by_path.func, ps.plist("a", range(100)), cluster=client)
    else:
        with pytest.raises(ps.PsweepError, match=match):
            ps.run(module_by_path.func, ps.plist("a", range(100)), cluster="local")
    gone = {path for path in files if not path.exists()}
    left = {path for path in set(study_folder.rglob("*")) - files if path.is_file()}
    assert gone == set()
    assert {path.name for path in left} <= {".database.pk.lock"}
    if before:
        assert len(ps.load("calc")) == before
        assert len(ps.resume("calc", cluster="sync")) == before
