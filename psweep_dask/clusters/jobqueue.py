"""The jobs of one run in a batch system: submitted by dask-jobqueue, asked about, cancelled."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from psweep_dask.clusters.config import as_environment, cluster_settings
from psweep_dask.clusters.jobqueue_options import cluster_class, job_options
from psweep_dask.clusters.nannies import KeepsNannies
from psweep_dask.clusters.scaling_policy import WorkerJob
from psweep_dask.clusters.tls import Credentials
from psweep_dask.hpc import slurm
from psweep_dask.hpc.machine import Machine
from psweep_dask.hpc.machine_schema import MachineError
from psweep_dask.hpc.slurm import JobState

if TYPE_CHECKING:
    from dask_jobqueue.core import Job as QueueJob
    from dask_jobqueue.core import JobQueueCluster


JOB_OUTPUT_LINES = 15
"""So many lines of the output of a job are quoted by an error."""


class JobQueue:
    """The jobs of one run in the batch system, and the cluster to which their workers connect.

    Parameters
    ----------
    machine : Machine
        Describes the jobs.
    credentials : Credentials
    run_id : str
        All jobs have the same name, with the beginning of this id: so they can be found again
        without their own ids.
    log_dir : Path
        Folder for the output of jobs.

    Attributes
    ----------
    cluster : JobQueueCluster
        Its scheduler runs in this process.
    job_name : str

    Raises
    ------
    psweep_dask.hpc.machine_schema.MachineError
        If dask-jobqueue cannot start a scheduler with the settings of the machine.
    """

    def __init__(
        self, machine: Machine, credentials: Credentials, run_id: str, log_dir: Path
    ) -> None:
        self._machine = machine
        self._log_dir = log_dir
        self.job_name = f"psweep-{run_id[:8]}"
        environment = {
            **as_environment({**cluster_settings(), **credentials.worker_settings()}),
            slurm.WORKER_VARIABLE: "1",
        }
        class_ = cluster_class(machine)
        start_cluster = type(class_.__name__, (KeepsNannies, class_), {})
        options = job_options(machine, self.job_name, environment, log_dir)
        options["scheduler_options"] = {
            "dashboard_address": "127.0.0.1:0",
            **(machine.setting("scheduler_options") or {}),
        }
        try:
            self.cluster: JobQueueCluster = start_cluster(security=credentials.security, **options)
        except (ValueError, RuntimeError) as err:
            raise MachineError(f"{machine.info_path}: {err}") from err
        self._jobs: dict[str, QueueJob] = {}
        self._unset_variables = slurm.allocation_variables(os.environ)

    @property
    def walltime(self) -> float | None:
        """Walltime of a job in seconds; None if it has none."""
        text = str(self._machine.setting("walltime") or "")
        if self._machine.cluster == "lsf" and text.count(":") == 1:
            text += ":00"  # LSF writes hours and minutes
        return slurm.walltime_seconds(text) or None

    @property
    def address(self) -> str:
        """Where workers reach the scheduler."""
        address = str(self.cluster.scheduler_address)
        interface = self._machine.setting("interface")
        return f"{address} (interface {interface})" if interface else address

    def submit(self, name: str) -> str:
        """Submit a job, and return its id.

        Parameters
        ----------
        name : str
            The names of its workers begin with it.

        Raises
        ------
        RuntimeError
            If the batch system refuses it.
        OSError
            If there is no command to submit jobs.
        """
        # The worker finds its TLS files by the prologue of the script, not by its command line.
        options = {**self.cluster.new_spec["options"], "security": None}
        job: QueueJob = self.cluster.job_cls(self.cluster.scheduler_address, name=name, **options)
        if self._unset_variables:  # a job would take them for its own options
            unset = " ".join(f"-u {shlex.quote(variable)}" for variable in self._unset_variables)
            job.submit_command = f"env {unset} {job.submit_command}"
        self.cluster.sync(job.start)
        job_id = str(job.job_id)
        self._jobs[job_id] = job
        return job_id

    @property
    def state_at_first(self) -> JobState | None:
        """The state of a job until the queue is first asked; None if there is no SLURM to ask."""
        return JobState("PENDING") if self._machine.cluster == "slurm" else None

    def states(self) -> dict[str, JobState] | None:
        """Return what the queue knows of our jobs, by their ids; None if it does not answer."""
        return slurm.job_states(self.job_name) if self._machine.cluster == "slurm" else None

    def cancel(self, jobs: Iterable[WorkerJob]) -> str | None:
        """Cancel jobs; return the error of the batch system, None if there is none."""
        ids = [job.job_id for job in jobs]
        if not ids:
            return None
        if self._machine.cluster == "slurm":
            return slurm.cancel(ids)
        self.cluster.sync(self._close, ids)
        return None

    def cancel_all(self) -> str | None:
        """Cancel all jobs of the run; return the error of the batch system, if there is one."""
        if not self._jobs:
            return None
        if self._machine.cluster == "slurm":
            return slurm.cancel_by_name(self.job_name)
        self.cluster.sync(self._close, list(self._jobs))
        return None

    async def _close(self, ids: list[str]) -> None:
        await asyncio.gather(*(self._jobs[job_id].close() for job_id in ids))

    def output(self, job_id: str) -> str:
        """Return the last lines that a job has printed; an empty str if there are none."""
        users_dir = self._machine.setting("log_directory")
        paths = [self._log_dir / f"{job_id}.log"]
        if users_dir is not None:
            paths = [Path(users_dir, f"{self.job_name}-{job_id}.{end}") for end in ("err", "out")]
        for path in filter(Path.exists, paths):
            with path.open(errors="replace") as stream:
                text = "".join(deque(stream, JOB_OUTPUT_LINES)).strip()
            if text:
                return text
        return ""
