"""Where a run goes: this process, a LocalCluster of ours, or a cluster of the user."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from distributed import Client, default_client
from distributed.deploy import Cluster

from psweep_dask import warden
from psweep_dask.dask_executor import DaskExecutor
from psweep_dask.errors import PsweepError
from psweep_dask.executors import Executor, InlineExecutor
from psweep_dask.local_cluster import kept_dashboard_link, local_cluster
from psweep_dask.stopping import Stopper

log = logging.getLogger("psweep_dask")

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
    timeout : float or None
        Seconds that a pset may take.
    """

    name: str
    poolsize: int | None = None
    single_threaded: bool = False
    timeout: float | None = None


@contextmanager
def executor(where: Where, work: bytes, needs: Needs, stopper: Stopper) -> Iterator[Executor]:
    """Give an executor on the cluster that `resolve` has chosen.

    Clusters and Clients of the user are left open; a LocalCluster of ours stays for the next run.

    Raises
    ------
    ClusterError
        If the cluster cannot be started or does not fit.
    """
    if where == "sync":
        if needs.timeout is not None:
            log.warning("timeout= is not enforced in this process, since that would end it")
        yield InlineExecutor(work, stopper)
    elif where == "local":
        with local_cluster(needs.poolsize) as local:
            on_local = DaskExecutor(local.client, work, needs.name)
            try:
                yield on_local
            finally:  # a func that runs on after the run was given up blocks a worker
                local.renew_workers(on_local.left_running)
    elif isinstance(where, Client):
        _prepare_workers(where, needs)
        yield DaskExecutor(where, work, needs.name)
    else:
        with Client(where, set_as_default=False) as client:
            _prepare_workers(client, needs)
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


def dashboard_link(where: Where) -> str | None:
    """Give the address of the dashboard of a cluster that is running."""
    if where == "local":
        return kept_dashboard_link()
    return None if isinstance(where, str) else str(where.dashboard_link)


def _prepare_workers(client: Client, needs: Needs) -> None:
    _check_workers(client, needs)
    try:
        warden.install(client, ours=False)
    except ImportError as err:
        raise ClusterError(
            f"the scheduler cannot import psweep_dask ({err}); install it in its environment"
        ) from err
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if needs.timeout is not None and not all(worker["nanny"] for worker in workers):
        raise ClusterError(
            "timeout= needs workers with a nanny, which ends them: start this cluster with "
            "processes=True, or its workers without --no-nanny"
        )


def _check_workers(client: Client, needs: Needs) -> None:
    threads: dict[str, int] = client.nthreads()
    if needs.single_threaded and any(number > 1 for number in threads.values()):
        raise ClusterError(
            "capture_logs redirects the output of a whole process, so it needs workers with one "
            f"thread; this cluster has workers with {max(threads.values())}: start it with "
            "threads_per_worker=1, or use cluster='local'"
        )
    told = client.run(_import_task, on_error="return")  # one that dies meanwhile returns its error
    missing = {where: why for where, why in told.items() if isinstance(why, str)}
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
