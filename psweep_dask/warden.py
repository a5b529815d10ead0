"""Watching over worker processes: ends a pset that is over its time, tells what a process died of.

Three plugins of dask, one for each kind of process. The `Guard` sits in the worker, has it keep a
note of what it is running, and shields it from the Ctrl-C that a terminal sends to all processes.
The `Warden` sits in the nanny and reads that note. The `Judiciary` sits in the scheduler of a
cluster that is not ours and has it tell us of each death, instead of trying again by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
from distributed import Client, Nanny, NannyPlugin, SchedulerPlugin, Worker, WorkerPlugin
from distributed.process import AsyncProcess
from tornado.ioloop import PeriodicCallback

from psweep_dask import note, orphan, runner
from psweep_dask.blame import Death, Running
from psweep_dask.note import Entry, Note

log = logging.getLogger("psweep_dask")

DEATHS = "psweep_dask-deaths"
"""Topic of dask's events under which nannies report."""

MEMORY_KILLS = "worker-restart-memory"
"""Topic under which dask's nannies tell that they end a worker for its memory."""

INTERVAL = 0.2
"""Seconds between two looks at a worker: how late a timeout may be."""

SHIELDED = {signal.SIGINT, signal.SIGTERM}
"""Signals to the driver that must not reach workers of ours."""

KEY_MARK = "psweep"
"""Last part of the keys of our tasks, to know them on a cluster that others use too."""


def install(client: Client, ours: bool, ends_with_driver: bool = False) -> None:
    """Watch over the workers of a cluster, those that come later included.

    Parameters
    ----------
    client : Client
    ours : bool
        Whether we started the cluster, with the settings that suit us.
    ends_with_driver : bool, optional
        Whether the workers are to leave when their scheduler is gone.
    """
    client.register_plugin(Guard(ours))
    client.register_plugin(Warden(ends_with_driver))
    if not ours:
        client.register_plugin(Judiciary())


def deaths(client: Client) -> dict[str, Death]:
    """Tell of which workers the nannies have reported the death, by address."""
    kills = {
        (event["worker"], event["pid"]): event["rss"]
        for _, event in client.get_events(MEMORY_KILLS) or ()
    }
    return {
        event["worker"]: _death(event, kills.get((event["worker"], event["pid"])))
        for _, event in client.get_events(DEATHS) or ()
    }


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


class Guard(WorkerPlugin):
    """Has a worker process tell what it is running.

    Parameters
    ----------
    ours : bool
        Whether we started the worker.
    """

    name = "psweep_dask-guard"
    idempotent = True

    def __init__(self, ours: bool) -> None:
        self._ours = ours

    def setup(self, worker: Worker) -> None:
        """Start the note, and leave Ctrl-C to the driver."""
        if worker.nanny is None:  # it may be the process of the user, and nobody would read it
            return
        if self._ours:
            # A terminal sends Ctrl-C, and a batch system SIGTERM, to the group of the driver. So
            # func and what it starts are spared, and need no signal blocked as during the start.
            os.setpgid(0, 0)
            _unshield()
        elif threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, lambda *_: None)
        try:
            path = note.note_path(str(worker.nanny), os.getpid())
            self._note = note.create(path, worker.address)
        except OSError as err:
            log.warning("timeout= and the search for killed psets do not work here: %s", err)
            return
        self._note.catch_traces()
        runner.own_note = self._note

    def teardown(self, worker: Worker) -> None:
        """Tell that the end is on purpose."""
        if hasattr(self, "_note"):
            self._note.close_on_purpose()


def _unshield() -> None:
    for number in SHIELDED:
        before = signal.signal(number, signal.SIG_IGN)  # which drops one that waits
        signal.signal(number, before)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SHIELDED)


@dataclass
class _Watched:
    process: AsyncProcess
    pid: int
    note: Note | None = None
    condemned: Entry | None = None
    ended: bool = False


