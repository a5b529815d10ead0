"""Clusters of ours that reach over several machines: their scheduler is in this process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask.config
from distributed import Client, LocalCluster
from distributed.deploy import SpecCluster
from distributed.utils import get_ip

from psweep_dask._format import format_count
from psweep_dask._logging import silenced, hide_worker_exit_lines
from psweep_dask.clusters import jobqueue_options, plugins
from psweep_dask.clusters.config import as_environment, cluster_settings
from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.jobqueue import JobQueue
from psweep_dask.clusters.scaling import JobPool
from psweep_dask.clusters.scaling_policy import ScalingPolicy
from psweep_dask.clusters.tls import temporary_credentials
from psweep_dask.clusters.walltime import JobLifetime, WalltimePlugin, WalltimePool
from psweep_dask.clusters.workers import Resources, WorkerPool
from psweep_dask.hpc.allocation import Allocation, WorkerStep
from psweep_dask.hpc.machine import Machine
from psweep_dask.monitoring.dashboard import dashboard_link, scheduler_settings
from psweep_dask.study.stop import Stop, Stopper

log = logging.getLogger("psweep_dask")

PATIENCE = 20.0
"""Seconds that workers in an allocation get to leave by themselves: it takes them 6."""

IMPATIENCE = 1.0
"""The same if they still run psets that were given up: these would not leave."""

CONNECT = 120.0
"""Seconds in which the first worker of an allocation has to connect."""


@dataclass(frozen=True)
class RunContext:
    """What such a cluster needs of the run that it is for.

    Parameters
    ----------
    run_id : str
    folder : Path
        Seen by all machines.
    jobs_path, log_dir : Path or None
        Where job ids and the output of jobs are kept; None keeps them no longer than the cluster.
    stopper : Stopper
    tell : callable
        Is told what the run waits for, or an empty str.
    """

    run_id: str
    folder: Path
    jobs_path: Path | None
    log_dir: Path | None
    stopper: Stopper
    tell: Callable[[str], object]


@contextmanager
def machine_workers(
    machine: Machine, context: RunContext, resources: Resources, timeout: float | None
) -> Iterator[tuple[Client, WorkerPool]]:
    """Give a cluster whose workers come in batch jobs. None of them is left in the queue.

    Raises
    ------
    psweep_dask.hpc.machine.MachineError
        If the cluster cannot be started as the machine describes it.
    """
    with temporary_credentials(context.folder) as credentials:
        log_dir = context.log_dir or credentials.folder
        log_dir.mkdir(exist_ok=True)
        with dask.config.set({**cluster_settings(), **scheduler_settings()}):
            jobs = JobQueue(machine, credentials, context.run_id, log_dir)
        with _closing(jobs.cluster), _connected(jobs.cluster) as client:
            log.info(
                "at most %s of %s on %s, scheduler: %s, dashboard: %s",
                format_count(machine.jobs, "job"),
                format_count(jobqueue_options.processes(machine), "worker"),
                machine.name,
                jobs.address,
                dashboard_link(client, on_loopback=True, with_page=True),
            )
            lifetimes = WalltimePlugin(resources, timeout)
            slots = jobqueue_options.slots(machine, resources)
            fleet = JobPool(
                jobs,
                ScalingPolicy(machine.jobs, slots),
                lifetimes,
                machine.jobs * slots,
                context.jobs_path or credentials.folder / "jobs",
                context.tell,
            )
            try:
                lifetimes.watch(jobs.cluster, lambda: _wake(fleet, context.stopper))
                yield client, fleet
            finally:
                fleet.close()


@contextmanager
def allocation_workers(
    allocation: Allocation, context: RunContext, resources: Resources, timeout: float | None
) -> Iterator[tuple[Client, WorkerPool]]:
    """Give a cluster whose workers srun starts in the allocation that this process is in.

    In the end the allocation is as it was: the workers have left by themselves.
    """
    with temporary_credentials(context.folder) as credentials:
        settings = cluster_settings()
        with dask.config.set({**settings, **scheduler_settings()}):
            cluster = LocalCluster(
                n_workers=0,
                host=allocation.scheduler_host() or get_ip(),
                dashboard_address="127.0.0.1:0",
                security=credentials.security,
            )
        log_dir = context.log_dir or credentials.folder
        log_dir.mkdir(exist_ok=True)
        with _closing(cluster), _connected(cluster) as client:
            log.info(
                "%s allocation %s: %s on %s, %s for each pset "
                "(cluster='local' stays on this machine), dashboard: %s",
                allocation.batch_system,
                allocation.job_id,
                format_count(allocation.workers, "worker"),
                format_count(allocation.nodes, "node"),
                format_count(allocation.cpus_per_worker, "CPU"),
                dashboard_link(client, on_loopback=True, with_page=True),
            )
            lifetimes = WalltimePlugin(resources, timeout)
            lifetimes.watch(cluster, context.stopper.wake)
            environment = as_environment({**settings, **credentials.worker_settings()})
            log_path = log_dir / f"{allocation.job_id}.log"
            step = allocation.start_workers(cluster.scheduler_address, log_path, environment)
            try:
                yield (
                    client,
                    AllocationPool(allocation, step, lifetimes, context, cluster.scheduler_address),
                )
            finally:
                context.tell("")
                patience = IMPATIENCE if lifetimes.busy() else PATIENCE
                client.shutdown()
                step.close(patience)


class AllocationPool(WalltimePool):
    """The workers in an allocation; a `psweep_dask.clusters.workers.WorkerPool`.

    Parameters
    ----------
    allocation : Allocation
    step : Step
        Of srun, in which they are.
    lifetimes : Lifetimes
    context : RunContext
    address : str
        Of the scheduler.
    """

    def __init__(
        self,
        allocation: Allocation,
        step: WorkerStep,
        lifetimes: WalltimePlugin,
        context: RunContext,
        address: str,
    ) -> None:
        super().__init__(lifetimes)
        self.slots_hoped = allocation.workers
        self._step = step
        self._context = context
        self._address = address
        self._began = time.monotonic()
        self._came = False
        if (time_left := allocation.time_left()) is not None:
            left, walltime = time_left
            life = JobLifetime(self._began + left, walltime)
            lifetimes.jobs[""] = life

    def slots(self, left: int) -> int:
        """Count the workers, and look whether the allocation is still there."""
        slots = self._lifetimes.slots()
        if slots and not self._came:
            self._context.tell("")
        self._came = self._came or slots > 0
        if not slots and left:
            self._look()
        return slots

    def _look(self) -> None:
        """Find out why there is no worker."""
        if self._came and self._lifetimes.nearly_over():
            if self._context.stopper.level == Stop.NO:
                log.warning("the allocation is nearly over: no pset that is left would fit in")
                self._context.stopper.request(Stop.SOON)
            return
        ended = self._step.end_message()
        if ended is not None:
            raise ExecutorError(f"the workers in the allocation are gone: {ended}")
        if self._came:
            return
        self._context.tell("waiting for workers: srun starts them")
        if time.monotonic() - self._began > CONNECT:
            raise ExecutorError(
                f"no worker has connected to {self._address} after {CONNECT:.0f} s; what srun and "
                f"the workers have said is in {self._step.log_path}"
            )


def _wake(fleet: JobPool, stopper: Stopper) -> None:
    fleet.look_again()
    stopper.wake()


@contextmanager
def _closing(cluster: SpecCluster) -> Iterator[None]:
    try:
        yield
    finally:
        with silenced("distributed.batched"):  # it tells of each worker that is gone already
            cluster.close()


@contextmanager
def _connected(cluster: SpecCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False, direct_to_workers=True) as client:
        plugins.install(client, ours=False, ends_with_driver=True)
        hide_worker_exit_lines()
        yield client
