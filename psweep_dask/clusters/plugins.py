"""Plugins of dask by which timeouts are enforced, and by which we know why a worker has ended.

There is one for each kind of process:

- `ActivityPlugin`, in the worker, opens the file in which the worker notes what it runs
  (`psweep_dask.worker.activity`), and keeps the signals of a terminal away from it.
- `MonitorPlugin`, in the nanny, reads that file five times a second: it ends a worker whose pset is
  over its timeout, and it reports each exit of its worker.
- `NoRetryPlugin`, in the scheduler of a cluster that is not ours, makes dask give up a task at once
  when its worker is lost, instead of running it again. Our own clusters have a setting for that.

`psweep_dask.clusters.users_plugins` brings them to a cluster that is not ours, and takes them away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, NamedTuple

import dask.config
from distributed import (
    Client,
    Nanny,
    NannyPlugin,
    SchedulerPlugin,
    Status,
    Worker,
    WorkerPlugin,
    rejoin,
    secede,
)
from distributed.comm import get_address_host_port
from distributed.process import AsyncProcess
from tornado.ioloop import PeriodicCallback

from psweep_dask.worker import activity, monitor, runner, task
from psweep_dask.worker.failures import WorkerExit
from psweep_dask.worker.monitor import ProcessMonitor, kill_with_children

log = logging.getLogger("psweep_dask")

EXIT_TOPIC = "psweep_dask-worker-exits"
"""The topic of dask's events under which nannies report the exits of their workers."""

MEMORY_TOPIC = "worker-restart-memory"
"""The topic under which dask's nannies report that they end a worker for its memory."""

SHIELDED_SIGNALS = {signal.SIGINT, signal.SIGTERM}
"""Signals to the driver that must not reach our workers."""

KEY_MARK = "psweep"
"""Last part of the keys of our tasks, which tells them from those of other users of a cluster."""

SCHEDULER_POLL_SECONDS = 10.0
"""How often a nanny of a batch job or allocation asks whether its scheduler is there."""

LAST_REPORT_SECONDS = 2.0
"""A nanny that closes tries for so long to report the exit of its worker."""

UNREACHABLE_SECONDS = 60.0
"""A worker leaves if its scheduler has taken no connection for so long. dask's own worker would
notice that, too, but not while func holds the GIL."""

SILENT_SECONDS = 600.0
"""The same if the scheduler takes connections and does not answer: its driver may be suspended."""


def install(client: Client, ours: bool, ends_with_driver: bool = False) -> None:
    """Install the plugins on a cluster of ours. Workers that come later get them, too.

    Parameters
    ----------
    client : Client
    ours : bool
        Whether the workers are children of this process, started with our dask settings.
    ends_with_driver : bool, optional
        Whether the workers are to leave when their scheduler is gone.
    """
    client.register_plugin(ActivityPlugin(ours, our_cluster=ours or ends_with_driver))
    client.register_plugin(MonitorPlugin(ends_with_driver))


def plugins_for_users() -> tuple[ActivityPlugin, MonitorPlugin]:
    """Return the plugins for workers and nannies of a cluster that is not ours."""
    return ActivityPlugin(ours=False, our_cluster=False), MonitorPlugin(False)


def worker_exits(client: Client) -> dict[str, WorkerExit]:
    """Return the exits of workers that nannies have reported, by the address of the worker."""
    memory_held = {
        (event["worker"], event["pid"]): event["rss"]
        for _, event in client.get_events(MEMORY_TOPIC) or ()
    }
    return {
        event["worker"]: monitor.worker_exit(
            event, memory_held.get((event["worker"], event["pid"]))
        )
        for _, event in client.get_events(EXIT_TOPIC) or ()
    }


class ActivityPlugin(WorkerPlugin):
    """Makes a worker process note what it runs, and shields it from Ctrl-C.

    Parameters
    ----------
    ours : bool
        Whether the worker is a child of the driver.
    our_cluster : bool
        Whether its cluster runs psets only.
    """

    name = "psweep_dask-activity"
    idempotent = True

    def __init__(self, ours: bool, our_cluster: bool) -> None:
        self._ours = ours
        self._our_cluster = our_cluster

    def setup(self, worker: Worker) -> None:
        """Open the activity file, and leave Ctrl-C to the driver."""
        if worker.nanny is None:  # no nanny would read the file; this may be the user's process
            return
        task.turn = task.Turn(worker.state.nthreads, secede, rejoin)
        if self._our_cluster:
            # What func computes with dask runs in its process: others are at work on psets.
            dask.config.set(scheduler="threads", num_workers=worker.state.nthreads)
        if self._ours:
            # A terminal sends Ctrl-C, and a batch system SIGTERM, to the process group of the
            # driver. In a group of its own, a worker and what func starts are spared. So the
            # signals that were blocked while the worker started can be unblocked.
            os.setpgid(0, 0)
            _unblock_signals()
        if threading.current_thread() is threading.main_thread():
            # func may send SIGINT to its own process: that would end dask's event loop.
            self._handler = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            path = activity.activity_path(str(worker.nanny), os.getpid())
            self._activity = activity.create(path, worker.address)
        except OSError as err:
            log.warning("timeout= and the search for killed psets do not work here: %s", err)
            return
        self._activity.catch_traces()
        runner.activity_file = self._activity

    def teardown(self, worker: Worker) -> None:
        """Note that the process ends because dask has told it to; else leave it as it was."""
        if worker.status not in (Status.running, Status.paused):
            if hasattr(self, "_activity"):
                self._activity.note_closing()
            return
        task.turn = nullcontext()
        if hasattr(self, "_handler"):
            signal.signal(signal.SIGINT, self._handler)
        if hasattr(self, "_activity"):
            runner.activity_file = None
            self._activity.leave_traces()
            self._activity.close()
            activity.activity_path(str(worker.nanny), os.getpid()).unlink(missing_ok=True)


