"""The jobs of one run in a batch system, through dask-jobqueue: submission, state, cancellation."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from psweep_dask.clusters.config import as_environment, cluster_settings
from psweep_dask.clusters.jobqueue_options import cluster_class, options_of_jobs
from psweep_dask.clusters.scaling_policy import WorkerJob
from psweep_dask.clusters.tls import Credentials
from psweep_dask.hpc import slurm
from psweep_dask.hpc.machine import Machine
from psweep_dask.hpc.machine_schema import MachineError
from psweep_dask.hpc.slurm import JobState

if TYPE_CHECKING:
    from dask_jobqueue.core import Job as QueueJob
    from dask_jobqueue.core import JobQueueCluster


TAIL = 15
"""Lines of a job's output that an error quotes."""


class JobQueue:
    """The jobs of one run in the batch system.

    Parameters
    ----------
    machine : Machine
    credentials : Credentials
    run_id : str
    log_dir : Path
        Where the output of jobs goes.

    Raises
    ------
    MachineError
        If its settings do not fit.
    """

    def __init__(
        self, machine: Machine, credentials: Credentials, run_id: str, log_dir: Path
    ) -> None:
        self._machine = machine
        self._log_dir = log_dir
        self.job_name = job_name(run_id)
        environment = {
            **as_environment({**cluster_settings(), **credentials.worker_settings()}),
            slurm.WORKER_VARIABLE: "1",
        }
        found = cluster_class(machine)
        self._options = options_of_jobs(machine, self.job_name, environment, log_dir)
        scheduler = {
            "dashboard_address": "127.0.0.1:0",
            **(machine.setting("scheduler_options") or {}),
        }
        self._options.pop("scheduler_options", None)
        try:
            self.cluster: JobQueueCluster = found(
                security=credentials.security, scheduler_options=scheduler, **self._options
            )
        except (ValueError, RuntimeError) as err:
            raise MachineError(f"{machine.info_path}: {err}") from err
        self._jobs: dict[str, QueueJob] = {}
        self._leaking = slurm.allocation_variables(os.environ)

    @property
    def walltime(self) -> float | None:
        """Walltime of a job in seconds."""
        text = str(self._machine.setting("walltime") or "")
        if self._machine.cluster == "lsf" and text.count(":") == 1:
            text += ":00"  # it has hours and minutes
        return slurm.walltime_seconds(text) or None

    @property
    def address(self) -> str:
        """Where workers reach the scheduler."""
        interface = self._machine.setting("interface")
        at = str(self.cluster.scheduler_address)
        return f"{at} (interface {interface})" if interface else at

    def submit(self, name: str) -> str:
        """Submit a job whose workers have this name, and give its id.

        Raises
        ------
        RuntimeError
            If the batch system refuses it.
        """
        options = {**self.cluster.new_spec["options"], "security": None}  # it is in the prologue
        job: QueueJob = self.cluster.job_cls(self.cluster.scheduler_address, name=name, **options)
        if self._leaking:
            without = " ".join(f"-u {shlex.quote(one)}" for one in self._leaking)
            job.submit_command = f"env {without} {job.submit_command}"
        self.cluster.sync(job.start)
        job_id = str(job.job_id)
        self._jobs[job_id] = job
        return job_id

    @property
    def state_at_first(self) -> JobState | None:
        """What to take for the state of a job until the queue is asked, if it can be."""
        return JobState("PENDING") if self._machine.cluster == "slurm" else None

    def states(self) -> dict[str, JobState] | None:
        """Ask the queue about our jobs; None if it cannot be asked."""
        return slurm.job_states(self.job_name) if self._machine.cluster == "slurm" else None

    def cancel(self, jobs: Iterable[WorkerJob]) -> str | None:
        """Cancel jobs; tell what went wrong."""
        ids = [job.job_id for job in jobs]
        if not ids:
            return None
        if self._machine.cluster == "slurm":
            return slurm.cancel(ids)
        self.cluster.sync(self._close, ids)
        return None

    def cancel_all(self) -> str | None:
        """Cancel all jobs of the run; tell what went wrong."""
        if not self._jobs:
            return None
        if self._machine.cluster == "slurm":
            return slurm.cancel_by_name(self.job_name)
        self.cluster.sync(self._close, list(self._jobs))
        return None

    async def _close(self, ids: list[str]) -> None:
        await asyncio.gather(*(self._jobs[job_id].close() for job_id in ids))

    def output(self, job_id: str) -> str:
        """Give the last lines that a job has printed."""
        elsewhere = self._machine.setting("log_directory")
        paths = [self._log_dir / f"{job_id}.log"]
        if elsewhere is not None:
            paths = [Path(elsewhere, f"{self.job_name}-{job_id}.{end}") for end in ("err", "out")]
        for path in filter(Path.exists, paths):
            with path.open(errors="replace") as stream:
                text = "".join(deque(stream, TAIL)).strip()
            if text:
                return text
        return ""


def job_name(run_id: str) -> str:
    """Name all jobs of a run alike, so that they can be found again without their ids."""
    return f"psweep-{run_id[:8]}"
