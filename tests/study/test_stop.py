"""Requests to stop a run, from signals and from files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from helpers.driver_process import start, wait_for_journal

import psweep_dask as ps
from psweep_dask.storage.layout import Layout
from psweep_dask.study import stop
from psweep_dask.study.runs import RunNotFoundError, all_runs
from psweep_dask.study.stop import Stop, Stopper, request_stop, write_request
from psweep_dask.worker.runner import Interrupt


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_signals_ask_then_drop_then_end_the_process(number, error):
    stopper, woken = Stopper(), []
    stopper.wake = lambda: woken.append(stopper.level)
    handler = signal.getsignal(number)
    with stopper.catch_signals():
        os.kill(os.getpid(), number)
        assert stopper.level == Stop.SOON
        os.kill(os.getpid(), number)
        assert stopper.level == Stop.NOW
        with pytest.raises(error):
            os.kill(os.getpid(), number)
    assert woken == [Stop.SOON, Stop.NOW]
    assert signal.getsignal(number) is handler


def test_signals_interrupt_func_at_the_second_one():
    stopper = Stopper()
    stopper.in_func = True
    with stopper.catch_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_processes_that_func_forks_are_ended_by_sigterm_from_their_first_instant():
    script = """
import multiprocessing, time
import psweep_dask as ps


def func(pset):
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    process.start()
    time.sleep(pset["a"])
    process.terminate()  # as a pool ends its processes
    process.join()
    return {"code": process.exitcode}


params = ps.plist("a", [0.0, 1e-4, 1e-3, 1e-2, 0.1] * 10)
print(set(ps.run(func, params, cluster="sync", save=False).code))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == f"{{{-signal.SIGTERM}}}\n"
    assert "stopping" not in done.stderr


def test_signals_that_are_ignored_stay_so():
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopper = Stopper()
        with stopper.catch_signals():
            os.kill(os.getpid(), signal.SIGINT)
        assert stopper.level == Stop.NO
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, handler)


def test_signals_are_left_alone_in_another_thread():
    seen = []

    def listen():
        with Stopper().catch_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_poll_sees_the_request_of_another_process(study_folder, monkeypatch):
    monkeypatch.setattr(stop, "REQUEST_POLL_SECONDS", 0.0)
    stopper = Stopper(study_folder / "stop")
    assert stopper.poll() == Stop.NO
    write_request(study_folder / "stop", Stop.SOON)
    assert stopper.poll() == Stop.SOON
    write_request(study_folder / "stop", Stop.NOW)
    assert stopper.poll() == Stop.NOW


def test_request_never_lowers_the_level():
    stopper = Stopper()
    stopper.request(Stop.NOW)
    stopper.request(Stop.SOON)
    assert stopper.level == Stop.NOW


def test_signals_are_kept_by_the_run_that_caught_them_first():
    outer, inner = Stopper(), Stopper()
    with outer.catch_signals(), inner.catch_signals():
        os.kill(os.getpid(), signal.SIGINT)
    assert (outer.level, inner.level) == (Stop.SOON, Stop.NO)


def test_was_terminated_after_sigterm_but_not_after_ctrl_c(monkeypatch):
    monkeypatch.setattr(stop, "_terminated", False)
    for number, terminated in ((signal.SIGINT, False), (signal.SIGTERM, True)):
        with Stopper().catch_signals():
            os.kill(os.getpid(), number)
        assert stop.was_terminated() == terminated


def test_request_stop_asks_runs_at_work_and_no_others(study_folder):
    ps.run(lambda pset: {}, [{"a": 1}], cluster="sync")
    layout = Layout("calc")
    assert request_stop(layout) == []
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        done, at_work = all_runs(layout)
        with pytest.raises(RunNotFoundError, match="no run has the number 'zz'"):
            request_stop(layout, "zz")
        assert request_stop(layout, done.run_id[:8]) == []
        assert request_stop(layout, at_work.run_id[:8]) == [at_work.run_id]
        assert at_work.folder.stop_path.read_text() == "SOON"
        driver.wait(60)
    assert 1 < len(ps.load("calc")) < 2001
    assert not at_work.folder.stop_path.exists()