def _unblock_signals() -> None:
    for number in SHIELDED_SIGNALS:
        handler = signal.signal(number, signal.SIG_IGN)  # which drops a signal that waits
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SHIELDED_SIGNALS)


class _WorkerProcess(NamedTuple):
    process: AsyncProcess
    monitor: ProcessMonitor


class MonitorPlugin(NannyPlugin):
    """Makes a nanny enforce timeouts, and report the exits of its worker.

    Parameters
    ----------
    ends_with_driver : bool
        Whether the worker is to leave when its scheduler is gone.
    """

    name = "psweep_dask-monitor"
    idempotent = True

    def __init__(self, ends_with_driver: bool) -> None:
        self._ends_with_driver = ends_with_driver

    def setup(self, nanny: Nanny) -> None:
        """Start to look at the worker process again and again."""
        self._worker: _WorkerProcess | None = None
        if self.name in nanny.periodic_callbacks:  # it has been sent here twice
            return
        self._look(nanny)
        callback = PeriodicCallback(
            partial(self._look, nanny), monitor.CHECK_INTERVAL_SECONDS * 1000
        )
        nanny.periodic_callbacks[self.name] = callback  # which it stops when it closes
        callback.start()
        if self._ends_with_driver:
            self._scheduler_poll = asyncio.get_running_loop().create_task(
                leave_without_scheduler(nanny, partial(self._end_worker, nanny))
            )

    async def teardown(self, nanny: Nanny) -> None:
        """Stop looking. A nanny that closes since its worker has closed reports that before."""
        nanny.periodic_callbacks.pop(self.name).stop()
        if self._ends_with_driver and self._scheduler_poll is not asyncio.current_task():
            self._scheduler_poll.cancel()
        worker, self._worker = self._worker, None
        if worker is not None and worker.process.exitcode is not None:
            event = _exit_event(nanny, worker)
            with suppress(OSError, TimeoutError):  # the scheduler is gone, too
                message = nanny.scheduler.log_event(topic=EXIT_TOPIC, msg=event)
                await asyncio.wait_for(message, LAST_REPORT_SECONDS)

    def _look(self, nanny: Nanny) -> None:
        worker = self._worker
        if worker is not None and worker.process.exitcode is not None:
            nanny.log_event(EXIT_TOPIC, _exit_event(nanny, worker))
            worker = self._worker = None
        if worker is None:
            worker = self._worker = _worker_process(nanny)
        if worker is not None:
            worker.monitor.check()

    def _end_worker(self, nanny: Nanny) -> None:
        worker = _worker_process(nanny)
        if worker is not None:
            kill_with_children(worker.monitor.pid)


def _worker_process(nanny: Nanny) -> _WorkerProcess | None:
    process = nanny.process.process if nanny.process else None
    if process is None or process.pid is None:
        return None
    return _WorkerProcess(process, ProcessMonitor(process.pid, nanny.address))


def _exit_event(nanny: Nanny, worker: _WorkerProcess) -> dict[str, Any]:
    event = {
        "worker": nanny.worker_address or "",
        "exitcode": worker.process.exitcode,
        "memory_limit": nanny.memory_manager.memory_limit,
    }
    return event | worker.monitor.report()


class NoRetryPlugin(SchedulerPlugin):
    """Makes a scheduler give up a task of ours when its worker is lost: we decide what runs again.

    dask counts for each task how many workers were lost with it, and gives the task up after
    ``allowed-failures`` of them. The plugin sets that count so high that one loss is enough.
    """

    name = "psweep_dask-no-retry"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Remember the scheduler."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Set the count when a task of ours goes to a worker."""
        if finish == "processing" and isinstance(key, tuple) and key[-1] == KEY_MARK:
            task = self._scheduler.tasks[key]
            task.suspicious = self._scheduler.allowed_failures


async def leave_without_scheduler(nanny: Nanny, end_worker: Callable[[], object]) -> None:
    """Close a nanny and its worker as soon as their scheduler is gone.

    Parameters
    ----------
    nanny : Nanny
    end_worker : callable
        Ends the worker process with all that it has started.
    """
    answered_at = time.monotonic()
    patience = UNREACHABLE_SECONDS
    while time.monotonic() - answered_at < patience:
        await asyncio.sleep(SCHEDULER_POLL_SECONDS)
        try:
            await asyncio.wait_for(nanny.scheduler.echo(data=None), SCHEDULER_POLL_SECONDS)
        except (TimeoutError, OSError):  # dask's errors of connections are of this kind
            reachable = await _takes_connections(nanny.scheduler.address)
            patience = SILENT_SECONDS if reachable else UNREACHABLE_SECONDS
        else:
            answered_at = time.monotonic()
    log.warning("the driver is gone, so this worker leaves")
    end_worker()
    await nanny.close(timeout=5, reason="psweep_dask-driver-gone")


async def _takes_connections(address: str) -> bool:
    """Return whether a scheduler that does not answer still listens, as a suspended one does."""
    host, port = get_address_host_port(address)
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(host, port), SCHEDULER_POLL_SECONDS
        )
    except (TimeoutError, OSError):
        return False
    writer.close()
    return True
