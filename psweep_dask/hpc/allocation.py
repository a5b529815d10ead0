"""The SLURM allocation that this process sits in: how many workers it holds, and where."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from psweep_dask.errors import PsweepError
from psweep_dask.hpc.slurm import WORKER_MARK

_WHOLE_JOB_STEPS = {"4294967290", "4294967291"}  # salloc's interactive step, a batch script
_ASK_TIMEOUT = 10.0  # seconds; scontrol answers in 0.01 unless the controller is in trouble


class AllocationError(PsweepError):
    """A SLURM allocation that cannot be used as it is."""


@dataclass(frozen=True)
class Allocation:
    """What SLURM gave.

    Parameters
    ----------
    job_id : str
    nodes : int
        Number of nodes.
    tasks : int
        Number of workers.
    cpus : int
        Number of CPUs for the pset of each worker.
    memory_per_task : int or None
        Bytes; None if SLURM does not say.
    explicit_tasks : bool
        Whether the number of tasks was asked for, with ``-n`` or ``--ntasks-per-node``.
    """

    job_id: str
    nodes: int
    tasks: int
    cpus: int
    memory_per_task: int | None
    explicit_tasks: bool


def inside(environ: Mapping[str, str] = os.environ) -> Allocation | None:
    """Look whether this process sits in a SLURM allocation that it may fill with workers.

    Tasks that were asked for are workers, and the CPUs of ``-c`` belong to each. Without ``-n``
    there are as many workers as fit: one a CPU, or one for each ``-c`` CPUs. In a task of srun (a
    shell by ``srun --pty``) the environment is about that step, and SLURM alone does not tell
    whether one task a node was asked for or is its default: that counts as the default there.

    Parameters
    ----------
    environ : mapping
        The environment of the process.

    Returns
    -------
    Allocation or None
        None outside of SLURM, and in workers that we started.

    Raises
    ------
    AllocationError
        If srun started the script several times, or SLURM does not say what there is.

    Examples
    --------
    >>> inside({}) is None
    True
    """
    if "SLURM_JOB_ID" not in environ or WORKER_MARK in environ:
        return None
    _check_started_once(environ)
    job = _Job(environ, _ask_slurm(environ, "job", environ["SLURM_JOB_ID"]))
    cpus_on_nodes = job.cpus_on_nodes()
    wanted, cpus = job.tasks(), job.cpus_per_task()
    tasks = wanted or max(1, sum(number // cpus for number in cpus_on_nodes))
    tasks_on_nodes = _spread(tasks, cpus, cpus_on_nodes)
    memory_on_nodes = job.memory_on_nodes(cpus_on_nodes)
    return Allocation(
        job_id=environ["SLURM_JOB_ID"],
        nodes=len(cpus_on_nodes),
        tasks=tasks,
        cpus=cpus,
        memory_per_task=_smallest_share(memory_on_nodes, tasks_on_nodes),
        explicit_tasks=wanted is not None,
    )


def scheduler_host(environ: Mapping[str, str] = os.environ) -> str | None:
    """Find the address of this machine under which the nodes of the allocation reach it.

    A machine with several networks has several addresses. The right one is that from which it
    reaches the nodes' addresses in SLURM, since SLURM itself needs that way back to srun.

    Parameters
    ----------
    environ : mapping
        The environment of a process inside the allocation.

    Returns
    -------
    str or None
        None if SLURM does not tell the nodes' addresses, or they mean nothing here.
    """
    told = _ask_slurm(environ, "node", environ.get("SLURM_JOB_NODELIST", ""))
    addresses = dict(re.findall(r"NodeName=(\S+).*?NodeAddr=(\S+)", told))
    here = addresses.pop(environ.get("SLURMD_NODENAME"), None)
    for address in (*addresses.values(), here):
        if address is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((address, 9))  # of UDP: sends nothing, only chooses the way
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return None


class _Job:
    """What SLURM and the environment say about a job.

    SLURM comes first, and the environment where SLURM does not answer, for it is about the step in
    a task of srun, lacks what salloc takes from the defaults of a partition, and in a batch script
    may be what sbatch took over from the shell of another job. Only the environment tells whether
    tasks were asked for.
    """

    def __init__(self, environ: Mapping[str, str], told: str) -> None:
        self._fields = dict(re.findall(r"(\S+?)=(\S+)", told))
        self._environ = environ
        self._whole_job = not _in_task(environ) and "SLURM_JOB_CPUS_PER_NODE" in environ

    def cpus_on_nodes(self) -> list[int]:
        """Give the number of CPUs on each node."""
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
        """Give the number of tasks that were asked for."""
        given, told = self._variable("SLURM_NTASKS"), self._count("NumTasks")
        if self._whole_job and (not told or given in (0, told)):
            return given or None
        return told if told != self._count("NumNodes") else None

    def cpus_per_task(self) -> int:
        """Give what ``-c`` says."""
        return self._count("CPUs/Task") or self._variable("SLURM_CPUS_PER_TASK") or 1

    def memory_on_nodes(self, cpus_on_nodes: list[int]) -> list[int]:
        """Give the bytes that the job may use on each node, 0 if that is not known."""
        of_cpu = self._memory("MinMemoryCPU", "SLURM_MEM_PER_CPU")
        if of_cpu:
            return [number * of_cpu for number in cpus_on_nodes]
        of_node = self._memory("MinMemoryNode", "SLURM_MEM_PER_NODE")
        if not of_node:  # --mem=0 asks for all, and how much that is stands in the sum only
            of_all = re.search(r"\bmem=([^,]+)", self._fields.get("TRES", ""))
            of_node = _size(of_all[1]) // len(cpus_on_nodes) if of_all else 0
        return [of_node] * len(cpus_on_nodes)

    def _count(self, field: str) -> int:
        told = self._fields.get(field, "")
        return int(told) if told.isdecimal() else 0

    def _variable(self, name: str) -> int:
        return int(self._environ.get(name, 0)) if self._whole_job else 0

    def _memory(self, field: str, variable: str) -> int:
        told = self._fields if self._fields else {field: self._environ.get(variable, "")}
        return _size(told.get(field, ""))


def _in_task(environ: Mapping[str, str]) -> bool:
    return environ.get("SLURM_STEP_ID", "4294967290") not in _WHOLE_JOB_STEPS


def _check_started_once(environ: Mapping[str, str]) -> None:
    number = int(environ.get("SLURM_STEP_NUM_TASKS", 1))
    if not _in_task(environ) or number == 1:
        return
    if "SLURM_PTY_PORT" in environ and environ.get("SLURM_PROCID") == "0":
        return  # `srun -n4 --pty bash`: only this shell has the terminal, the others are gone
    raise AllocationError(
        f"srun has started this script {number} times; start it once: 'python script.py' in the "
        "allocation or in the batch script, or 'srun -n1 python script.py'; psweep_dask starts "
        "the workers in the other tasks by itself"
    )


def _ask_slurm(environ: Mapping[str, str], kind: str, name: str) -> str:
    try:
        done = subprocess.run(
            ["scontrol", "show", kind, name, "--oneliner"],
            env=dict(environ),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_ASK_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _unpack(packed: str) -> list[int]:
    """Read SLURM's short form of numbers for each node: '3,1', '4(x2)'."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", packed)
    return [int(number) for number, times in found for _ in range(int(times or 1))]


def _smallest_share(memory_on_nodes: list[int], tasks_on_nodes: list[int]) -> int | None:
    shares = zip(memory_on_nodes, tasks_on_nodes, strict=True)
    return min(memory // tasks for memory, tasks in shares) or None


def _spread(tasks: int, cpus: int, cpus_on_nodes: list[int]) -> list[int]:
    """Tell how many tasks SLURM puts on each node, at most."""
    full = [number // cpus for number in cpus_on_nodes]
    if sum(full) == tasks:
        return [max(1, number) for number in full]
    return [-(-tasks // len(cpus_on_nodes))] * len(cpus_on_nodes)


def _size(text: str) -> int:
    """Read bytes as SLURM writes them: '1G', '1.50G', and '300' or '300M' for MB."""
    found = re.fullmatch(r"([\d.]+)([KMGTP]?)", text)
    if not found:
        return 0
    return int(float(found[1]) * 1024 ** (1 + "KMGTP".index(found[2] or "M")))
