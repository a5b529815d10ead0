"""Our plugins on a cluster of the user: they come with the first run there, and go with the last.

A worker that cannot import psweep_dask could not join the cluster while they are there. So the
scheduler counts the runs, of all drivers, and removes the plugins from all processes after the last
one. A driver that has died counts no longer.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from distributed import Client, Scheduler
from distributed.core import clean_exception
from distributed.protocol.pickle import dumps

from psweep_dask.clusters.plugins import (
    ActivityPlugin,
    MonitorPlugin,
    NoRetryPlugin,
    plugins_for_users,
)

GONE_SECONDS = 60.0
"""A driver that was disconnected for so long is dead; dask's client tries to connect for 30 s."""

NANNY_SECONDS = 5.0
"""A nanny has so long to answer."""

_locks: weakref.WeakKeyDictionary[Scheduler, asyncio.Lock] = weakref.WeakKeyDictionary()


@contextmanager
def installed_plugins(client: Client, run_id: str) -> Iterator[Callable[[], None]]:
    """Have our plugins on a cluster of the user while the context lasts.

    Yields
    ------
    callable
        Installs them again where they are gone: to be called after a broken connection.

    Raises
    ------
    ImportError
        If the scheduler cannot import psweep_dask.
    """

    def install() -> None:
        client.run_on_scheduler(_add_run, run_id, client.id)

    install()
    try:
        yield install
    finally:
        if client.status == "running":
            with suppress(OSError):  # the connection breaks just now: the scheduler notices
                client.run_on_scheduler(_remove_run, run_id)


class RunsPlugin(NoRetryPlugin):
    """Knows the runs on a scheduler that is not ours, and the nannies that have our plugin."""

    name = "psweep_dask-runs"

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._removals: set[asyncio.Task[None]] = set()
        self.clients: dict[str, str] = {}  # by the id of a run, the id of its driver's client
        self.nannies = _nannies(scheduler)

    async def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Send our plugin to a nanny that dask has left out, since its worker was starting."""
        nanny = scheduler.workers[worker].nanny
        if nanny is not None and nanny not in self.nannies:
            self.nannies.add(nanny)
            plugin = scheduler.nanny_plugins.get(MonitorPlugin.name)
            await _ask(scheduler, nanny, "plugin_add", plugin=plugin, name=MonitorPlugin.name)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Wait whether the client connects again, and forget its runs if it does not."""
        if client in self.clients.values():
            removal = asyncio.get_running_loop().create_task(self._remove_runs_of(client))
            self._removals.add(removal)
            removal.add_done_callback(self._removals.discard)

    async def close(self) -> None:
        """Wait for no client any more, since the scheduler closes."""
        for removal in self._removals:
            removal.cancel()

    async def _remove_runs_of(self, client: str) -> None:
        await asyncio.sleep(GONE_SECONDS)
        if client not in self._scheduler.clients:
            for run_id in [run for run, owner in self.clients.items() if owner == client]:
                await _remove_run(run_id, self._scheduler)


async def _add_run(run_id: str, client_id: str, dask_scheduler: Scheduler) -> None:
    async with _lock(dask_scheduler):
        runs: Any = dask_scheduler.plugins.get(RunsPlugin.name)
        if runs is None:
            runs = RunsPlugin(dask_scheduler)
            try:
                await _register(dask_scheduler)
                dask_scheduler.add_plugin(runs)
            except BaseException:
                await _unregister(dask_scheduler, runs)
                raise
        runs.clients[run_id] = client_id


async def _remove_run(run_id: str, dask_scheduler: Scheduler) -> None:
    async with _lock(dask_scheduler):
        runs: Any = dask_scheduler.plugins.get(RunsPlugin.name)
        if runs is not None:
            runs.clients.pop(run_id, None)
            if not runs.clients:
                dask_scheduler.remove_plugin(RunsPlugin.name)
                await _unregister(dask_scheduler, runs)


async def _register(scheduler: Scheduler) -> None:
    worker_plugin, nanny_plugin = plugins_for_users()
    in_workers = await scheduler.register_worker_plugin(
        None, dumps(worker_plugin), worker_plugin.name, idempotent=True
    )
    in_nannies = await scheduler.register_nanny_plugin(
        None, dumps(nanny_plugin), nanny_plugin.name, idempotent=True
    )
    answers: list[Any] = [*in_workers.values(), *in_nannies.values()]
    for answer in answers:
        if answer["status"] == "error":
            error: Any = clean_exception(**answer)[1]
            raise error


async def _unregister(scheduler: Scheduler, runs: RunsPlugin) -> None:
    with suppress(OSError):  # of a worker that is lost just now
        if MonitorPlugin.name in scheduler.nanny_plugins:
            await scheduler.unregister_nanny_plugin(None, MonitorPlugin.name)
    # dask asks only the nannies whose worker is there.
    restarting = runs.nannies - _nannies(scheduler)
    ask = partial(_ask, scheduler, operation="plugin_remove", name=MonitorPlugin.name)
    await asyncio.gather(*map(ask, restarting))
    with suppress(OSError):
        if ActivityPlugin.name in scheduler.worker_plugins:
            await scheduler.unregister_worker_plugin(None, ActivityPlugin.name)


async def _ask(scheduler: Scheduler, nanny: str, operation: str, **message: Any) -> None:
    """Send a message to a nanny, which may be gone."""
    with suppress(OSError, TimeoutError):
        request = getattr(scheduler.rpc(nanny), operation)(**message)
        await asyncio.wait_for(request, NANNY_SECONDS)


def _nannies(scheduler: Scheduler) -> set[str]:
    """Return the addresses of the nannies whose workers are there."""
    return {worker.nanny for worker in scheduler.workers.values() if worker.nanny is not None}


def _lock(scheduler: Scheduler) -> asyncio.Lock:
    return _locks.setdefault(scheduler, asyncio.Lock())
