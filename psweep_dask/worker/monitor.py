"""The monitor of a worker process: it ends a pset over its timeout, and reports how it ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any

import psutil

from psweep_dask.worker import activity, runner
from psweep_dask.worker.activity import ActivityFile, Entry
from psweep_dask.worker.failures import RunningPset, WorkerExit

log = logging.getLogger("psweep_dask")

CHECK_INTERVAL_SECONDS = 0.2
"""Time between two checks of a process. A pset may run longer than its timeout by twice this."""


STOPPED_LOOK_SECONDS = 2.0
"""Time between two looks whether a process is stopped."""

MAX_STOPPED_SECONDS = 60.0
"""A process that is stopped for longer is ended. One over its timeout is ended before that."""


class ProcessMonitor:
    """Monitors a process by its activity file, whose path is `activity.activity_path`."""

    def __init__(self, pid: int, monitor: str) -> None:
        self.pid = pid
        self._path = activity.activity_path(monitor, pid)
        self._activity: ActivityFile | None = None
        self._over_timeout: Entry | None = None
        self._ended = False
        self._stopped_for = 0.0
        self._next_look = 0.0
        self._reason = ""

    def check(self) -> None:
        """Ask a process that is over its timeout for a traceback, and kill it at the next check."""
        if self._activity is None:
            self._activity = activity.take_over(self._path)
        if self._activity is None:
            return
        now = time.monotonic()
        if now >= self._next_look:
            self._look_whether_stopped(now)
        late = [entry for entry in self._activity.entries() if 0 < entry.deadline < now]
        if self._over_timeout is not None and self._over_timeout in late:
            self._ended = True
            kill_with_children(self.pid)
        elif late:
            self._over_timeout = late[0]
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, activity.TRACE_SIGNAL)

    def _look_whether_stopped(self, now: float) -> None:
        """End a process that has been stopped for too long, as by SIGSTOP.

        The time between two looks counts only if this process was not stopped itself.
        """
        since = now - self._next_look
        self._next_look = now + STOPPED_LOOK_SECONDS
        try:
            is_stopped = psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return
        if not is_stopped:
            self._stopped_for = 0.0
        elif since < STOPPED_LOOK_SECONDS:
            self._stopped_for += STOPPED_LOOK_SECONDS
        if self._stopped_for > MAX_STOPPED_SECONDS:
            self._reason = f"it was stopped, as by SIGSTOP, for {self._stopped_for:.0f} s"
            log.warning("worker process %d is ended and replaced: %s", self.pid, self._reason)
            kill_with_children(self.pid)

    def report(self) -> dict[str, Any]:
        """Return what the process was doing when it ended, as data that dask can send as they are.

        These are fields of `WorkerExit`; ``worker`` is missing if there is no activity file.
        """
        report = {"host": socket.gethostname(), "pid": self.pid, "closing": False}
        report |= {"running": [], "over_timeout": None, "stack": "", "reason": ""}
        activity_file = self._activity or activity.take_over(self._path)
        if activity_file is None:
            return report
        now = time.monotonic()
        entries = activity_file.entries()
        killed = self._over_timeout if self._ended else None
        # The pset may have come to its end just before it was killed.
        done_at_last = killed is not None and killed not in entries
        report |= {
            "worker": activity_file.address,
            "closing": activity_file.closing or done_at_last,
            "running": [_as_list(entry, now) for entry in entries],
            "over_timeout": None if killed is None else _as_list(killed, now),
            "stack": activity.func_stack(activity_file.trace(), runner.__file__),
            "reason": self._reason or activity_file.reason,
        }
        activity_file.close()
        return report


def worker_exit(report: Mapping[str, Any], held: int | None = None) -> WorkerExit:
    """Return the exit of a worker process, from the report of `ProcessMonitor`.

    ``worker`` and ``exitcode`` have been added to it; and ``memory_limit``, if the
    process was ended because it held so many bytes.
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
        reason=report["reason"],
        memory=None if held is None else (held, report["memory_limit"]),
        pid=report["pid"],
    )


def kill_with_children(pid: int) -> None:
    """Kill a process and all processes that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.suspend()  # it must start no others meanwhile
        for member in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what has lost its parent; only if the group is its own


def _as_list(entry: Entry, now: float) -> list[Any]:
    return [entry.run_id, entry.pset_seq, now - entry.started]
