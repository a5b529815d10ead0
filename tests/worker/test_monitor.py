"""A process over its timeout is ended, and its exit is reported."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
from helpers.driver_process import wait_until

from psweep_dask.worker import monitor
from psweep_dask.worker.monitor import ProcessMonitor, kill_with_children

WRITES_ACTIVITY = """
import os, sys, time, uuid
from psweep_dask.worker import activity
own = activity.create(activity.activity_path("test", os.getpid()), "tcp://here")
own.catch_traces()
if sys.argv[1] == "slow":
    own.begin(uuid.UUID(int=7).bytes, 3, 0.3)
    print("begun", flush=True)
    time.sleep(60)
own.begin(uuid.UUID(int=7).bytes, 4)
os.abort()
"""


def start(how):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES_ACTIVITY, how], stdout=subprocess.PIPE, text=True
    )
    if how == "slow":
        assert process.stdout.readline() == "begun\n"
    return process


def test_timeout_ends_the_process_and_names_the_pset():
    with start("slow") as process:
        process_monitor = ProcessMonitor(process.pid, "test")
        begun = time.monotonic()
        while process.poll() is None:
            process_monitor.check()
            time.sleep(0.05)
        assert 0.1 < time.monotonic() - begun < 30
    report = process_monitor.report()
    worker_exit = monitor.worker_exit({**report, "exitcode": process.returncode})
    assert (worker_exit.worker, worker_exit.over_timeout.pset_seq, worker_exit.exitcode) == (
        "tcp://here",
        3,
        -9,
    )


def test_monitor_reports_an_exit_before_its_first_check():
    with start("dies") as process:
        process.wait()
    report = ProcessMonitor(process.pid, "test").report()
    assert [seq for _, seq, _ in report["running"]] == [4]
    assert report["over_timeout"] is None
    report |= {"exitcode": -9, "memory_limit": 100}
    assert monitor.worker_exit(report, held=95).memory == (95, 100)


def test_monitor_without_activity_file_reports_nothing():
    assert ProcessMonitor(2**22 + 1, "nobody").report()["running"] == []


def test_kill_with_children_ends_the_children():
    script = "import subprocess as s; print(s.Popen(['sleep', '99']).pid, flush=True); input()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        child = int(process.stdout.readline())
        kill_with_children(process.pid)
        wait_until(lambda: not psutil.pid_exists(child) or _is_zombie(child))


def _is_zombie(pid):
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
