"""A monitor of a process that runs psets: it ends a pset over its timeout, and reports the exit."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import psutil

from psweep_dask.worker import activity, runner
from psweep_dask.worker.activity import ActivityFile, Entry
from psweep_dask.worker.failures import RunningPset, WorkerExit

INTERVAL_SECONDS = 0.2
"""Between two looks at a process: a timeout may be late by so much."""


class ProcessMonitor:
    """Looks at a process now and then, by the activity file that it keeps.

    Parameters
    ----------
    pid : int
        Of the process.
    monitor : str
        The name by which process and monitor find the file, see
        `psweep_dask.worker.activity.activity_path`.
    """

    def __init__(self, pid: int, monitor: str) -> None:
        self.pid = pid
        self._path = activity.activity_path(monitor, pid)
        self._activity: ActivityFile | None = None
        self._over_timeout: Entry | None = None
        self._ended = False

    def look(self) -> None:
        """Ask a process that is over its time for a traceback, and end it at the next look."""
        if self._activity is None:
            self._activity = activity.take_over(self._path)
        if self._activity is None:
            return
        now = time.monotonic()
        late = [entry for entry in self._activity.entries() if 0 < entry.deadline < now]
        if self._over_timeout is not None and self._over_timeout in late:
            self._ended = True
            kill_with_children(self.pid)
        elif late:
            self._over_timeout = late[0]
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, activity.TRACE_SIGNAL)

    def report(self) -> dict[str, Any]:
        """Return what the process was doing when it ended, as plain data for the scheduler."""
        report: dict[str, Any] = {
            "closing": False,
            "running": [],
            "over_timeout": None,
            "stack": "",
        }
        activity_file = self._activity or activity.take_over(self._path)
        if activity_file is None:
            return report
        now = time.monotonic()
        entries = activity_file.entries()
        in_time = self._ended and self._over_timeout not in entries  # through in the last moment
        report["worker"] = activity_file.address
        report["closing"] = activity_file.closing or in_time
        report["running"] = [_as_list(entry, now) for entry in entries]
        if self._ended and self._over_timeout is not None:
            report["over_timeout"] = _as_list(self._over_timeout, now)
        report["stack"] = activity.func_stack(activity_file.trace(), runner.__file__)
        activity_file.close()
        return report


def worker_exit(report: Mapping[str, Any], held: int | None = None) -> WorkerExit:
    """Return the exit of a worker process.

    Parameters
    ----------
    report : Mapping
        Of `ProcessMonitor.report`, with the ``worker``, ``host`` and ``exitcode``; and with the
        ``memory_limit`` if `held` is given.
    held : int, optional
        Bytes of memory that the process held when it was ended for that.
    """
    over_timeout = report["over_timeout"]
    return WorkerExit(
        worker=report["worker"],
        host=report["host"],
        exitcode=report["exitcode"],
        closing=report["closing"],
        running=tuple(RunningPset(*pset) for pset in report["running"]),
        over_timeout=RunningPset(*over_timeout) if over_timeout else None,
        stack=report["stack"],
        memory=None if held is None else (held, report["memory_limit"]),
    )


def kill_with_children(pid: int) -> None:
    """Kill a process and all processes that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.suspend()  # so that it starts no others meanwhile
        for member in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what has lost its parent; only if the group is its own


def _as_list(entry: Entry, now: float) -> list[Any]:
    return [entry.run_id, entry.pset_seq, now - entry.started]
