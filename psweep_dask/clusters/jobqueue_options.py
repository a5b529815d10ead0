"""The batch jobs of a machine in the words of dask-jobqueue: their class, arguments and script."""

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

if TYPE_CHECKING:
    from dask_jobqueue.core import Job as QueueJob
    from dask_jobqueue.core import JobQueueCluster

CALLED_OTHERWISE = {
    "partition": "queue",
    "time": "walltime",
    "mem": "memory",
    "ntasks": "processes",
}
"""What SLURM's users may write, and what dask-jobqueue calls it."""

PREVIEW_ADDRESS = "tls://DRIVER:PORT"
"""Stands for the scheduler in a job script that is only shown."""


def import_quietly() -> ModuleType:
    """Import dask-jobqueue, and give Ctrl-C back, which its import takes over.

    Raises
    ------
    MachineError
        Off the main thread, where its first import fails.
    """
    if "dask_jobqueue" not in sys.modules and (
        threading.current_thread() is not threading.main_thread()
    ):
        raise MachineError(
            "dask-jobqueue can only be imported in the main thread: "
            "put `import dask_jobqueue` at the top of the script"
        )
    before = signal.getsignal(signal.SIGINT)
    dask_jobqueue = importlib.import_module("dask_jobqueue")
    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)
    return dask_jobqueue


def cluster_class(machine: Machine) -> type[JobQueueCluster]:
    """Give the class of dask-jobqueue that a machine names, if it knows all that is asked of it.

    Raises
    ------
    MachineError
        If the machine names none, or has a setting that the class does not know.
    """
    found: type[JobQueueCluster] = getattr(import_quietly(), CLUSTERS[machine.batch_system])
    known = _parameters(found) | _parameters(found.job_cls)
    unknown = [name for name in machine.jobqueue if name not in known]
    if unknown:
        called = CALLED_OTHERWISE.get(unknown[0])
        close = [called] if called else difflib.get_close_matches(unknown[0], known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise MachineError(
            f"{machine.info_path}: {found.__name__} knows no jobqueue setting {unknown[0]!r}{hint}"
        )
    return found


def _parameters(kind: type) -> set[str]:
    made_by = [vars(one)["__init__"] for one in kind.__mro__ if "__init__" in vars(one)]
    return {name for one in made_by[:-1] for name in inspect.signature(one).parameters}


def job_script(machine: Machine) -> str:
    """Show the script that would be submitted for a machine.

    Raises
    ------
    MachineError
        If the machine is not for live runs, or if its settings do not fit dask-jobqueue.
    """
    found = cluster_class(machine)
    of_jobs = _parameters(found.job_cls)
    options = options_of_jobs(machine, "psweep-12345678", {}, Path("LOG_DIR"))
    options = {name: value for name, value in options.items() if name in of_jobs}
    try:
        job: QueueJob = found.job_cls(PREVIEW_ADDRESS, name="12345678-0", **options)
    except ValueError as err:
        raise MachineError(f"{machine.info_path}: {err}") from err
    return str(job.job_script())


def options_of_jobs(
    machine: Machine, job_name: str, environment: dict[str, str], log_dir: Path
) -> dict[str, Any]:
    """Complete what a machine says of its jobs.

    Parameters
    ----------
    machine : Machine
    job_name : str
    environment : dict
        Variables for the workers.
    log_dir : Path
        Where the output of jobs goes, if the machine does not say.
    """
    options = dict(machine.jobqueue)
    prologue = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    options["job_name"] = job_name
    options["python"] = machine.setting("python") or shlex.quote(sys.executable)
    options["job_script_prologue"] = [*(machine.setting("job_script_prologue") or []), *prologue]
    options["processes"] = processes(machine)
    extra = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    memory = [machine.setting(name) for name in ("memory", "job_mem")]
    if memory[0] is not None:
        least = min(parse_bytes(one) for one in memory if one is not None)
        limit = slurm.worker_memory(least, options["processes"])
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


def processes(machine: Machine) -> int:
    """Tell how many workers a job has: by default one for each core, as on a laptop."""
    return int(machine.setting("processes") or machine.setting("cores") or 1)


def threads(machine: Machine) -> int:
    """Tell how many psets a worker runs at the same time."""
    return max(1, int(machine.setting("cores") or 1) // processes(machine))


def slots(machine: Machine, asked: Resources) -> int:
    """Tell how many psets run in a job at the same time.

    Raises
    ------
    MachineError
        If its workers do not have the resources that a pset asks for.
    """
    of_worker = slots_of(threads(machine), _resources(machine), asked)
    if not of_worker:
        raise MachineError(
            f"{machine.info_path}: its workers do not have the resources {dict(asked)}; say which "
            'they have by jobqueue: worker_extra_args: ["--resources", "GPU=1"]'
        )
    return of_worker * processes(machine)


def _resources(machine: Machine) -> dict[str, float]:
    """Read what its workers have, as dask's command reads it."""
    words = shlex.split(" ".join(machine.setting("worker_extra_args") or []))
    given = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--resources"]
    given += [word.partition("=")[2] for word in words if word.startswith("--resources=")]
    pairs = given[-1].replace(",", " ").split() if given else []
    return {name: float(number) for name, _, number in (pair.partition("=") for pair in pairs)}
