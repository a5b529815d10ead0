"""What a machine says of its batch jobs, as dask-jobqueue takes it: class, arguments and script."""

from __future__ import annotations

import difflib
import importlib
import inspect
import shlex
import signal
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dask.utils import parse_bytes

from psweep_dask.clusters.workers import Resources, slots_of
from psweep_dask.hpc import slurm
from psweep_dask.hpc.jobscript import sbatch_quote
from psweep_dask.hpc.machine import Machine
from psweep_dask.hpc.machine_schema import CLUSTERS, MachineError
from psweep_dask.hpc.srun import SET_BY_USER, THREAD_VARIABLES

if TYPE_CHECKING:
    from dask_jobqueue.core import Job as QueueJob
    from dask_jobqueue.core import JobQueueCluster

JOBQUEUE_NAMES = {
    "partition": "queue",
    "time": "walltime",
    "mem": "memory",
    "ntasks": "processes",
}
"""By the name that SLURM has for a setting: the name that dask-jobqueue has for it."""

PREVIEW_ADDRESS = "tls://DRIVER:PORT"
"""Stands for the address of the scheduler in a job script that is only shown."""


def import_dask_jobqueue() -> ModuleType:
    """Import dask-jobqueue, and restore what Ctrl-C does, which its import changes.

    Raises
    ------
    psweep_dask.hpc.machine_schema.MachineError
        If this is not the main thread: the first import fails there.
    """
    if "dask_jobqueue" not in sys.modules and (
        threading.current_thread() is not threading.main_thread()
    ):
        raise MachineError(
            "dask-jobqueue can only be imported in the main thread: "
            "put `import dask_jobqueue` at the top of the script"
        )
    handler = signal.getsignal(signal.SIGINT)
    dask_jobqueue = importlib.import_module("dask_jobqueue")
    if signal.getsignal(signal.SIGINT) is not handler:
        signal.signal(signal.SIGINT, handler)
    return dask_jobqueue


def cluster_class(machine: Machine) -> type[JobQueueCluster]:
    """Return the class of dask-jobqueue for the batch system of a machine.

    Raises
    ------
    psweep_dask.hpc.machine_schema.MachineError
        If the machine has no batch system, or a setting that the class does not know.
    """
    class_: type[JobQueueCluster] = getattr(import_dask_jobqueue(), CLUSTERS[machine.batch_system])
    known = _parameters(class_) | _parameters(class_.job_cls)
    unknown = [name for name in machine.jobqueue if name not in known]
    if unknown:
        meant = JOBQUEUE_NAMES.get(unknown[0])
        close = [meant] if meant else difflib.get_close_matches(unknown[0], known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise MachineError(
            f"{machine.info_path}: {class_.__name__} knows no jobqueue setting {unknown[0]!r}{hint}"
        )
    return class_


def _parameters(class_: type) -> set[str]:
    """Return the names of all parameters of a class and its bases, but for `object`."""
    bases = [base for base in class_.__mro__[:-1] if "__init__" in vars(base)]
    return {name for base in bases for name in inspect.signature(vars(base)["__init__"]).parameters}


def job_script(machine: Machine) -> str:
    """Return the script that would be submitted for a machine.

    Raises
    ------
    psweep_dask.hpc.machine_schema.MachineError
        If the machine is not for live runs, or if its settings do not fit dask-jobqueue.
    """
    job_class = cluster_class(machine).job_cls
    known = _parameters(job_class)
    options = job_options(machine, "psweep-12345678", {}, Path("LOG_DIR"))
    options = {name: value for name, value in options.items() if name in known}
    try:
        job: QueueJob = job_class(PREVIEW_ADDRESS, name="12345678-0", **options)
    except ValueError as err:
        raise MachineError(f"{machine.info_path}: {err}") from err
    return str(job.job_script())


def job_options(
    machine: Machine, job_name: str, environment: dict[str, str], log_dir: Path
) -> dict[str, Any]:
    """Return the arguments for the class of dask-jobqueue: those of the machine, and ours.

    Parameters
    ----------
    machine : Machine
    job_name : str
    environment : dict
        Environment variables for the workers.
    log_dir : Path
        Folder for the output of jobs, if the machine does not name another.
    """
    options = dict(machine.jobqueue)
    prologue = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    options["job_name"] = job_name
    options["python"] = machine.setting("python") or shlex.quote(sys.executable)
    threads = _thread_lines(cpus_per_worker(machine))
    own = machine.setting("job_script_prologue") or []
    options["job_script_prologue"] = [*threads, *own, *prologue]
    options["processes"] = workers_per_job(machine)
    extra = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    if cpus_per_worker(machine) > 1:
        extra = ["--nthreads", "1", *extra]  # the last one counts: one pset at a time
    memory = [machine.setting(name) for name in ("memory", "job_mem")]
    if memory[0] is not None:
        job_bytes = min(parse_bytes(text) for text in memory if text is not None)
        limit = slurm.worker_memory(job_bytes, options["processes"])
        extra += ["--memory-limit", str(limit)]
    options["worker_extra_args"] = [*extra, *(machine.setting("worker_extra_args") or [])]
    if machine.cluster == "slurm":
        directives = ["--no-requeue"]
        if machine.setting("log_directory") is None:
            folder = str(log_dir).replace("%", "%%")  # a single % begins a pattern of sbatch
            directives.append(sbatch_quote(f"--output={folder}/%j.log"))
        given = machine.setting("job_extra_directives") or []
        options["job_extra_directives"] = [*directives, *given]
    return options


def workers_per_job(machine: Machine) -> int:
    """Return how many workers a job has: by default one for each core, as on a laptop."""
    return int(machine.setting("processes") or machine.setting("cores") or 1)


def cpus_per_worker(machine: Machine) -> int:
    """Return how many CPUs a worker has, which are for one pset."""
    return max(1, int(machine.setting("cores") or 1) // workers_per_job(machine))


def _thread_lines(cpus: int) -> list[str]:
    """Return lines by which libraries use all CPUs of a worker; those of the user come later."""
    names = [name for name in THREAD_VARIABLES if cpus > 1 and name not in SET_BY_USER]
    return [f"export {name}={cpus}" for name in names]


def slots_per_job(machine: Machine, needed: Resources) -> int:
    """Return how many psets run in a job at the same time.

    Parameters
    ----------
    machine : Machine
    needed : Mapping
        The dask resources that a pset needs.

    Raises
    ------
    psweep_dask.hpc.machine_schema.MachineError
        If its workers do not have these resources.
    """
    if not slots_of(1, _worker_resources(machine), needed):
        raise MachineError(
            f"{machine.info_path}: its workers do not have the resources {dict(needed)}; say which "
            'they have by jobqueue: worker_extra_args: ["--resources", "GPU=1"]'
        )
    return workers_per_job(machine)


def _worker_resources(machine: Machine) -> dict[str, float]:
    """Read the option --resources of workers, as dask's command reads it."""
    words = shlex.split(" ".join(machine.setting("worker_extra_args") or []))
    values = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--resources"]
    values += [word.partition("=")[2] for word in words if word.startswith("--resources=")]
    pairs = values[-1].replace(",", " ").split() if values else []
    return {name: float(number) for name, _, number in (pair.partition("=") for pair in pairs)}
