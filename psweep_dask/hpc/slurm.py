"""What SLURM tells of our jobs, and how they are cancelled: its commands and their output."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

WORKER_MARK = "PSWEEP_DASK_WORKER"
"""Environment variable that is set in workers that we started in jobs and steps."""

MIB = 2**20

UNLIMITED = ("UNLIMITED", "INFINITE")
"""How SLURM writes that there is no walltime."""

_SLURM_TIME = re.compile(r"(?:([0-9]{1,9})-)?([0-9]{1,9})(?::([0-9]{1,9}))?(?::([0-9]{1,9}))?")

_JOB_OF_USER = re.compile(r"(\d+)\|(N/A|\d+)\|([A-Z_]+)\|(.*)")

PATIENCE = 30.0
"""Seconds that a command gets: a controller under load takes its time."""

WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
"""States of a job that has not begun."""

RUNNING = {"RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"}
"""States of a job whose processes are there."""

_KEYS = {
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
"""By what SLURM speaks of when it refuses a job: the keyword argument of dask-jobqueue."""


@dataclass(frozen=True)
class JobState:
    """What the queue tells of a job.

    Parameters
    ----------
    state : str
        In SLURM's words: PENDING, RUNNING, COMPLETED, FAILED, TIMEOUT, CANCELLED, NODE_FAIL...
    reason : str, optional
        Why it waits, or why it has failed.
    left : float, optional
        Seconds until its walltime is over; None if it has none.
    limit : float, optional
        Its walltime in seconds.
    """

    state: str
    reason: str = ""
    left: float | None = None
    limit: float | None = None

    @property
    def waits(self) -> bool:
        """Whether it has not begun."""
        return self.state in WAITING

    @property
    def runs(self) -> bool:
        """Whether its processes are there."""
        return self.state in RUNNING


ENDED = JobState("ENDED")
"""A job that the queue has forgotten."""


def advice_on(said: str) -> str:
    """Tell what to change when SLURM takes no job, or keeps it waiting for ever.

    Examples
    --------
    >>> advice_on("JobQueue job submission failed: Invalid partition name specified")
    'correct queue: below jobqueue: in info.yaml'
    >>> advice_on("PartitionTimeLimit")
    'correct queue: or walltime: below jobqueue: in info.yaml'
    """
    keys = dict.fromkeys(key for word, key in _KEYS.items() if word in said.lower())
    shown = " or ".join(f"{key}:" for key in keys)
    return f"correct {shown} below jobqueue: in info.yaml" if keys else "correct info.yaml"


def job_states(job_name: str) -> dict[str, JobState] | None:
    """Ask for the jobs of a name, those that ended in the last minutes too.

    Parameters
    ----------
    job_name : str

    Returns
    -------
    dict or None
        States by job id. None if the controller does not answer, which tells nothing about
        the jobs.
    """
    command = ["squeue", "--noheader", "--array", "--states=all", f"--name={job_name}"]
    answer = _ask([*command, "--format=%A|%T|%r|%L|%l"])
    return None if answer is None else parse_states(answer)


def parse_states(text: str) -> dict[str, JobState]:
    """Read what squeue prints in our format.

    Examples
    --------
    >>> parse_states("7|PENDING|Resources|1:00:00|1:00:00")
    {'7': JobState(state='PENDING', reason='Resources', left=3600.0, limit=3600.0)}
    """
    states = {}
    for line in text.splitlines():
        job_id, state, rest = line.split("|", 2)
        reason, left, limit = rest.rsplit("|", 2)
        states[job_id] = JobState(
            state,
            "" if reason in ("None", "(null)") else reason,
            walltime_seconds(left),
            walltime_seconds(limit),
        )
    return states


def jobs_of_user(shell: Sequence[str] = ()) -> dict[str, JobState] | None:
    """Ask for all jobs of this user, those that ended in the last minutes too.

    Parameters
    ----------
    shell : sequence of str, optional
        What takes a command to another machine, such as ``["ssh", "login"]``.

    Returns
    -------
    dict or None
        States by job id; an element of a job array has ``<id of the array>_<index>``. None if
        there is no SLURM, or its controller does not answer.
    """
    command = ["squeue", "--noheader", "--array", "--states=all", "--me", "--format=%F|%K|%T|%r"]
    answer = _ask(_on(shell, command))
    if answer is None:
        return None
    matches = filter(None, map(_JOB_OF_USER.fullmatch, answer.splitlines()))  # or of a login banner
    return {
        job if index == "N/A" else f"{job}_{index}": JobState(state, reason)
        for job, index, state, reason in (match.groups() for match in matches)
    }


def name(shell: Sequence[str] = ()) -> str | None:
    """Ask for the name of the SLURM, here or where a shell leads to; None if there is none."""
    answer = _ask(_on(shell, ["scontrol", "show", "config"])) or ""
    match = re.search(r"^ClusterName *= *(\S+)", answer, re.MULTILINE)
    return match[1] if match is not None else None


def _on(shell: Sequence[str], command: list[str]) -> list[str]:
    return [*shell, shlex.join(command)] if shell else command


def walltime_seconds(text: str) -> float | None:
    """Translate a time as SLURM writes it, in a job script or in what squeue prints.

    Parameters
    ----------
    text : str
        ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
        ``days-hours:minutes`` or ``days-hours:minutes:seconds``.

    Returns
    -------
    float or None
        Seconds; None for no limit (``UNLIMITED``) and for what is no time (``NOT_SET``). Zero is
        0.0, although SLURM takes it for no limit where somebody asks for it as a limit.

    Examples
    --------
    >>> walltime_seconds("02:00:00"), walltime_seconds("90"), walltime_seconds("1-12")
    (7200.0, 5400.0, 129600.0)
    >>> walltime_seconds("UNLIMITED") is None
    True
    """
    match = _SLURM_TIME.fullmatch(text.strip())
    if match is None:
        return None
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    # What is left out is at the end after days, and hours are the first to be left out without.
    if days is None and len(parts) < 3:
        parts.insert(0, 0)
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


def time_left(job_id: str) -> JobState | None:
    """Ask for the state of one job; None if the controller does not answer, or not know it."""
    answer = _ask(["squeue", "--noheader", f"--jobs={job_id}", "--format=%A|%T|%r|%L|%l"])
    return next(iter(parse_states(answer).values()), None) if answer else None


def cancel(job_ids: Iterable[str]) -> str | None:
    """Cancel jobs; those that have ended already do no harm.

    Returns
    -------
    str or None
        What went wrong.
    """
    return _order(["scancel", "--quiet", *job_ids])


def cancel_by_name(job_name: str) -> str | None:
    """Cancel the jobs of a name that this user has in the queue.

    Returns
    -------
    str or None
        What went wrong.
    """
    return _order(["scancel", "--quiet", f"--user={os.getuid()}", f"--name={job_name}"])


def is_here() -> bool:
    """Whether this machine has SLURM's commands."""
    return shutil.which("squeue") is not None


def inherited(environ: Mapping[str, str]) -> list[str]:
    """Name the variables that describe the allocation around us, and not a job we would submit.

    ``SBATCH_...`` are the wishes of the user and stay, as does where SLURM's configuration is.

    Examples
    --------
    >>> inherited({"SLURM_MEM_PER_CPU": "100", "SLURM_CONF": "/etc/slurm.conf", "HOME": "/root"})
    ['SLURM_MEM_PER_CPU']
    """
    ours = ("SLURM_", "SLURMD_", "SRUN_")
    return sorted(name for name in environ if name.startswith(ours) and name != "SLURM_CONF")


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


def _ask(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _order(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        return str(err)
    return done.stderr.strip() or None
