"""Where a run goes: this process, a LocalCluster, an allocation, batch jobs, the user's cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import dask.config
from distributed import Client, default_client
from distributed.deploy import Cluster

from psweep_dask.clusters import config, jobqueue_options
from psweep_dask.clusters.dask_executor import DaskExecutor
from psweep_dask.clusters.executor import Executor, ExecutorRequest, InlineExecutor
from psweep_dask.clusters.local import LocalPool, open_local_cluster
from psweep_dask.clusters.remote import open_allocation_cluster, open_job_cluster
from psweep_dask.clusters.users_plugins import installed_plugins
from psweep_dask.clusters.workers import ExternalPool, WorkerPool
from psweep_dask.errors import PsweepError
from psweep_dask.hpc.allocation import Allocation, current_allocation
from psweep_dask.hpc.machine import MACHINES_DIR, Machine, machine_names, read_machine
from psweep_dask.monitoring.dashboard import dashboard_link
from psweep_dask.worker import own_modules
from psweep_dask.worker.own_modules import values_in_force
from psweep_dask.worker.runner import Runner

log = logging.getLogger("psweep_dask")

NAMES = ("local", "allocation", "sync")
"""What `cluster` may be when it is a str, besides the name of a machine."""

Where = Client | Cluster | Allocation | Machine | str


class ClusterError(PsweepError):
    """A cluster that is unknown, does not fit, or cannot be started."""


def resolve(cluster: object) -> Where:
    """Decide where a run goes, without starting anything.

    Parameters
    ----------
    cluster : None, str, Client or Cluster
        None means the default dask Client of the script if it has made one; else what dask's
        configuration has as ``psweep.cluster``; else the SLURM allocation in which this process
        runs; else "local".

    Raises
    ------
    ClusterError
        If the name is unknown, or the object is neither a dask Client nor a Cluster, or closed.
    psweep_dask.clusters.config.ConfigError
        If the psweep section of dask's configuration has an unknown key.
    psweep_dask.hpc.machine_schema.MachineError
        If the machine of that name is not described well enough.

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
        _check_open(cluster)
        return cluster
    if cluster == "allocation":
        allocation = current_allocation()
        if allocation is None:
            raise ClusterError(
                "cluster='allocation', but this process is not in a SLURM allocation; start it "
                "inside salloc or by sbatch"
            )
        return allocation
    if isinstance(cluster, str) and cluster not in NAMES:
        return _machine(cluster)
    if cluster not in NAMES:
        raise ClusterError(
            f"cluster={cluster!r}; allowed are None, a str, a dask Client and a dask Cluster"
        )
    return str(cluster)


def _check_open(cluster: Client | Cluster) -> None:
    status = getattr(cluster.status, "name", cluster.status)  # of a Client it is a str
    if status in ("closing", "closed", "closing-report", "failed"):
        kind = type(cluster).__name__
        raise ClusterError(
            f"the {kind} that cluster= has is {status}; make a new one, and call ps.run before it "
            f"closes: inside its `with {kind}(...)` block, if it has one"
        )


def _default_client() -> Client | None:
    try:
        client: Client = default_client()
    except ValueError:  # dask raises this if there is none
        return None
    return client


def _machine(name: str) -> Machine:
    """Read a machine, and make sure that its job script can be written."""
    machines = machine_names()
    if name not in machines:
        allowed = ", ".join(map(repr, dict.fromkeys((*NAMES, *machines))))
        raise ClusterError(
            f"unknown cluster {name!r}; there are {allowed}, a dask Client and a dask Cluster; "
            f"a machine is a folder {MACHINES_DIR}/<name> with a file info.yaml"
        )
    machine = read_machine(name)
    jobqueue_options.job_script(machine)
    return machine


def shares_files(where: Where) -> bool:
    """Return whether the workers see the files of this process, and start in the same folder.

    Those of a Client or Cluster of the user need not.
    """
    return isinstance(where, str | Allocation | Machine)


def describe(where: Where) -> dict[str, str]:
    """Return what ``run.json`` says of the cluster."""
    if isinstance(where, Machine):
        return {"kind": where.batch_system, "machine": where.name}
    if isinstance(where, Allocation):
        return {"kind": "allocation", "job": where.job_id}
    return {"kind": where if isinstance(where, str) else type(where).__name__}


