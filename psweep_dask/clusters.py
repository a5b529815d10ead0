"""Where a run goes: this process, a LocalCluster of ours, or a cluster of the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from distributed import Client, default_client
from distributed.deploy import Cluster

from psweep_dask.errors import PsweepError
from psweep_dask.executors import DaskExecutor, Executor, InlineExecutor
from psweep_dask.local_cluster import local_cluster

NAMES = ("local", "sync")
"""What `cluster` may be when it is a str."""

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
        with local_cluster(needs.poolsize) as local:
            on_local = DaskExecutor(local.client, work, needs.name)
            try:
                yield on_local
            finally:  # a func that runs on after the run was given up blocks a worker
                local.worn = on_local.in_flight > 0
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


def _default_client() -> Client | None:
    try:
        client: Client = default_client()
    except ValueError:  # that is how dask says that there is none
        return None
    return client


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
