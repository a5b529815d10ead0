"""The LocalCluster that we start, keep for the next run of this process, and close at its end."""

from __future__ import annotations

import atexit
import functools
import logging
import multiprocessing.process
import multiprocessing.spawn
import multiprocessing.util
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from typing import Any

import dask.config
from dask.system import CPU_COUNT
from distributed import Client, Security

from psweep_dask._format import format_count, format_duration
from psweep_dask._logging import hide_worker_exit_lines, quiet_dask, silenced
from psweep_dask.clusters import plugins
from psweep_dask.clusters.config import cluster_settings
from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.nannies import LastingLocalCluster
from psweep_dask.clusters.workers import ExternalPool, Resources
from psweep_dask.errors import PsweepError
from psweep_dask.monitoring.dashboard import dashboard_link, scheduler_settings
from psweep_dask.worker import own_modules
from psweep_dask.worker.monitor import kill_with_children

log = logging.getLogger("psweep_dask")

GIVE_UP_SECONDS = 300.0
"""A run ends when all starts of workers have failed for so long."""

LOST_SECONDS = 5.0
"""A process is ended so long after the scheduler has lost its worker: it may be about to end."""

NO_WORKER_WARNING_SECONDS = 30.0
"""After so long without any worker the user is warned: on a busy machine a restart may take 20."""


class LocalClusterError(PsweepError):
    """A LocalCluster that cannot be started."""


@dataclass
class KeptCluster:
    """A LocalCluster that we have started."""

    cluster: LastingLocalCluster
    client: Client
    size: int  # number of workers
    pid: int  # of the process that has started it
    users: int = 0  # number of runs that use it now
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def fits(self, size: int) -> bool:
        """Return whether a run that wants so many workers can use it."""
        running = self.cluster.status.name == "running" and self.client.status == "running"
        complete = self.cluster.nannies == self.size
        return running and complete and (self.size, self.pid) == (size, os.getpid())

    def changed_environment(self) -> dict[str, str | None]:
        """Return the variables that the script has set since the start, or deleted: None."""
        names = self.environment.keys() | os.environ.keys()
        now = {name: os.environ.get(name) for name in names}
        return {name: value for name, value in now.items() if value != self.environment.get(name)}

    def renew_outdated(self) -> bool:
        """Have workers start again if they have other code of the user's modules than this process.

        Return False if that is needed, and impossible since another run uses them.
        """
        ask = own_modules.outdated_modules, own_modules.PROCESS_ID, own_modules.own_files()
        outdated = sorted(set().union(*self.client.run(*ask, on_error="ignore").values()))
        if outdated and not self.users:
            names = ", ".join(outdated)
            log.info("the workers of this machine start again, since %s has changed", names)
            self.client.restart()
        return not (outdated and self.users)

    def close(self) -> None:
        """Close it, unless it belongs to the process from which this one was forked."""
        if self.pid != os.getpid():
            return
        with (  # in a worker whose func has made runs of its own, dask would log each step
            silenced("distributed.scheduler"),
            silenced("distributed.core"),
            silenced("tornado.application"),  # pages of the dashboard that are open in a browser
            _silenced_heartbeats(self.client),
        ):
            self.client.close(timeout=2)
            try:
                self.cluster.close(timeout=10)
            except TimeoutError as err:  # on a busy machine, where a worker is just starting
                log.warning(
                    "the workers of this machine are slow to leave (%s); they will by themselves",
                    err,
                )

    def renew_workers(self, addresses: Collection[str]) -> None:
        """Kill workers and all that their func has started; their nannies start new ones.

        At the end of Python these do not, since Python 3.12 could start no thread for that.
        """
        if _python_ends:
            for nanny in self.cluster.workers.values():
                nanny.close_gracefully()
        for nanny in self.cluster.workers.values():
            if nanny.worker_address in addresses and nanny.pid:
                kill_with_children(nanny.pid)


