"""SLURM's commands: what they print about jobs, times and memory, and how jobs are cancelled."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

WORKER_VARIABLE = "PSWEEP_DASK_WORKER"
"""Environment variable of the workers that we start in jobs and in job steps."""

MIB = 2**20

UNLIMITED = ("UNLIMITED", "INFINITE")
"""What SLURM writes where a job has no walltime."""

COMMAND_TIMEOUT_SECONDS = 30.0  # under load, SLURM's controller answers slowly

_SQUEUE = ("squeue", "--noheader", "--format=%A|%T|%r|%L|%l")

WAITING_STATES = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
)
RUNNING_STATES = frozenset(
    {"RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"}
)

_KEY_BY_WORD = {
    "partition": "queue",
    "account": "account",
    "time": "walltime",
    "memory": "memory",
    "cpu": "cores",
    "processor": "cores",
    "node": "cores",
    "qos": "job_extra_directives",
    "constraints": "job_extra_directives",
}
"""Words in messages with which SLURM refuses a job, and the key below ``jobqueue:`` to correct."""


@dataclass(frozen=True)
class JobState:
    """The state of a job in the queue.

    Parameters
    ----------
    state : str
        As SLURM calls it: PENDING, RUNNING, COMPLETED, FAILED, TIMEOUT, CANCELLED, NODE_FAIL, ...
    reason : str, optional
        Why the job waits, or why it has failed.
    left, limit : float, optional
        Seconds until the end of its walltime, and its walltime; None if it has none.
    """

    state: str
    reason: str = ""
    left: float | None = None
    limit: float | None = None

    @property
    def waits(self) -> bool:
        """Whether the job has not begun."""
        return self.state in WAITING_STATES

    @property
    def runs(self) -> bool:
        """Whether the processes of the job exist."""
        return self.state in RUNNING_STATES


ENDED = JobState("ENDED")  # of a job that the queue does not list any more


def remedy_for(message: str) -> str:
    """Return what to change in ``info.yaml``, by the message with which SLURM refuses a job.

    Examples
    --------
    >>> remedy_for("PartitionTimeLimit")
    'correct queue: or walltime: below jobqueue: in info.yaml'
    """
    keys = dict.fromkeys(key for word, key in _KEY_BY_WORD.items() if word in message.lower())
    choices = " or ".join(f"{key}:" for key in keys)
    return f"correct {choices} below jobqueue: in info.yaml" if keys else "correct info.yaml"


def job_states(job_name: str) -> dict[str, JobState] | None:
    """Return the states of the jobs with a name, by job id; None if SLURM does not answer.

    Jobs that ended in the last minutes are included.
    """
    output = output_of([*_SQUEUE, "--array", "--states=all", f"--name={job_name}"])
    return None if output is None else parse_states(output)


def job_state(job_id: str) -> JobState | None:
    """Return the state of a job; None if SLURM does not answer, or does not know the job."""
    output = output_of([*_SQUEUE, f"--jobs={job_id}"])
    return next(iter(parse_states(output).values()), None) if output else None


def parse_states(output: str) -> dict[str, JobState]:
    """Read lines of squeue: job id, state, reason, time left, walltime."""
    states = {}
    for line in output.splitlines():
        job_id, state, rest = line.split("|", 2)
        reason, left, limit = rest.rsplit("|", 2)  # a reason may have a | itself
        states[job_id] = JobState(
            state,
            "" if reason in ("None", "(null)") else reason,
            walltime_seconds(left),
            walltime_seconds(limit),
        )
    return states


def jobs_of_user(shell: Sequence[str] = ()) -> dict[str, JobState] | None:
    """Return the states of all jobs of this user, by job id; None if SLURM does not answer.

    Jobs that ended in the last minutes are included. The element of a job array is called
    ``<id of the array>_<index>``.

    Parameters
    ----------
    shell : sequence of str, optional
        Words that run a command on another machine, such as ``["ssh", "login"]``.
    """
    squeue = ["squeue", "--noheader", "--array", "--states=all", "--me", "--format=%F|%K|%T|%r"]
    output = output_of(_through(shell, squeue))
    if output is None:
        return None
    # Other lines are the banner of a login.
    jobs = re.findall(r"^(\d+)\|(N/A|\d+)\|([A-Z_]+)\|(.*)$", output, re.MULTILINE)
    return {
        job_id if index == "N/A" else f"{job_id}_{index}": JobState(state, reason)
        for job_id, index, state, reason in jobs
    }


def cluster_name(shell: Sequence[str] = ()) -> str | None:
    """Return the name of the SLURM cluster, here or behind `shell`; None if there is no SLURM."""
    output = output_of(_through(shell, ["scontrol", "show", "config"])) or ""
    match = re.search(r"^ClusterName *= *(\S+)", output, re.MULTILINE)
    return match[1] if match is not None else None


def _through(shell: Sequence[str], command: list[str]) -> list[str]:
    return [*shell, shlex.join(command)] if shell else command


def walltime_seconds(text: str) -> float | None:
    """Return the seconds of a time as SLURM writes it, in a job script or in the output of squeue.

    The formats are ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
    ``days-hours:minutes`` and ``days-hours:minutes:seconds``. No limit (``UNLIMITED``) is None, and
    so is what is not a time (``NOT_SET``). Zero is 0.0, although sbatch takes a walltime of zero
    for no limit.

    Examples
    --------
    >>> walltime_seconds("02:00:00"), walltime_seconds("90"), walltime_seconds("1-12")
    (7200.0, 5400.0, 129600.0)
    >>> walltime_seconds("UNLIMITED") is None
    True
    """
    number = "([0-9]{1,9})"
    match = re.fullmatch(f"(?:{number}-)?{number}(?::{number})?(?::{number})?", text.strip())
    if match is None:
        return None
    days, *rest = match.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is None and len(numbers) < 3:  # without days, the first number is minutes
        numbers.insert(0, 0)
    hours, minutes, seconds = (*numbers, 0, 0)[:3]
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


def cancel(job_ids: Iterable[str]) -> str | None:
    """Cancel jobs, which may have ended already. Return the error message of scancel, if any."""
    return _error_of(["scancel", "--quiet", *job_ids])


def cancel_by_name(job_name: str) -> str | None:
    """Cancel all jobs of this user with a name. Return the error message of scancel, if any."""
    return _error_of(["scancel", "--quiet", f"--user={os.getuid()}", f"--name={job_name}"])


def is_installed() -> bool:
    """Return whether this machine has SLURM's commands."""
    return shutil.which("squeue") is not None


