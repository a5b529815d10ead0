"""Where a run goes: this process, a LocalCluster of ours, or a cluster of the user."""

from __future__ import annotations

import atexit
import logging
import multiprocessing.process
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import dask.config
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Security, default_client
from distributed.deploy import Cluster

from psweep_dask.config import cluster_settings
from psweep_dask.errors import PsweepError
from psweep_dask.executors import DaskExecutor, Executor, InlineExecutor

log = logging.getLogger("psweep_dask")

NAMES = ("local", "sync")
"""What `cluster` may be when it is a str."""

_MARKER = "PSWEEP_DASK_MAIN_WITHOUT_GUARD"

Where = Client | Cluster | str


class ClusterError(PsweepError):
    """A cluster that is unknown, does not fit, or cannot be started."""


def resolve(cluster: object, poolsize: int | None = None) -> Where:
    """Decide where a run goes, without starting anything.

    Parameters
    ----------
    cluster : None, str, Client or Cluster
        None means the default dask Client of the script if it made one, else "local".
    poolsize : int, optional
        Number of workers, for a LocalCluster.

    Raises
    ------
    ClusterError
        If the name is unknown, or the object is neither a dask Client nor a Cluster.

    Examples
    --------
    >>> resolve("sync")
    'sync'
    >>> resolve("moon")
    Traceback (most recent call last):
        ...
    psweep_dask.clusters.ClusterError: unknown cluster 'moon'; there are 'local', 'sync', ...
    """
    if cluster is None:
        return _default_client() or "local"
    if isinstance(cluster, Client | Cluster):
        if cluster.asynchronous:
            raise ClusterError(
                f"{cluster!r} is asynchronous; make it with asynchronous=False, its default"
            )
        return cluster
    if cluster not in NAMES:
        known = ", ".join(map(repr, NAMES))
        raise ClusterError(
            f"unknown cluster {cluster!r}; there are {known}, a dask Client and a dask Cluster"
        )
    return str(cluster)


@dataclass(frozen=True)
class Needs:
    """What a run asks of the workers.

    Parameters
    ----------
    name : str
        Name of func, for the dashboard.
    poolsize : int or None
        Number of workers of a LocalCluster; None means one for each core.
    single_threaded : bool
        Whether only one pset at a time may run in a process.
    """

    name: str
    poolsize: int | None = None
    single_threaded: bool = False


@contextmanager
def executor(where: Where, work: bytes, needs: Needs) -> Iterator[Executor]:
    """Give an executor on the cluster that `resolve` has chosen.

    Clusters and Clients of the user are left open; a LocalCluster of ours stays for the next run.

    Raises
    ------
    ClusterError
        If the cluster cannot be started or does not fit.
    """
    if where == "sync":
        yield InlineExecutor(work)
    elif where == "local":
        local = DaskExecutor(_local_client(needs.poolsize), work, needs.name)
        try:
            yield local
        finally:
            if local.in_flight:  # given up, but a func that runs cannot be stopped otherwise
                close_local()
    elif isinstance(where, Client):
        _check_workers(where, needs)
        yield DaskExecutor(where, work, needs.name)
    else:
        with Client(where, set_as_default=False) as client:
            _check_workers(client, needs)
            yield DaskExecutor(client, work, needs.name)


def shares_this_machine(where: Where) -> bool:
    """Tell whether the workers are ours, beside this process: same files, same folder."""
    return isinstance(where, str)


def describe(where: Where) -> str:
    """Name the kind of cluster, for ``run.json``."""
    return where if isinstance(where, str) else type(where).__name__


def stop_if_imported_by_worker() -> None:
    """End this process if it is a worker that imports the user's script on its start.

    A script that starts workers without ``if __name__ == "__main__":`` would start workers from
    them again. The process that the user started is told by a file, and says so.
    """
    if not getattr(multiprocessing.process.current_process(), "_inheriting", False):
        return
    marker = os.environ.get(_MARKER)
    if marker:
        Path(marker).touch()
        os._exit(1)
    raise ClusterError(_main_guard_message("the script"))