class LocalPool(ExternalPool):
    """The workers of our LocalCluster, in which new nannies take the place of those that are gone.

    A worker may end while it starts: killed, out of memory, without a process or a file that it
    needs. On a busy machine this is over in a while, so a run does not end at once.
    """

    report_patience = 20.0  # the nannies are in this process: they will report it
    _warn_after = NO_WORKER_WARNING_SECONDS

    def __init__(self, local: KeptCluster, resources: Resources) -> None:
        super().__init__(local.client, resources)
        self._local = local
        self._cluster = local.cluster
        self._unknown_since: dict[str, float] = {}

    def slots(self, left: int) -> int:
        """Return how many psets can run at the same time.

        Raises
        ------
        psweep_dask.clusters.executor.ExecutorError
            If no worker has come up for minutes, or Python ends.
        """
        slots = super().slots(left)
        if not _python_ends:
            self._cluster.replace_nannies()
        elif not self._cluster.nannies:
            raise ExecutorError("Python ends, and so do its workers; what had finished is saved")
        starts = self._cluster.starts
        waited = time.monotonic() - max(starts.succeeded_at, self._worker_seen_at)
        if starts.failed and not slots and waited > GIVE_UP_SECONDS:
            raise ExecutorError(
                f"no worker of this machine has come up for {format_duration(waited)}, in "
                f"{format_count(starts.failed, 'start')}; the latest failed by: {starts.error}; "
                "what had finished is saved"
            )
        return slots

    def _look_at(self, known: Mapping[str, Any]) -> None:
        """End processes that go on though the scheduler has lost their worker.

        func may have stopped its event loop, or closed its connections.
        """
        now = time.monotonic()
        unknown = self._cluster.worker_addresses() - known.keys()
        self._unknown_since = {
            address: self._unknown_since.get(address, now) for address in unknown
        }
        lost = [address for address in unknown if now - self._unknown_since[address] > LOST_SECONDS]
        if lost:
            self._local.renew_workers(lost)

    def _why_no_worker(self) -> str:
        error = self._cluster.starts.error
        return f"no worker of this machine starts ({error})" if error else super()._why_no_worker()


_lock = threading.RLock()
_kept: KeptCluster | None = None
_python_ends = False


@contextmanager
def open_local_cluster(poolsize: int | None) -> Iterator[KeptCluster]:
    """Use the LocalCluster of the run before if it fits, else start a new one.

    Parameters
    ----------
    poolsize : int or None
        Number of worker processes, each with one thread; None means one for each core that this
        process may use.

    Raises
    ------
    LocalClusterError
        If it cannot be started.
    """
    with _lock:
        local = _get_or_start(poolsize or CPU_COUNT)
        local.users += 1
    try:
        yield local
    finally:
        with _lock:
            local.users -= 1
            if not local.users and local is not _kept:
                local.close()


def close() -> None:
    """End the worker processes that are kept on this machine for the next run.

    They end by themselves when Python ends. A run that goes on in the background keeps its workers
    until it has ended. Where no workers are kept, nothing happens.

    See Also
    --------
    run : Starts workers on this machine by ``cluster="local"``, and keeps them.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run(lambda pset: {"b": 1}, ps.plist("a", [1, 2]), cluster="local")
    >>> ps.close()  # before a long time without runs, or to give memory back
    """
    global _kept
    with _lock:
        if _kept is not None and _kept.users:
            _kept = None  # the last run that uses it closes it
        else:
            close_local()


def close_local() -> None:
    """Close the LocalCluster that was kept for the next run, also if a run uses it."""
    global _kept
    with _lock:
        closing, _kept = _kept, None
        if closing is not None:
            closing.close()


def note_end_of_python() -> None:
    """Have no worker start any more."""
    global _python_ends
    _python_ends = True


def _close_at_exit(close_cluster: Callable[[], None] = close) -> None:
    note_end_of_python()
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C would only print tracebacks
    try:
        close_cluster()
    except RuntimeError as err:
        # Python 3.12 starts no thread at its end: asyncio waits for those of the dashboard by one.
        log.debug("the LocalCluster is closed, but its event loop is not: %r", err)


