"""The allocation of a batch system that this process runs in, and how workers start there.

For another batch system, write a subclass of `Allocation` and add it to `ALLOCATION_CLASSES`.
"""

from __future__ import annotations

import os
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

from psweep_dask.errors import PsweepError
from psweep_dask.hpc import slurm
from psweep_dask.hpc.srun import SrunStep, srun_command, step_environment

_SCONTROL_TIMEOUT_SECONDS = 10.0  # it answers in 0.01 s unless the controller is in trouble
_WHOLE_JOB_STEPS = {"4294967290", "4294967291"}  # the shell of salloc, a batch script


class AllocationError(PsweepError):
    """An allocation that cannot be used as it is."""


class WorkerStep(Protocol):
    """The command that runs all workers of an allocation, such as srun."""

    log_path: Path

    def end_message(self) -> str | None:
        """Return how the command has ended, as a sentence; None while it runs."""

    def close(self, patience: float) -> int:
        """Wait `patience` seconds for its end, then end it; return its exit code."""


@dataclass(frozen=True)
class Allocation(ABC):
    """Nodes that a batch system has given to the job in which this process runs.

    Parameters
    ----------
    job_id : str
        Id of the job.
    nodes, workers : int
        Number of nodes, and of workers on all of them. A worker runs one pset at a time.
    cpus_per_worker : int
        Number of CPUs for each worker.
    memory_per_worker : int or None
        Bytes for each worker; None if they are not known.
    """

    batch_system: ClassVar[str]  # its name, for messages
    job_id: str
    nodes: int
    workers: int
    cpus_per_worker: int
    memory_per_worker: int | None

    @classmethod
    @abstractmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self | None:
        """Return the allocation of a process with these environment variables.

        None if there is no allocation of this batch system, or the process is one of our workers.
        An allocation that cannot be used is an `AllocationError`.
        """

    @abstractmethod
    def time_left(self) -> tuple[float, float] | None:
        """Return the seconds until the end, and the whole walltime in seconds; None if unknown."""

    @abstractmethod
    def scheduler_host(self) -> str | None:
        """Return the address under which the nodes reach this machine; None if not known."""

    @abstractmethod
    def start_workers(
        self, scheduler_address: str, log_path: Path, settings: Mapping[str, str]
    ) -> WorkerStep:
        """Start all workers, or raise an `AllocationError`.

        The output of the command and of all workers goes to `log_path`. The workers get `settings`
        as environment variables.
        """


