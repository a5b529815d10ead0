"""How the batch job of a pset stands: submitted or not, waiting, running, or over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psweep_dask.hpc import slurm
from psweep_dask.hpc.slurm import JobState
from psweep_dask.offline.submissions import SubmittedJob

NOT_SUBMITTED = "not known to be submitted"
SUBMITTED = "submitted"
PENDING = "pending"
RUNNING = "running"
ENDED = "ended"

MAY_STILL_RUN = (PENDING, RUNNING, SUBMITTED)
"""What a job does that may still bring a result."""


@dataclass(frozen=True)
class SlurmQueue:
    """What a SLURM says of the jobs of this user.

    Parameters
    ----------
    slurm : str
        Its name.
    states : Mapping
        By job id; an element of an array is ``<id>_<index>``.
    """

    slurm: str
    states: Mapping[str, JobState]


@dataclass(frozen=True)
class JobStatus:
    """What is known of the jobs of a pset.

    Parameters
    ----------
    doing : str
        One of the words above; "submitted" if nobody can be asked.
    completed : bool
        SLURM says that a job has ended, and with exit code 0.
    failed : bool
        SLURM says that a job has ended with another one.
    detail : str
        How they have ended, as far as is known.
    """

    doing: str
    completed: bool = False
    failed: bool = False
    detail: str = ""


def ask_queue(shell: Sequence[str] = ()) -> SlurmQueue | None:
    """Ask a SLURM for the jobs of this user; None if there is none, or if it does not answer.

    Parameters
    ----------
    shell : sequence of str, optional
        The remote shell by which it is reached, if it is elsewhere.
    """
    name = slurm.name(shell)
    states = None if name is None else slurm.jobs_of_user(shell)
    return None if name is None or states is None else SlurmQueue(name, states)


def status_of_jobs(
    jobs: Sequence[SubmittedJob], queue: SlurmQueue | None, over: bool = False
) -> JobStatus:
    """Tell how the jobs of a pset stand.

    Parameters
    ----------
    jobs : sequence of SubmittedJob
        All that were submitted for it.
    queue : Queue or None
        None if nobody can be asked. Asked after `jobs` were found: it knows them all.
    over : bool, optional
        The user says that no job waits or runs any more.

    Examples
    --------
    >>> queue = SlurmQueue("lab", {"7": JobState("CANCELLED")})
    >>> status_of_jobs([SubmittedJob("lab", "7")], queue).detail
    'SLURM says that 7 is CANCELLED'
    >>> status_of_jobs([SubmittedJob("other", "7")], queue).doing
    'submitted'
    """
    if not jobs:
        return JobStatus(NOT_SUBMITTED)
    if over:
        return JobStatus(ENDED, detail="that is what was said")
    if queue is None:
        return JobStatus(SUBMITTED)
    asked = [one for one in jobs if one.slurm and one.slurm == queue.slurm]
    states = [queue.states[one.job_id] for one in asked if one.job_id in queue.states]
    # While a job is completing, its processes may still be there.
    if any(one.runs or one.state == "COMPLETING" for one in states):
        return JobStatus(RUNNING)
    if any(one.waits for one in states):
        return JobStatus(PENDING)
    if len(asked) < len(jobs):
        return JobStatus(SUBMITTED)
    ends = {one.state for one in states}
    known = {one.job_id: queue.states.get(one.job_id) for one in asked}
    told = (
        f"{job_id} is {'unknown' if one is None else one.state}" for job_id, one in known.items()
    )
    return JobStatus(
        ENDED, "COMPLETED" in ends, "FAILED" in ends, f"SLURM says that {', '.join(told)}"
    )
