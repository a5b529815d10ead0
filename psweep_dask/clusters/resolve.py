"""Where a run goes: this process, a LocalCluster, an allocation, batch jobs, the user's cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dask.config
from distributed import Client, default_client
from distributed.deploy import Cluster

from psweep_dask.clusters import config, jobqueue_options, plugins
from psweep_dask.clusters.dask_executor import INLINE_WORK, DaskExecutor
from psweep_dask.clusters.executor import Executor, ExecutorError, InlineExecutor
from psweep_dask.clusters.local import Local, local_cluster
from psweep_dask.clusters.remote import RunContext, allocation_workers, machine_workers
from psweep_dask.clusters.workers import ExternalPool, Resources, WorkerPool
from psweep_dask.errors import PsweepError
from psweep_dask.hpc.allocation import Allocation, current_allocation
from psweep_dask.hpc.machine import MACHINES_DIR, Machine, machine_names, read_machine
from psweep_dask.monitoring.dashboard import dashboard_link

log = logging.getLogger("psweep_dask")

NAMES = ("local", "allocation", "sync")
"""What `cluster` may be when it is a str, besides the name of a machine."""

Where = Client | Cluster | Allocation | Machine | str


class ClusterError(PsweepError):
    """A cluster that is unknown, does not fit, or cannot be started."""


def resolve(cluster: object, poolsize: int | None = None) -> Where:
    """Decide where a run goes, without starting anything.

    Parameters
    ----------
    cluster : None, str, Client or Cluster
        None means the default dask Client of the script if it made one, else what dask's
        configuration has as ``psweep.cluster``, else the SLURM allocation that this process is
        in, else "local".
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
    psweep_dask.clusters.resolve.ClusterError: unknown cluster 'moon'; there are 'local', ...
    """
    if cluster is None:
        config.check()
        cluster = _default_client() or dask.config.get("psweep.cluster", None)
    if cluster is None:
        return current_allocation() or "local"
    if isinstance(cluster, Client | Cluster):
        if cluster.asynchronous:
            raise ClusterError(
                f"{cluster!r} is asynchronous; make it with asynchronous=False, its default"
            )
        return cluster
    if cluster == "allocation":
        found = current_allocation()
        if found is None:
            raise ClusterError(
                "cluster='allocation', but this process is not in a SLURM allocation; start it "
                "inside salloc or by sbatch"
            )
        return found
    if isinstance(cluster, str) and cluster not in NAMES:
        return _machine(cluster)
    if cluster not in NAMES:
        raise ClusterError(
            f"cluster={cluster!r}; allowed are None, a str, a dask Client and a dask Cluster"
        )
    return str(cluster)


def _machine(name: str) -> Machine:
    """Read a machine, and make sure that a live run could start on it."""
    known = machine_names()
    if name not in known:
        there = ", ".join(map(repr, dict.fromkeys((*NAMES, *known))))
        raise ClusterError(
            f"unknown cluster {name!r}; there are {there}, a dask Client and a dask Cluster; "
            f"a machine is a folder {MACHINES_DIR}/<name> with a file info.yaml"
        )
    machine = read_machine(name)
    jobqueue_options.job_script(machine)
    return machine


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
    resources : Mapping
        What a pset asks of a worker, in dask's words.
    """

    name: str
    poolsize: int | None = None
    single_threaded: bool = False
    timeout: float | None = None
    resources: Resources = field(default_factory=dict)


@contextmanager
def executor(where: Where, work: bytes, needs: Needs, context: RunContext) -> Iterator[Executor]:
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
        yield InlineExecutor(work, context.stopper)
    elif where == "local":
        with local_cluster(needs.poolsize) as local:
            nearby = LocalPool(local, len(work) <= INLINE_WORK, needs.resources)
            on_local = DaskExecutor(local.client, work, needs.name, nearby, needs.resources)
            on_local.dashboard_link = dashboard_link(local.client, with_page=True)
            try:
                yield on_local
            finally:  # a func that runs on after the run was given up blocks a worker
                local.renew_workers(on_local.left_running)
    elif isinstance(where, Machine):
        _check_threads(
            needs,
            jobqueue_options.threads(where),
            f"as many processes: as cores: in {where.info_path}",
        )
        with machine_workers(where, context, needs.resources, needs.timeout) as (client, supply):
            yield _on_ours(client, work, needs, supply)
    elif isinstance(where, Allocation):
        with allocation_workers(where, context, needs.resources, needs.timeout) as (client, supply):
            yield _on_ours(client, work, needs, supply)
    elif isinstance(where, Client):
        _prepare_workers(where, needs)
        yield _on_any(where, work, needs)
    else:
        with Client(where, set_as_default=False) as client:
            _prepare_workers(client, needs)
            yield _on_any(client, work, needs)


class LocalPool(ExternalPool):
    """The workers of a LocalCluster of ours: nobody else brings others when all are gone."""

    def __init__(self, local: Local, waits_for_none: bool, resources: Resources) -> None:
        super().__init__(local.client, waits_for_none, resources)
        self._local = local

    def slots(self, left: int) -> int:
        """Count the threads of the workers, as long as there are nannies to bring them back."""
        if not self._local.nannies:
            raise ExecutorError(
                "all workers of this machine have died while they started again; what had "
                "finished is saved"
            )
        return super().slots(left)


def _on_any(client: Client, work: bytes, needs: Needs) -> DaskExecutor:
    supply = ExternalPool(client, len(work) <= INLINE_WORK, needs.resources)
    return DaskExecutor(client, work, needs.name, supply, needs.resources)


def _on_ours(client: Client, work: bytes, needs: Needs, supply: WorkerPool) -> DaskExecutor:
    made = DaskExecutor(client, work, needs.name, supply, needs.resources)
    made.dashboard_link = dashboard_link(client, on_loopback=True, with_page=True)
    return made


def shares_files(where: Where) -> bool:
    """Tell whether the workers are ours: they see the same files, and start in the same folder."""
    return isinstance(where, str | Allocation | Machine)


def describe(where: Where) -> dict[str, str]:
    """Tell what cluster it is, for ``run.json``."""
    if isinstance(where, Machine):
        return {"kind": where.batch_system, "machine": where.name}
    if isinstance(where, Allocation):
        return {"kind": "allocation", "job": where.job_id}
    return {"kind": where if isinstance(where, str) else type(where).__name__}


def _default_client() -> Client | None:
    try:
        client: Client = default_client()
    except ValueError:  # that is how dask says that there is none
        return None
    return client


def _prepare_workers(client: Client, needs: Needs) -> None:
    _check_workers(client, needs)
    try:
        plugins.install(client, ours=False)
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


def _check_threads(needs: Needs, threads: int, remedy: str) -> None:
    if needs.single_threaded and threads > 1:
        raise ClusterError(
            "capture_logs redirects the output of a whole process, so it needs workers with one "
            f"thread; these have {threads}: start them with {remedy}, or use cluster='local'"
        )


def _check_workers(client: Client, needs: Needs) -> None:
    threads: dict[str, int] = client.nthreads()
    _check_threads(needs, max(threads.values(), default=1), "threads_per_worker=1")
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
        import psweep_dask.worker.task  # noqa: F401  (to see whether that works over there)
    except ImportError as err:
        return str(err)
    return None


_import_task.__module__ = "__main__"  # so that it travels by value: the worker may lack us
