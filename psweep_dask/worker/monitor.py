"""Watching a process that runs psets: what is over its time is ended, and a death is explained."""

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
from psweep_dask.worker.failures import Running, WorkerExit

INTERVAL = 0.2
"""Seconds between two looks at a process: how late a timeout may be."""


class ProcessMonitor:
    """Looks at a process now and then, by the note that it keeps.

    Parameters
    ----------
    pid : int
        Of the process.
    watcher : str
        The name by which process and watcher find the file, see
        `psweep_dask.worker.activity.note_path`.
    """

    def __init__(self, pid: int, watcher: str) -> None:
        self.pid = pid
        self._path = activity.note_path(watcher, pid)
        self._note: ActivityFile | None = None
        self._condemned: Entry | None = None
        self._ended = False

    def look(self) -> None:
        """Ask who is late for a traceback, and end it the next time."""
        if self._note is None:
            self._note = activity.take_over(self._path)
        if self._note is None:
            return
        now = time.monotonic()
        late = [entry for entry in self._note.entries() if 0 < entry.deadline < now]
        if self._condemned is not None and self._condemned in late:
            self._ended = True
            kill_with_children(self.pid)
        elif late:
            self._condemned = late[0]
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, activity.TRACE_SIGNAL)

    def autopsy(self) -> dict[str, Any]:
        """Tell what the process was doing when it ended, as plain data: it may have to travel."""
        found: dict[str, Any] = {"closing": False, "running": [], "condemned": None, "stack": ""}
        its_note = self._note or activity.take_over(self._path)
        if its_note is None:
            return found
        now = time.monotonic()
        entries = its_note.entries()
        in_time = self._ended and self._condemned not in entries  # through in the last moment
        found["worker"] = its_note.address
        found["closing"] = its_note.closing or in_time
        found["running"] = [_told(entry, now) for entry in entries]
        if self._ended and self._condemned is not None:
            found["condemned"] = _told(self._condemned, now)
        found["stack"] = activity.func_stack(its_note.trace(), runner.__file__)
        its_note.close()
        return found


def death(found: Mapping[str, Any], held: int | None = None) -> WorkerExit:
    """Make a report of what `ProcessMonitor.autopsy` has found, completed by whoever has watched.

    Parameters
    ----------
    found : Mapping
        Also tells ``worker``, ``host`` and ``exitcode``, and ``memory_limit`` with `held`.
    held : int, optional
        Bytes of memory for which the process was ended.
    """
    condemned = found["condemned"]
    return WorkerExit(
        worker=found["worker"],
        host=found["host"],
        exitcode=found["exitcode"],
        closing=found["closing"],
        running=tuple(Running(*one) for one in found["running"]),
        condemned=Running(*condemned) if condemned else None,
        stack=found["stack"],
        memory=None if held is None else (held, found["memory_limit"]),
    )


def kill_with_children(pid: int) -> None:
    """End a process and all that it has started, at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.suspend()  # so that it starts no others meanwhile
        for one in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what has lost its parent; only if the group is its own


def _told(entry: Entry, now: float) -> list[Any]:
    return [entry.run_id, entry.pset_seq, now - entry.started]
