"""Funcs that fight the process that runs them: each costs its own pset, and no other."""

from __future__ import annotations

import builtins
import os
import signal
import sys
import threading
import time

import pytest

import psweep_dask as ps
from psweep_dask.worker import monitor


class Unshowable(Exception):
    """An exception whose text cannot be made."""

    def __str__(self):
        raise SystemExit("no text")

    __repr__ = __str__


class Interrupting(Unshowable):
    def __str__(self):
        raise KeyboardInterrupt

    __repr__ = __str__


def _raise(error):
    raise error


def _ask_worker(what):
    from distributed import get_worker

    worker = get_worker()
    worker.loop.add_callback(getattr(worker, what) if what == "close" else worker.loop.stop)
    time.sleep(1000)


def _stop_itself():
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(5)  # the signal may reach another thread of the process first


def _overflow():
    sys.setrecursionlimit(2**30)

    def deeper(number):
        return max([number], key=deeper)  # each call by max takes some of the C stack

    deeper(1)


def _start_endless_thread():
    threading.Thread(target=time.sleep, args=(10**6,)).start()


BY_NAME = {
    "unshowable": lambda: _raise(Unshowable()),
    "interrupting": lambda: _raise(Interrupting()),
    "event_loop": lambda: _ask_worker("stop"),
    "descriptors": lambda: os.closerange(0, 4096),
    "sigstop": _stop_itself,
    "stack": _overflow,
    "clock": lambda: setattr(time, "perf_counter", None),
}
HARMLESS = {
    "modules": lambda: sys.modules.clear(),
    "builtin": lambda: setattr(builtins, "len", None),
    "environ": lambda: delattr(os, "environ"),
    "variables": lambda: os.environ.clear(),
    "thread": _start_endless_thread,
}


@pytest.fixture(autouse=True)
def new_workers():
    """Have a run start on workers that no earlier func has fought."""
    ps.close()
    yield
    ps.close()


def run(fight, **options):
    def func(pset):
        if pset["a"] == 5:
            fight()
            time.sleep(0.002)  # after shorter psets, the process is not looked at
        return {"y": len(str(pset["a"])), "path": "PATH" in os.environ}

    return ps.run_local(func, ps.plist("a", range(20)), poolsize=2, **options)


@pytest.mark.parametrize("name", BY_NAME)
def test_func_that_fights_costs_its_own_pset_alone(study_folder, name):
    df = run(BY_NAME[name], timeout=20)
    others = df[df.a != 5]
    assert df._pset_seq.tolist() == list(range(20))
    assert others._status.tolist() == ["ok"] * 19
    assert others.y.tolist() == [len(str(a)) for a in others.a]
    assert df._status[df.a == 5].iloc[0] in ("error", "killed", "timeout")


@pytest.mark.parametrize("name", HARMLESS)
def test_what_func_breaks_in_its_process_is_put_back(study_folder, name):
    df = run(HARMLESS[name], timeout=60)
    others = df[df.a != 5]
    assert others._status.tolist() == ["ok"] * 19
    assert others.y.tolist() == [len(str(a)) for a in others.a]
    assert others.path.all()


def test_text_of_an_exception_is_kept_within_reason_and_shown_shortened(study_folder, caplog):
    def func(pset):
        raise ValueError("begin" + "x" * 100_000_000 + "end")

    df = ps.run_local(func, [{"a": 1}])
    (text,) = df._exc_txt
    assert len(text) < 2 * 2**20
    assert "ValueError: begin" in text
    assert text.rstrip().endswith("end")
    assert len(caplog.text) < 100_000


def test_process_that_is_stopped_without_timeout_is_ended_and_its_pset_is_a_row(
    study_folder, monkeypatch, caplog
):
    monkeypatch.setattr(monitor, "MAX_STOPPED_SECONDS", 3.0)  # the nanny is in this process
    df = run(BY_NAME["sigstop"])
    assert df._status.tolist() == ["ok"] * 5 + ["killed"] + ["ok"] * 14
    assert "it was stopped, as by SIGSTOP" in df._exc_txt[df.a == 5].iloc[0]
    assert "is ended and replaced: it was stopped" in caplog.text
