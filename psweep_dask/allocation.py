"""The SLURM allocation that this process sits in, and the workers that srun starts in it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from psweep_dask.errors import PsweepError

WORKER_MARK = "PSWEEP_DASK_WORKER"
"""Environment variable that is set in workers that we started in jobs and steps."""

MIB = 2**20

_WHOLE_JOB_STEPS = {"4294967290", "4294967291"}  # salloc's interactive step, a batch script
_ASK_TIMEOUT = 10.0  # seconds; scontrol answers in 0.01 unless the controller is in trouble
_TERM_PATIENCE = 10.0  # seconds; srun takes 0.1 to 3 to kill its tasks
_TAIL = 4096  # bytes of the log that are read

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_THREADS_GIVEN = frozenset(_THREADS) & frozenset(os.environ)

# What srun would take over as its own options. Seen in the lab: the mask of a `srun --exact --pty`
# shell puts all workers on that shell's CPU, a distribution without its plane size puts tasks where
# there are no CPUs for them, --ntasks-per-node of the shell is warned about. By its manual, srun
# refuses two kinds of memory limits at a time.
_DISTURBING = re.compile(
    r"SLURM_(CPU_BIND\w*|MEM_BIND\w*|MEM_PER_\w+|DISTRIBUTION|DIST_\w+|NTASKS_PER_\w+)"
)


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


def worker_memory(bytes_: int, processes: int = 1) -> int:
    """Give the memory limit of a worker, so that its nanny ends it before SLURM ends the job.

    Nannies and the interpreter need some as well: 256 MiB or 5 % are left to them, at most a
    quarter.

    Parameters
    ----------
    bytes_ : int
        What SLURM gives to all the processes together.
    processes : int
        Number of workers that share it.

    Examples
    --------
    >>> worker_memory(8 * 1024 * MIB, processes=4) // MIB
    1945
    >>> worker_memory(400 * MIB) // MIB
    300
    """
    left = bytes_ - max(256 * MIB, bytes_ // 20)
    return max(left, bytes_ * 3 // 4) // processes


def srun_command(allocation: Allocation, address: str, python: str = sys.executable) -> list[str]:
    """Write the command that starts the workers of an allocation.

    ``--overlap`` shares the CPUs with a step in which the driver itself may sit, ``--mem=0`` gives
    the step all the memory of the job, and ``--export=ALL`` undoes ``sbatch --export=NONE``. How
    tasks are bound to CPUs is left to the site. ``--immediate`` makes an error of a step that never
    fits, for which srun would wait for ever.

    Parameters
    ----------
    allocation : Allocation
    address : str
        Of the scheduler.
    python : str
        The interpreter, the same on all nodes.

    Examples
    --------
    >>> allocation = Allocation("7", 2, 4, 1, None, True)
    >>> " ".join(srun_command(allocation, "tls://10.0.0.1:8786", "python"))
    'srun --overlap --nodes=2 --ntasks=4 --cpus-per-task=1 --mem=0 --export=ALL ...
    python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --nthreads 1 --nworkers 1 ...'
    """
    srun = [
        *("srun", "--overlap"),
        *(f"--nodes={allocation.nodes}", f"--ntasks={allocation.tasks}"),
        *(f"--cpus-per-task={allocation.cpus}", "--mem=0", "--export=ALL"),
        *("--job-name=psweep_dask", "--kill-on-bad-exit=0", "--wait=0"),
        *("--input=none", "--mpi=none", "--immediate=600"),
    ]
    worker = [
        *(python, "-m", "distributed.cli.dask_worker", address),
        *("--nthreads", "1", "--nworkers", "1", "--nanny"),
        *("--no-dashboard", "--death-timeout", "60"),
    ]
    if allocation.memory_per_task is not None:
        worker += ["--memory-limit", str(worker_memory(allocation.memory_per_task))]
    return srun + worker


def step_environment(
    allocation: Allocation, settings: Mapping[str, str], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Make the environment of srun and the workers.

    Parameters
    ----------
    allocation : Allocation
    settings : mapping
        Variables for the workers; these win.
    environ : mapping
        What there is already. Variables for the number of threads are kept.

    Examples
    --------
    >>> allocation = Allocation("7", 1, 2, 4, None, True)
    >>> made = step_environment(allocation, {}, {"SLURM_CPU_BIND": "0x1", "HOME": "/home/me"})
    >>> made["HOME"], made["OMP_NUM_THREADS"], "SLURM_CPU_BIND" in made
    ('/home/me', '4', False)
    """
    kept = {name: value for name, value in environ.items() if not _DISTURBING.fullmatch(name)}
    for name in _THREADS:
        # dask's nannies leave a 1 in the driver's environment, which the user did not ask for
        if name not in _THREADS_GIVEN and kept.get(name, "1") == "1":
            kept[name] = str(allocation.cpus)
    return {**kept, WORKER_MARK: "1", **settings}


class Step:
    """The job step in which the workers of an allocation run.

    Parameters
    ----------
    allocation : Allocation
    address : str
        Of the scheduler.
    log_path : Path
        Where the output of srun and of all workers goes.
    settings : mapping
        Environment variables for the workers.

    Raises
    ------
    AllocationError
        If there is no srun.
    """

    def __init__(
        self, allocation: Allocation, address: str, log_path: Path, settings: Mapping[str, str]
    ) -> None:
        self.log_path = log_path
        with log_path.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    srun_command(allocation, address),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=step_environment(allocation, settings),
                    start_new_session=True,  # Ctrl-C is for the driver
                )
            except OSError as err:
                raise AllocationError(
                    f"SLURM_JOB_ID={allocation.job_id} is set, but srun cannot be started ({err}); "
                    "put it on the PATH, or use cluster='local'"
                ) from err

    def ended(self) -> str | None:
        """Tell in a sentence how srun ended, None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        lines = self._last_lines()
        return f"srun ended with exit code {code}" + (f": {' | '.join(lines)}" if lines else "")

    def close(self, patience: float = 20.0) -> int:
        """Wait for the end of the step, or end it; returns the exit code of srun.

        Parameters
        ----------
        patience : float
            Seconds to wait for workers that the scheduler has told to end.
        """
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return self._terminate()
        finally:  # after a second Ctrl-C, say; SLURM ends a step that has lost its srun
            self._process.kill()

    def _terminate(self) -> int:
        self._process.terminate()  # srun kills the tasks then, and exits with 137
        try:
            return self._process.wait(_TERM_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _last_lines(self) -> list[str]:
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - _TAIL))
            lines = log.read().decode(errors="replace").splitlines()
        by_slurm = [line for line in lines if line.startswith(("srun: ", "slurmstepd"))]
        return (by_slurm or lines)[-3:]


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