class Warden(NannyPlugin):
    """Has a nanny end what is over its time, and report how its worker died.

    Parameters
    ----------
    ends_with_driver : bool
        Whether the worker is to leave when its scheduler is gone.
    """

    name = "psweep_dask-warden"
    idempotent = True

    def __init__(self, ends_with_driver: bool) -> None:
        self._ends_with_driver = ends_with_driver

    def setup(self, nanny: Nanny) -> None:
        """Begin to look at the worker now and then."""
        self._watched: _Watched | None = None
        self._look(nanny)
        callback = PeriodicCallback(partial(self._look, nanny), INTERVAL * 1000)
        nanny.periodic_callbacks[self.name] = callback  # which it stops when it closes
        callback.start()
        if self._ends_with_driver:
            self._search = asyncio.get_running_loop().create_task(
                orphan.leave_without_scheduler(nanny, partial(self._end_worker, nanny))
            )

    def teardown(self, nanny: Nanny) -> None:
        """End it."""
        nanny.periodic_callbacks.pop(self.name).stop()
        if self._ends_with_driver and self._search is not asyncio.current_task():
            self._search.cancel()

    def _look(self, nanny: Nanny) -> None:
        watched = self._watched
        if watched is not None and watched.process.exitcode is not None:
            _report(nanny, watched)
            watched = self._watched = None
        if watched is None:
            watched = self._watched = _begin_to_watch(nanny)
        if watched is None:
            return
        if watched.note is None:
            watched.note = note.take_over(note.note_path(nanny.address, watched.pid))
        if watched.note is not None:
            _enforce_deadlines(watched, watched.note)

    def _end_worker(self, nanny: Nanny) -> None:
        watched = _begin_to_watch(nanny)
        if watched is not None:
            kill_with_children(watched.pid)


class Judiciary(SchedulerPlugin):
    """Has a scheduler give up one of our slices when its worker dies, so that we can judge."""

    name = "psweep_dask-judiciary"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Remember the scheduler."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Have the next death of a worker be one too many for our task."""
        if finish == "processing" and isinstance(key, tuple) and key[-1] == KEY_MARK:
            task = self._scheduler.tasks[key]
            task.suspicious = self._scheduler.allowed_failures


def _begin_to_watch(nanny: Nanny) -> _Watched | None:
    process = nanny.process.process if nanny.process else None
    if process is None or process.pid is None:
        return None
    return _Watched(process, process.pid)


def _enforce_deadlines(watched: _Watched, its_note: Note) -> None:
    """Ask who is late for a traceback, and end it the next time."""
    now = time.monotonic()
    late = [entry for entry in its_note.entries() if 0 < entry.deadline < now]
    if watched.condemned is not None and watched.condemned in late:
        watched.ended = True
        kill_with_children(watched.pid)
    elif late:
        watched.condemned = late[0]
        with contextlib.suppress(ProcessLookupError):
            os.kill(watched.pid, note.TRACE_SIGNAL)


def _report(nanny: Nanny, watched: _Watched) -> None:
    its_note = watched.note or note.take_over(note.note_path(nanny.address, watched.pid))
    event = {
        "worker": nanny.worker_address or "",
        "pid": watched.pid,
        "host": socket.gethostname(),
        "exitcode": watched.process.exitcode,
        "memory_limit": nanny.memory_manager.memory_limit,
        "closing": False,
        "running": [],
        "condemned": None,
        "stack": "",
    }
    if its_note is not None:
        now = time.monotonic()
        entries = its_note.entries()
        event["worker"] = its_note.address
        in_time = watched.ended and watched.condemned not in entries  # through in the last moment
        event["closing"] = its_note.closing or in_time
        event["running"] = [_told(entry, now) for entry in entries]
        if watched.ended and watched.condemned is not None:
            event["condemned"] = _told(watched.condemned, now)
        event["stack"] = note.func_stack(its_note.trace(), runner.__file__)
        its_note.close()
    nanny.log_event(DEATHS, event)


def _told(entry: Entry, now: float) -> list[Any]:
    return [entry.run_id, entry.pset_seq, now - entry.started]


def _death(event: dict[str, Any], held: int | None) -> Death:
    condemned = event["condemned"]
    return Death(
        worker=event["worker"],
        host=event["host"],
        exitcode=event["exitcode"],
        closing=event["closing"],
        running=tuple(Running(*one) for one in event["running"]),
        condemned=Running(*condemned) if condemned else None,
        stack=event["stack"],
        memory=None if held is None else (held, event["memory_limit"]),
    )