def close_local() -> None:
    """Close the LocalCluster that was kept for the next run, if there is one."""
    if _Local.current is not None:
        current, _Local.current = _Local.current, None
        if current.pid == os.getpid():  # a fork must not close its parent's
            _hush_heartbeats(current)
            current.client.close(timeout=2)
            current.cluster.close(timeout=10)


atexit.register(close_local)


@dataclass(frozen=True)
class _Local:
    cluster: LocalCluster
    client: Client
    size: int
    pid: int

    current: ClassVar[_Local | None] = None

    def usable(self, size: int) -> bool:
        running = self.cluster.status.name == "running" and self.client.status == "running"
        return running and self.size == size and self.pid == os.getpid()


def _hush_heartbeats(local: _Local) -> None:
    """Keep a heartbeat that is under way while we close from being reported as a lost scheduler."""
    logging.getLogger("distributed.comm").setLevel(logging.CRITICAL)
    if local.client.status == "running":
        local.client.run(_silence_worker, on_error="ignore")


def _silence_worker() -> None:
    for name in ("distributed.worker", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _default_client() -> Client | None:
    try:
        client: Client = default_client()
    except ValueError:  # that is how dask says that there is none
        return None
    return client


def _local_client(poolsize: int | None) -> Client:
    size = poolsize or CPU_COUNT
    if _Local.current is None or not _Local.current.usable(size):
        close_local()
        _Local.current = _start_local(size)
    return _Local.current.client


def _start_local(size: int) -> _Local:
    _forget_script_without_file()
    with tempfile.TemporaryDirectory() as folder, _quiet_start(Path(folder, "marker")) as marker:
        try:
            cluster = LocalCluster(
                n_workers=size,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                security=Security.temporary(),
            )
        except Exception as err:  # dask raises whatever the starting worker died of
            if marker.exists():
                raise ClusterError(_main_guard_message(sys.argv[0])) from None
            raise ClusterError(f"the LocalCluster of {size} workers cannot start: {err}") from err
    client = Client(cluster, set_as_default=False, direct_to_workers=True)
    workers = "1 worker" if size == 1 else f"{size} workers"
    log.info("%s on this machine, dashboard: %s", workers, cluster.dashboard_link)
    return _Local(cluster, client, size, os.getpid())


def _forget_script_without_file() -> None:
    """Keep workers from importing a script that came through a pipe: it has no file to read."""
    main = sys.modules["__main__"]
    if not Path(getattr(main, "__file__", None) or ".").exists():
        del main.__file__


@contextmanager
def _quiet_start(marker: Path) -> Iterator[Path]:
    """Apply our settings; keep dask from logging at length what we say in a line."""
    nanny = logging.getLogger("distributed.nanny")
    level = nanny.level
    os.environ[_MARKER] = str(marker)
    try:
        with dask.config.set(cluster_settings()):
            nanny.setLevel(logging.CRITICAL)
            yield marker
    finally:
        nanny.setLevel(level)
        del os.environ[_MARKER]


def _main_guard_message(script: str) -> str:
    return (
        f"{script} starts worker processes, and each of them imports it again; "
        "put what it does under a guard:\n\n"
        '    if __name__ == "__main__":\n'
        "        df = ps.run(func, params)\n"
    )


def _check_workers(client: Client, needs: Needs) -> None:
    threads: dict[str, int] = client.nthreads()
    if needs.single_threaded and any(number > 1 for number in threads.values()):
        raise ClusterError(
            "capture_logs redirects the output of a whole process, so it needs workers with one "
            f"thread; this cluster has workers with {max(threads.values())}: start it with "
            "threads_per_worker=1, or use cluster='local'"
        )
    missing = {where: why for where, why in client.run(_import_task).items() if why}
    if missing:
        where, why = next(iter(missing.items()))
        raise ClusterError(
            f"{len(missing)} of {len(threads)} workers cannot import psweep_dask "
            f"({where}: {why}); install it in their environment"
        )


def _import_task() -> str | None:
    try:
        import psweep_dask.task  # noqa: F401  (to see whether that works over there)
    except ImportError as err:
        return str(err)
    return None


_import_task.__module__ = "__main__"  # so that it travels by value: the worker may lack us