def allocation_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that describe the job in which this process runs.

    A job that it submits must not inherit these. ``SBATCH_...`` are wishes of the user for new
    jobs, and ``SLURM_CONF`` names SLURM's configuration: they are not among them.
    """
    prefixes = ("SLURM_", "SLURMD_", "SRUN_")
    return sorted(name for name in environ if name.startswith(prefixes) and name != "SLURM_CONF")


def worker_memory(bytes_: int, processes: int = 1) -> int:
    """Return the memory limit of a worker in bytes, if a job has `bytes_` for all its workers.

    It is a little less than the memory of the job, so that a worker which needs too much is ended
    by its nanny, before SLURM ends the whole job. Nannies and interpreters keep 256 MiB or 5 %,
    but at most a quarter.

    Examples
    --------
    >>> worker_memory(8 * 1024 * MIB, processes=4) // MIB
    1945
    >>> worker_memory(400 * MIB) // MIB
    300
    """
    left = bytes_ - max(256 * MIB, bytes_ // 20)
    return max(left, bytes_ * 3 // 4) // processes


def output_of(
    command: Sequence[str],
    environ: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str | None:
    """Return what a command prints; None if it fails, is missing or takes too long."""
    try:
        done = _run(command, environ, timeout)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _error_of(command: Sequence[str]) -> str | None:
    try:
        done = _run(command)
    except (OSError, subprocess.TimeoutExpired) as err:
        return str(err)
    return done.stderr.strip() or None


def _run(
    command: Sequence[str],
    environ: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environ,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout or COMMAND_TIMEOUT_SECONDS,
        check=False,
    )
