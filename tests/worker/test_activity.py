"""The activity file of a process, read by another one while it lives and after its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import pytest

from psweep_dask.worker import activity
from psweep_dask.worker.activity import ActivityFile, func_stack

RUN = uuid.UUID("bb32aade-6ac9-4ac2-9019-3093c5f00965")

WRITER = """
import ctypes, os, pathlib, sys, time, uuid
from psweep_dask.worker import activity
mine = activity.create(pathlib.Path(sys.argv[1]))
mine.catch_traces()
def func():
    print(flush=True)
    HOW
def run():
    mine.begin(uuid.UUID("bb32aade-6ac9-4ac2-9019-3093c5f00965").bytes, 42, timeout=5.0)
    func()
run()
"""


@pytest.fixture
def path(study_folder):
    return study_folder / "activity" / "file"


def writer(study_folder, path, how):
    script = study_folder / "writer.py"
    script.write_text(WRITER.replace("HOW", how))
    process = subprocess.Popen([sys.executable, script, path], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_activity_file_outlives_a_segfault_with_its_traceback(study_folder, path):
    with writer(study_folder, path, "time.sleep(0.5); ctypes.string_at(0)") as process:
        taken = activity.take_over(path)
        assert process.wait() == -signal.SIGSEGV
    (entry,) = taken.entries()
    assert (entry.run_id, entry.pset_seq) == (str(RUN), 42)
    assert entry.deadline == entry.started + 5.0
    stack = func_stack(taken.trace(), str(study_folder / "writer.py"))
    assert "string_at" in stack
    assert not path.exists()


def test_activity_file_has_the_traceback_of_a_process_that_holds_the_gil(study_folder, path):
    with writer(study_folder, path, "ctypes.PyDLL(None).sleep(60)") as process:
        taken = activity.take_over(path)
        os.kill(process.pid, activity.TRACE_SIGNAL)
        deadline = time.monotonic() + 10
        while "in func" not in taken.trace():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()


def test_activity_file_has_an_entry_for_each_thread(path):
    own = activity.create(path)
    own.begin(RUN.bytes, 1)
    thread = threading.Thread(target=own.begin, args=(RUN.bytes, 2))
    thread.start()
    thread.join()
    assert sorted(entry.pset_seq for entry in own.entries()) == [1, 2]
    own.end()
    assert [(entry.pset_seq, entry.deadline) for entry in own.entries()] == [(2, 0.0)]


def test_activity_file_does_not_grow_with_many_threads(path):
    own = activity.create(path)
    for seq in range(300):
        thread = threading.Thread(target=own.begin, args=(RUN.bytes, seq))
        thread.start()
        thread.join()
    assert path.stat().st_size == activity.ENTRIES_BYTES
    assert len(own.entries()) < 102


def test_activity_file_tells_that_the_process_is_closing(path):
    own = activity.create(path, "tls://127.0.0.1:1234")
    taken = activity.take_over(path)
    assert not taken.closing
    own.note_closing()
    assert taken.closing
    assert taken.address == "tls://127.0.0.1:1234"


def test_activity_file_is_not_taken_over_before_it_is_written(path):
    assert activity.take_over(path) is None
    path.parent.mkdir()
    path.touch()
    assert activity.take_over(path) is None


def test_activity_file_can_be_read_by_its_owner_only(path):
    activity.create(path)
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


def test_activity_file_of_an_earlier_process_with_the_same_pid_is_replaced(path):
    old = activity.create(path)
    old.begin(RUN.bytes, 1)
    assert activity.create(path).entries() == []


def test_activity_path_differs_by_monitor_and_pid():
    paths = {
        activity.activity_path(monitor, pid) for monitor in ("tcp://a", "tcp://b") for pid in (1, 2)
    }
    assert len(paths) == 4


def test_func_stack_is_cut_out_of_the_tracebacks_of_all_threads():
    trace = (
        'Thread 0x1 (most recent call first):\n  File "dask.py", line 1 in loop\n\n'
        'Thread 0x2 (most recent call first):\n  File "lib.py", line 9 in deep\n'
        '  File "study.py", line 5 in func\n  File "runner.py", line 7 in _call\n'
        '  File "task.py", line 8 in run_slice\n'
    )
    assert func_stack(trace, "runner.py") == (
        '  File "study.py", line 5 in func\n  File "lib.py", line 9 in deep\n'
    )
    assert func_stack(trace, "other.py") == ""
    assert func_stack("", "runner.py") == ""


def test_activity_file_is_closed_with_its_last_user(path):
    own = activity.create(path)
    assert isinstance(own, ActivityFile)
    descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    own.close()
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == descriptors - 1
