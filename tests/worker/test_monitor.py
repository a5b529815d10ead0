from __future__ import annotations

import subprocess
import sys
import time

import psutil
from helpers.driver_process import wait_until

from psweep_dask.worker import monitor
from psweep_dask.worker.monitor import ProcessMonitor, kill_with_children

KEEPS_A_NOTE = """
import os, sys, time, uuid
from psweep_dask.worker import activity
own = activity.create(activity.note_path("test", os.getpid()), "tcp://here")
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
        [sys.executable, "-c", KEEPS_A_NOTE, how], stdout=subprocess.PIPE, text=True
    )
    if how == "slow":
        assert process.stdout.readline() == "begun\n"
    return process


def test_what_is_over_its_time_is_ended_and_named():
    with start("slow") as process:
        process_monitor = ProcessMonitor(process.pid, "test")
        begun = time.monotonic()
        while process.poll() is None:
            process_monitor.look()
            time.sleep(0.05)
        assert 0.1 < time.monotonic() - begun < 30
    found = process_monitor.report()
    worker_exit = monitor.worker_exit({**found, "host": "n1", "exitcode": process.returncode})
    assert (worker_exit.worker, worker_exit.over_timeout.pset_seq, worker_exit.exitcode) == (
        "tcp://here",
        3,
        -9,
    )


def test_a_death_that_nobody_has_looked_at_is_explained_from_the_note():
    with start("dies") as process:
        process.wait()
    found = ProcessMonitor(process.pid, "test").report()
    assert [seq for _, seq, _ in found["running"]] == [4]
    assert found["over_timeout"] is None


def test_without_a_note_nothing_is_known():
    assert ProcessMonitor(2**22 + 1, "nobody").report()["running"] == []


def test_children_are_ended_with_their_parent():
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