@contextmanager
def open_executor(where: Where, request: ExecutorRequest) -> Iterator[Executor]:
    """Start an executor on the cluster that `resolve` has chosen, and that cluster, if need be.

    Clusters and Clients of the user are left open; a LocalCluster of ours stays for the next run.

    Raises
    ------
    ClusterError
        If the workers of the user's cluster do not fit.
    psweep_dask.clusters.local.LocalClusterError
        If the LocalCluster cannot be started.
    psweep_dask.hpc.machine_schema.MachineError
        If the scheduler cannot be started as the machine describes it.
    """
    if where == "sync":
        if request.timeout is not None:
            log.warning("timeout= is not enforced in this process, since that would end it")
        with values_in_force({} if request.func else request.work.module_values):
            func = request.func or request.work.load_func()
            yield InlineExecutor(Runner(request.work, func), request.stopper)
    elif where == "local":
        with open_local_cluster(request.poolsize) as local:
            work = replace(request.work, environment=local.changed_environment())
            request = replace(request, work=work)
            link = dashboard_link(local.client, with_page=True)
            pool = LocalPool(local, request.resources)
            executor = DaskExecutor(local.client, request, pool, link)
            try:
                yield executor
            finally:  # a func that runs on after the run was stopped would block its worker
                local.renew_workers(executor.left_running)
    elif isinstance(where, Machine):
        with open_job_cluster(where, request) as (client, jobs):
            yield _remote_executor(client, request, jobs)
    elif isinstance(where, Allocation):
        with open_allocation_cluster(where, request) as (client, workers):
            yield _remote_executor(client, request, workers)
    elif isinstance(where, Client):
        with _users_executor(where, request) as executor:
            yield executor
    else:
        with (
            Client(where, set_as_default=False) as client,
            _users_executor(client, request) as executor,
        ):
            yield executor


def _remote_executor(client: Client, request: ExecutorRequest, pool: WorkerPool) -> DaskExecutor:
    link = dashboard_link(client, on_loopback=True, with_page=True)
    return DaskExecutor(client, request, pool, link)


@contextmanager
def _users_executor(client: Client, request: ExecutorRequest) -> Iterator[DaskExecutor]:
    _check_workers(client, request)
    with ExitStack() as stack:
        try:
            install = stack.enter_context(installed_plugins(client, request.run_id))
        except ImportError as err:
            raise ClusterError(
                f"the scheduler cannot import psweep_dask ({err}); install it in its environment"
            ) from err
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if request.timeout is not None and not all(worker["nanny"] for worker in workers):
            raise ClusterError(
                "timeout= needs workers with a nanny, which ends them: start this cluster with "
                "processes=True, or its workers without --no-nanny"
            )
        pool = ExternalPool(client, request.resources)
        yield DaskExecutor(client, request, pool, dashboard_link(client), install)


def _check_workers(client: Client, request: ExecutorRequest) -> None:
    threads: dict[str, int] = client.nthreads()
    most = max(threads.values(), default=1)
    if request.single_threaded and most > 1:
        raise ClusterError(
            "capture_logs redirects the output of a whole process, so it needs workers with one "
            f"thread; these have {most}: start them with threads_per_worker=1, or use "
            "cluster='local'"
        )
    # One call for all questions: a worker that was just lost answers after 30 s. It raises OSError.
    answers = client.run(_examine_worker, own_modules.PROCESS_ID, on_error="return")
    errors = {worker: text for worker, text in answers.items() if isinstance(text, str)}
    if errors:
        worker, text = next(iter(errors.items()))
        raise ClusterError(
            f"{len(errors)} of {len(threads)} workers cannot import psweep_dask "
            f"({worker}: {text}); install it in their environment"
        )
    outdated = {name for names in answers.values() if isinstance(names, list) for name in names}
    if outdated:
        raise ClusterError(
            f"workers of this cluster have imported {', '.join(sorted(outdated))} before it was "
            "edited; start them again: client.restart()"
        )


def _examine_worker(driver: str) -> str | list[str]:
    """Return why this worker cannot import us; else which modules it has as they were before."""
    try:
        import psweep_dask.worker.task  # noqa: F401  (to see whether the worker can)
        from psweep_dask.worker.own_modules import outdated_modules
    except ImportError as err:
        return str(err)
    return outdated_modules(driver, {})


_examine_worker.__module__ = "__main__"  # so that it is pickled by value: the worker may lack us
