"""Watching over worker processes: ends a pset that is over its time, tells what a process died of.

Three plugins of dask, one for each kind of process. The `ActivityPlugin` sits in the worker, has it
keep a note of what it is running, and shields it from the Ctrl-C that a terminal sends to all
processes. The `MonitorPlugin` sits in the nanny and reads that note. The `NoRetryPlugin` sits in
the scheduler of a cluster that is not ours, and has it report the exit of a worker at once instead
of running the task again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from distributed import Client, Nanny, NannyPlugin, SchedulerPlugin, Worker, WorkerPlugin
from distributed.comm import get_address_host_port
from distributed.process import AsyncProcess
from tornado.ioloop import PeriodicCallback

from psweep_dask.worker import activity, monitor, runner
from psweep_dask.worker.failures import WorkerExit
from psweep_dask.worker.monitor import ProcessMonitor, kill_with_children

log = logging.getLogger("psweep_dask")

DEATHS = "psweep_dask-deaths"
"""Topic of dask's events under which nannies report."""

MEMORY_KILLS = "worker-restart-memory"
"""Topic under which dask's nannies tell that they end a worker for its memory."""

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
    client.register_plugin(ActivityPlugin(ours))
    client.register_plugin(MonitorPlugin(ends_with_driver))
    if not ours:
        client.register_plugin(NoRetryPlugin())


def deaths(client: Client) -> dict[str, WorkerExit]:
    """Tell of which workers the nannies have reported the death, by address."""
    kills = {
        (event["worker"], event["pid"]): event["rss"]
        for _, event in client.get_events(MEMORY_KILLS) or ()
    }
    return {
        event["worker"]: monitor.death(event, kills.get((event["worker"], event["pid"])))
        for _, event in client.get_events(DEATHS) or ()
    }


class ActivityPlugin(WorkerPlugin):
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
        if threading.current_thread() is threading.main_thread():
            # One that func sends to its own process would end the event loop of the worker.
            signal.signal(signal.SIGINT, lambda *_: None)
        try:
            path = activity.note_path(str(worker.nanny), os.getpid())
            self._note = activity.create(path, worker.address)
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


class MonitorPlugin(NannyPlugin):
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
        self._worker: _WorkerProcess | None = None
        self._look(nanny)
        callback = PeriodicCallback(partial(self._look, nanny), monitor.INTERVAL * 1000)
        nanny.periodic_callbacks[self.name] = callback  # which it stops when it closes
        callback.start()
        if self._ends_with_driver:
            self._search = asyncio.get_running_loop().create_task(
                leave_without_scheduler(nanny, partial(self._end_worker, nanny))
            )

    def teardown(self, nanny: Nanny) -> None:
        """End it."""
        nanny.periodic_callbacks.pop(self.name).stop()
        if self._ends_with_driver and self._search is not asyncio.current_task():
            self._search.cancel()

    def _look(self, nanny: Nanny) -> None:
        worker = self._worker
        if worker is not None and worker.process.exitcode is not None:
            _report(nanny, worker)
            worker = self._worker = None
        if worker is None:
            worker = self._worker = _monitored(nanny)
        if worker is not None:
            worker.monitor.look()

    def _end_worker(self, nanny: Nanny) -> None:
        worker = _monitored(nanny)
        if worker is not None:
            kill_with_children(worker.monitor.pid)


class NoRetryPlugin(SchedulerPlugin):
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


class _WorkerProcess(NamedTuple):
    process: AsyncProcess
    monitor: ProcessMonitor


def _monitored(nanny: Nanny) -> _WorkerProcess | None:
    process = nanny.process.process if nanny.process else None
    if process is None or process.pid is None:
        return None
    return _WorkerProcess(process, ProcessMonitor(process.pid, nanny.address))


def _report(nanny: Nanny, worker: _WorkerProcess) -> None:
    event = {
        "worker": nanny.worker_address or "",
        "pid": worker.monitor.pid,
        "host": socket.gethostname(),
        "exitcode": worker.process.exitcode,
        "memory_limit": nanny.memory_manager.memory_limit,
    }
    nanny.log_event(DEATHS, event | worker.monitor.autopsy())


SEARCH_INTERVAL = 10.0
"""Seconds between two questions of a nanny whether there still is a scheduler."""


GONE = 60.0
"""Seconds without a scheduler that takes connections, after which a job of ours ends. A worker
would notice that itself, unless its func holds the GIL."""


SILENT = 600.0
"""The same for one that takes them and does not answer: its driver may be suspended."""


async def leave_without_scheduler(nanny: Nanny, end_worker: Callable[[], object]) -> None:
    """Close a nanny with its worker when there is no scheduler any more.

    Parameters
    ----------
    nanny : Nanny
    end_worker : callable
        Ends the worker process with all that it has started.
    """
    heard = time.monotonic()
    patience = GONE
    while time.monotonic() - heard < patience:
        await asyncio.sleep(SEARCH_INTERVAL)
        try:
            await asyncio.wait_for(nanny.scheduler.echo(data=None), SEARCH_INTERVAL)
        except (TimeoutError, OSError):  # dask's errors of connections are of this kind
            patience = SILENT if await _takes_connections(nanny.scheduler.address) else GONE
        else:
            heard = time.monotonic()
    log.warning("the driver is gone, so this worker leaves")
    end_worker()
    await nanny.close(timeout=5, reason="psweep_dask-driver-gone")


async def _takes_connections(address: str) -> bool:
    """Tell a scheduler that is gone from one that is suspended: dask tries for long with both."""
    host, port = get_address_host_port(address)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), SEARCH_INTERVAL)
    except (TimeoutError, OSError):
        return False
    writer.close()
    return True