class SlurmAllocation(Allocation):
    """An allocation of SLURM, by salloc or sbatch. A worker is a task of one job step of srun.

    Tasks that were asked for, with ``-n`` or ``--ntasks-per-node``, are workers, and the CPUs of
    ``-c`` belong to each. Else there are as many workers as fit: one for each CPU, or for each
    ``-c`` CPUs. In a task of srun (a shell by ``srun --pty``), SLURM does not say whether one task
    for each node was asked for or is the default: there it counts as the default.
    """

    batch_system = "SLURM"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self | None:
        """Return the allocation of a process with these environment variables, or None."""
        if "SLURM_JOB_ID" not in environ or slurm.WORKER_VARIABLE in environ:
            return None
        _check_started_once(environ)
        job = _SlurmJob(environ)
        cpus_on_nodes = job.cpus_on_nodes()
        cpus = job.cpus_per_task()
        tasks = job.tasks() or max(1, sum(number // cpus for number in cpus_on_nodes))
        tasks_on_nodes = _tasks_on_nodes(tasks, cpus, cpus_on_nodes)
        shares = zip(job.memory_on_nodes(cpus_on_nodes), tasks_on_nodes, strict=True)
        return cls(
            job_id=environ["SLURM_JOB_ID"],
            nodes=len(cpus_on_nodes),
            workers=tasks,
            cpus_per_worker=cpus,
            memory_per_worker=min(memory // number for memory, number in shares) or None,
        )

    def time_left(self) -> tuple[float, float] | None:
        """Return the seconds until the end, and the walltime, as squeue knows them."""
        state = slurm.job_state(self.job_id)
        if state is None or state.left is None:
            return None
        return state.left, state.limit or state.left

    def scheduler_host(self, environ: Mapping[str, str] = os.environ) -> str | None:
        """Return the address from which this machine reaches the addresses of the nodes in SLURM.

        A machine with several networks has several addresses. SLURM itself needs the way back from
        the nodes to srun, so this one works.
        """
        output = _scontrol_show("node", environ.get("SLURM_JOB_NODELIST", ""), environ)
        addresses = dict(re.findall(r"NodeName=(\S+).*?NodeAddr=(\S+)", output))
        this_node = addresses.pop(environ.get("SLURMD_NODENAME"), None)
        for address in filter(None, (*addresses.values(), this_node)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
                probe.connect((address, 9))  # of UDP: sends nothing, only chooses the way
                return str(probe.getsockname()[0])
        return None

    def start_workers(
        self, scheduler_address: str, log_path: Path, settings: Mapping[str, str]
    ) -> SrunStep:
        """Start srun, which starts the workers on the nodes."""
        cpus = self.cpus_per_worker
        command = srun_command(
            scheduler_address, self.nodes, self.workers, cpus, self.memory_per_worker
        )
        try:
            return SrunStep(command, step_environment(cpus, settings), log_path)
        except OSError as err:
            raise AllocationError(
                f"SLURM_JOB_ID={self.job_id} is set, but srun cannot be started ({err}); "
                "put it on the PATH, or use cluster='local'"
            ) from err


ALLOCATION_CLASSES: tuple[type[Allocation], ...] = (SlurmAllocation,)


def current_allocation(environ: Mapping[str, str] = os.environ) -> Allocation | None:
    """Return the allocation that this process may fill with workers, if it runs in one.

    Raises
    ------
    AllocationError
        If srun started the script several times, or SLURM does not say what the job has.
    """
    allocations = (kind.from_environment(environ) for kind in ALLOCATION_CLASSES)
    return next(filter(None, allocations), None)


class _SlurmJob:
    """What scontrol and the environment say about a job.

    scontrol is asked first. The environment counts where scontrol does not answer: in a task of
    srun, it describes that step only; it lacks what salloc takes from the defaults of a partition;
    and in a batch script, it may hold what sbatch took over from the shell of another job. But
    only the environment says whether tasks were asked for.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        output = _scontrol_show("job", environ["SLURM_JOB_ID"], environ)
        self._fields = dict(re.findall(r"(\S+?)=(\S+)", output))
        self._environ = environ
        self._whole_job = not _in_task(environ) and "SLURM_JOB_CPUS_PER_NODE" in environ

    def cpus_on_nodes(self) -> list[int]:
        """Return the number of CPUs on each node."""
        packed = self._environ.get("SLURM_JOB_CPUS_PER_NODE")
        if packed:
            return _unpack(packed)
        nodes, cpus = self._count("NumNodes"), self._count("NumCPUs")
        if not nodes or not cpus:
            raise AllocationError(
                f"SLURM_JOB_ID={self._environ['SLURM_JOB_ID']} is set, but SLURM does not say what "
                "this job has; unset SLURM_JOB_ID if it has ended, or use cluster='local'"
            )
        return [cpus // nodes] * nodes

    def tasks(self) -> int | None:
        """Return the number of tasks that were asked for, None if none were."""
        in_environment, in_scontrol = self._variable("SLURM_NTASKS"), self._count("NumTasks")
        if self._whole_job and (not in_scontrol or in_environment in (0, in_scontrol)):
            return in_environment or None
        return in_scontrol if in_scontrol != self._count("NumNodes") else None

    def cpus_per_task(self) -> int:
        """Return the number of CPUs for each task (``-c``)."""
        return self._count("CPUs/Task") or self._variable("SLURM_CPUS_PER_TASK") or 1

    def memory_on_nodes(self, cpus_on_nodes: list[int]) -> list[int]:
        """Return the bytes that the job may use on each node; 0 if they are not known."""
        per_cpu = self._memory("MinMemoryCPU", "SLURM_MEM_PER_CPU")
        if per_cpu:
            return [number * per_cpu for number in cpus_on_nodes]
        per_node = self._memory("MinMemoryNode", "SLURM_MEM_PER_NODE")
        if not per_node:  # --mem=0 asks for all memory; how much that is stands in the sum only
            total = re.search(r"\bmem=([^,]+)", self._fields.get("TRES", ""))
            per_node = _bytes(total[1]) // len(cpus_on_nodes) if total else 0
        return [per_node] * len(cpus_on_nodes)

    def _count(self, field: str) -> int:
        text = self._fields.get(field, "")
        return int(text) if text.isdecimal() else 0

    def _variable(self, name: str) -> int:
        return int(self._environ.get(name, 0)) if self._whole_job else 0

    def _memory(self, field: str, variable: str) -> int:
        text = self._fields.get(field) if self._fields else self._environ.get(variable)
        return _bytes(text or "")


def _in_task(environ: Mapping[str, str]) -> bool:
    return environ.get("SLURM_STEP_ID", "4294967290") not in _WHOLE_JOB_STEPS


def _check_started_once(environ: Mapping[str, str]) -> None:
    number = int(environ.get("SLURM_STEP_NUM_TASKS", 1))
    # `srun -n4 --pty bash`: only this shell has the terminal, the others have ended.
    in_terminal = "SLURM_PTY_PORT" in environ and environ.get("SLURM_PROCID") == "0"
    if _in_task(environ) and number > 1 and not in_terminal:
        raise AllocationError(
            f"srun has started this script {number} times; start it once: 'python script.py' in "
            "the allocation or in the batch script, or 'srun -n1 python script.py'; psweep_dask "
            "starts the workers in the other tasks by itself"
        )


def _scontrol_show(kind: str, name: str, environ: Mapping[str, str]) -> str:
    command = ["scontrol", "show", kind, name, "--oneliner"]
    return slurm.output_of(command, environ, _SCONTROL_TIMEOUT_SECONDS) or ""


def _unpack(packed: str) -> list[int]:
    """Return the numbers for each node from SLURM's short form: '3,1', '4(x2)'."""
    groups = re.findall(r"(\d+)(?:\(x(\d+)\))?", packed)
    return [int(number) for number, times in groups for _ in range(int(times or 1))]


def _tasks_on_nodes(tasks: int, cpus: int, cpus_on_nodes: list[int]) -> list[int]:
    """Return the largest number of tasks that SLURM may put on each node."""
    fitting = [number // cpus for number in cpus_on_nodes]
    if sum(fitting) == tasks:
        return [max(1, number) for number in fitting]
    return [-(-tasks // len(cpus_on_nodes))] * len(cpus_on_nodes)


def _bytes(text: str) -> int:
    """Return the bytes in SLURM's text: '1G', '1.50G', and '300' or '300M' for MB; else 0."""
    match = re.fullmatch(r"([\d.]+)([KMGTP]?)", text)
    return int(float(match[1]) * 1024 ** (1 + "KMGTP".index(match[2] or "M"))) if match else 0
