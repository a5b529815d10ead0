"""Stopping a run: signals, another shell, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from helpers import driver_process
from helpers.funcs import double

import psweep_dask as ps


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_all_processes_lets_psets_finish_and_run_returns(where, number, study_folder):
    with driver_process.start(study_folder, nap=0.5, options=f"cluster={where!r}") as driver:
        driver_process.wait_until(lambda: driver_process.calls(study_folder))
        os.killpg(driver.pid, number)
        printed, told = driver.communicate(timeout=60)
    assert driver.returncode == 0
    df = ps.df_read("calc/database.pk")
    assert int(printed) == len(df) >= 1
    assert sorted(df._pset_seq) == sorted(driver_process.calls(study_folder))
    assert (df._status == "ok").all()
    assert "stopping: nothing new is started" in told
    assert f"ps.resume('calc') runs the {2000 - len(df)} left" in told
    assert "Traceback" not in told
    assert "distributed" not in told


def test_second_ctrl_c_ends_psets_with_all_that_they_started(study_folder):
    script = driver_process.SCRIPT.replace(
        "time.sleep(NAP)", "__import__('os').system('sleep 602')"
    )
    with driver_process.start(study_folder, options="cluster='local'", script=script) as driver:
        driver_process.wait_until(lambda: sleepers(driver))
        started = sleepers(driver)
        os.killpg(driver.pid, signal.SIGINT)
        time.sleep(1.5)
        assert all(process.is_running() for process in started)  # it is spared by the first
        os.killpg(driver.pid, signal.SIGINT)
        _, told = driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert "Traceback" not in told
    assert "distributed" not in told
    driver_process.wait_until(lambda: not any(map(lives, started)), seconds=10)


def lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sleepers(driver):
    children = psutil.Process(driver.pid).children(recursive=True)
    return [child for child in children if "602" in child.cmdline()]


def test_stop_command_of_another_shell_stops_a_run(study_folder):
    psweep_dask = str(Path(sys.executable).parent / "psweep-dask")
    with driver_process.start(study_folder, nap=0.1) as driver:
        driver_process.wait_for_journal(study_folder, size=1)
        done = subprocess.run(
            [psweep_dask, "stop", "calc"], capture_output=True, text=True, check=True
        )
        printed, _ = driver.communicate(timeout=60)
    assert "is asked to stop" in done.stdout
    assert driver.returncode == 0
    assert 0 < int(printed) < 2000
    done = subprocess.run([psweep_dask, "stop"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: no run in 'calc' is at work\n"


def test_ctrl_c_in_a_run_inside_a_func_stops_the_outer_run_too(study_folder):
    script = """
import time
import psweep_dask as ps
def inner(pset):
    open("started", "w").close()
    time.sleep(0.1)
    return {}
def outer(pset):
    df = ps.run(inner, ps.plist("i", range(20)), cluster="sync", save=False, df=EMPTY)
    return {"n": len(df)}
import pandas as pd
EMPTY = pd.DataFrame()
df = ps.run(outer, ps.plist("a", range(30)), cluster="sync")
print(df.n.tolist())
"""
    with driver_process.start(study_folder, script=script) as driver:
        driver_process.wait_until((study_folder / "started").exists)
        driver.send_signal(signal.SIGINT)
        printed, _ = driver.communicate(timeout=60)
    assert printed == "[20]\n"


def test_stop_now_of_a_background_run_does_not_block_another():
    ps.run(double, ps.plist("a", range(2)), save=False)  # the workers are there
    started = time.monotonic()
    first = ps.submit(lambda pset: time.sleep(600), [{"a": 1}], save=False)
    second = ps.submit(double, ps.plist("a", range(5)), save=False)
    time.sleep(1)
    first.stop(now=True)
    first.result(timeout=30)
    assert second.result(timeout=30).y.tolist() == [0, 2, 4, 6, 8]
    assert len(ps.run(double, ps.plist("a", range(4)), save=False)) == 4
    assert time.monotonic() - started < 60