# `atexit` is too late: a page of the dashboard would find no thread pool then. A run in another
# thread goes on after this private hook, and closes the cluster when it has ended.
getattr(threading, "_register_atexit", atexit.register)(_close_at_exit)
atexit.register(_close_at_exit, close_local)
if multiprocessing.process.parent_process() is not None:  # such a process skips atexit
    multiprocessing.util.Finalize(None, close_local, exitpriority=10)


def _get_or_start(size: int) -> KeptCluster:
    global _kept
    if _kept is not None and _kept.pid != os.getpid():
        raise LocalClusterError(
            "this process was forked from one that has a LocalCluster, which cannot work here; "
            "start it with multiprocessing's 'spawn' method, or use cluster='sync'"
        )
    if _kept is None or not _kept.fits(size) or not _kept.renew_outdated():
        if _kept is not None and not _kept.users:
            close_local()
        _kept = _start(size)
    return _kept


def _start(size: int) -> KeptCluster:
    if multiprocessing.process.current_process().daemon:
        raise LocalClusterError(
            "this is a daemonic process, such as a worker of dask, which may start no workers. "
            "In func, pass cluster='sync' to ps.run; or have the cluster on which func runs "
            "started under dask.config.set({'distributed.worker.daemon': False})"
        )
    _keep_script_from_workers()
    quiet_dask()
    with _start_settings():
        try:
            cluster = _local_cluster(size)
        except Exception as err:  # dask raises the error of the worker
            if _python_ends:
                raise LocalClusterError("Python ends before its workers have started") from err
            log.warning("the LocalCluster did not start (%s), trying once more", err)
            try:
                cluster = _local_cluster(size)
            except Exception as again:  # as above
                message = f"the LocalCluster of {size} workers cannot start: {again}"
                raise LocalClusterError(message) from again
        client = Client(cluster, set_as_default=False, direct_to_workers=True)
    plugins.install(client, ours=True)
    hide_worker_exit_lines()
    link = dashboard_link(cluster, with_page=True)
    log.info("%s on this machine, dashboard: %s", format_count(size, "worker"), link)
    return KeptCluster(cluster, client, size, os.getpid())


def _local_cluster(size: int) -> LastingLocalCluster:
    return LastingLocalCluster(
        n_workers=size,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        security=Security.temporary(),
    )


_NANNY_CHILD = "Dask Worker process"
"""The names that nannies give to their worker processes begin so."""


@functools.cache  # once in this process
def _keep_script_from_workers() -> None:
    """Have nannies start workers that do not import the script again, now and after a death.

    func and what it uses travel by value, so that workers do not need the script. multiprocessing
    names it in the data by which a child prepares itself, and imports it there as a module, which
    runs again all that is not under ``if __name__ == "__main__":``.
    """
    prepare = multiprocessing.spawn.get_preparation_data

    def prepare_without_script(name: str) -> dict[str, Any]:
        data = prepare(name)
        if name.startswith(_NANNY_CHILD):
            data.pop("init_main_from_name", None)
            data.pop("init_main_from_path", None)
        return data

    multiprocessing.spawn.get_preparation_data = prepare_without_script


@contextmanager
def _start_settings() -> Iterator[None]:
    """Apply our settings; keep dask from logging at length what our error says in a line."""
    settings = {**cluster_settings(), **scheduler_settings()}
    with dask.config.set(settings), silenced("distributed.nanny"), _blocked_signals():
        yield


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Keep signals that go to all processes, such as Ctrl-C, from workers that are starting.

    A worker inherits the blocked signals of the thread that starts it, and that thread those of
    this one.
    """
    resource_tracker.ensure_running()  # it would unblock the signals when it is started later
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, plugins.SHIELDED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _silenced_heartbeats(client: Client) -> Iterator[None]:
    """Keep workers from logging the end of their scheduler if a heartbeat is on its way."""
    if client.status == "running":
        with silenced("distributed.scheduler"):  # it would log workers that are starting
            client.run(_silence_worker, on_error="ignore")
    with silenced("distributed.comm"):
        yield


def _silence_worker() -> None:
    for name in ("distributed.worker", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
