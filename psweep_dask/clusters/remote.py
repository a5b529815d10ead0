"""Our clusters that reach over several machines: their scheduler runs in this process."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dask.config
from distributed import Client
from distributed.deploy import SpecCluster
from distributed.utils import get_ip

from psweep_dask._format import format_count
from psweep_dask._logging import hide_worker_exit_lines, quiet_dask, silenced
from psweep_dask.clusters import jobqueue_options, plugins
from psweep_dask.clusters.config import as_environment, cluster_settings
from psweep_dask.clusters.executor import ExecutorError, ExecutorRequest
from psweep_dask.clusters.jobqueue import JobQueue
from psweep_dask.clusters.nannies import LastingLocalCluster
from psweep_dask.clusters.scaling import JobPool
from psweep_dask.clusters.scaling_policy import ScalingPolicy
from psweep_dask.clusters.tls import temporary_credentials
from psweep_dask.clusters.walltime import WalltimePool
from psweep_dask.clusters.walltime_policy import JobLifetime
from psweep_dask.hpc.allocation import Allocation, WorkerStep
from psweep_dask.hpc.machine import Machine
from psweep_dask.monitoring.dashboard import dashboard_link, scheduler_settings
from psweep_dask.study.stop import Stop

log = logging.getLogger("psweep_dask")

LEAVE_PATIENCE_SECONDS = 20.0
"""Workers in an allocation have so long to leave by themselves: it takes them 6."""

BUSY_LEAVE_PATIENCE_SECONDS = 1.0
"""The same if they still run psets that were dropped: these would not leave."""

CONNECT_SECONDS = 120.0
"""The first worker in an allocation has so long to connect."""


@contextmanager
def open_job_cluster(
    machine: Machine, request: ExecutorRequest
) -> Iterator[tuple[Client, JobPool]]:
    """Start a cluster whose workers come in batch jobs. At the end, no job is left in the queue.

    Raises
    ------
    psweep_dask.hpc.machine_schema.MachineError
        If the scheduler cannot be started as the machine describes it.
    """
    quiet_dask()
    with temporary_credentials(request.shared_dir) as credentials:
        log_dir = request.log_dir or credentials.folder
        log_dir.mkdir(exist_ok=True)
        slots = jobqueue_options.slots_per_job(machine, request.resources)
        cpus = jobqueue_options.cpus_per_worker(machine)
        with dask.config.set({**cluster_settings(), **scheduler_settings()}):
            queue = JobQueue(machine, credentials, request.run_id, log_dir)
        with _closing(queue.cluster), _connected(queue.cluster) as client:
            log.info(
                "at most %s of %s on %s%s, scheduler: %s, dashboard: %s",
                format_count(machine.jobs, "job"),
                format_count(jobqueue_options.workers_per_job(machine), "worker"),
                machine.name,
                f", {cpus} CPUs for each pset" if cpus > 1 else "",
                queue.address,
                dashboard_link(client, on_loopback=True, with_page=True),
            )
            policy = ScalingPolicy(machine.jobs, slots)
            jobs_path = request.jobs_path or credentials.folder / "jobs"
            pool = JobPool(queue, policy, request, jobs_path)
            try:
                yield client, pool
            finally:
                pool.close()


@contextmanager
def open_allocation_cluster(
    allocation: Allocation, request: ExecutorRequest
) -> Iterator[tuple[Client, AllocationPool]]:
    """Start a cluster whose workers srun starts in the allocation of this process.

    At the end the allocation is as it was: the workers have left.

    Raises
    ------
    psweep_dask.hpc.allocation.AllocationError
        If srun cannot be started.
    """
    quiet_dask()
    with temporary_credentials(request.shared_dir) as credentials:
        settings = cluster_settings()
        with dask.config.set({**settings, **scheduler_settings()}):
            cluster = LastingLocalCluster(
                n_workers=0,
                host=allocation.scheduler_host() or get_ip(),
                dashboard_address="127.0.0.1:0",
                security=credentials.security,
            )
        log_dir = request.log_dir or credentials.folder
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
            environment = as_environment({**settings, **credentials.worker_settings()})
            log_path = log_dir / f"{allocation.job_id}.log"
            step = allocation.start_workers(cluster.scheduler_address, log_path, environment)
            pool = AllocationPool(allocation, step, cluster, request)
            try:
                yield client, pool
            finally:
                request.show_wait("")
                patience = BUSY_LEAVE_PATIENCE_SECONDS if pool.busy() else LEAVE_PATIENCE_SECONDS
                client.shutdown()
                step.close(patience)


class AllocationPool(WalltimePool):
    """The workers in an allocation, all of which end with it; a `WorkerPool`.

    Parameters
    ----------
    allocation : Allocation
    step : WorkerStep
        The step of srun in which the workers run.
    cluster : SpecCluster
        Has the scheduler of the workers, in this process.
    request : ExecutorRequest
    """

    def __init__(
        self,
        allocation: Allocation,
        step: WorkerStep,
        cluster: SpecCluster,
        request: ExecutorRequest,
    ) -> None:
        super().__init__(request.resources, request.timeout)
        self.expected_slots = allocation.workers
        self._step = step
        self._request = request
        self._address = cluster.scheduler_address
        self._began = time.monotonic()
        self._had_worker = False
        self.plugin.attach(cluster, request.stopper.wake)
        if (time_left := allocation.time_left()) is not None:
            left, walltime = time_left
            self.walltimes.jobs[""] = JobLifetime(self._began + left, walltime)

    def slots(self, left: int) -> int:
        """Return how many psets can run at the same time now.

        If there is no worker since the allocation is nearly over, the run is stopped.

        Raises
        ------
        psweep_dask.clusters.executor.ExecutorError
            If srun has ended, or no worker has connected in time.
        """
        slots = self.usable_slots()
        if slots and not self._had_worker:
            self._request.show_wait("")
            self._had_worker = True
        if not slots and left:
            self._explain_absence()
        return slots

    def _explain_absence(self) -> None:
        stopper = self._request.stopper
        if self._had_worker and self.walltimes.nearly_over(time.monotonic()):
            if stopper.level == Stop.NO:
                log.warning("the allocation is nearly over: no pset that is left would fit in")
                stopper.request(Stop.SOON)
            return
        ended = self._step.end_message()
        if ended is not None:
            raise ExecutorError(f"the workers in the allocation are gone: {ended}")
        if self._had_worker:
            return
        self._request.show_wait("waiting for workers: srun starts them")
        if time.monotonic() - self._began > CONNECT_SECONDS:
            raise ExecutorError(
                f"no worker has connected to {self._address} after {CONNECT_SECONDS:.0f} s; what "
                f"srun and the workers have said is in {self._step.log_path}"
            )


@contextmanager
def _closing(cluster: SpecCluster) -> Iterator[None]:
    try:
        yield
    finally:
        # They would log each worker that is gone already, and each page that is open in a browser.
        with silenced("distributed.batched"), silenced("tornado.application"):
            cluster.close()


@contextmanager
def _connected(cluster: SpecCluster) -> Iterator[Client]:
    with dask.config.set(cluster_settings()):
        client = Client(cluster, set_as_default=False, direct_to_workers=True)
    with client:
        plugins.install(client, ours=False, ends_with_driver=True)
        hide_worker_exit_lines()
        yield client
