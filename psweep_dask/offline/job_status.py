"""The state of a pset's batch jobs, as the batch system sees it."""

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
"""States in which a job may still bring a result."""


@dataclass(frozen=True)
class SlurmQueue:
    """The jobs of this user in a SLURM.

    Parameters
    ----------
    slurm : str
        The name of the SLURM.
    states : Mapping
        States by job id; the id of an array element is ``<id>_<index>``.
    """

    slurm: str
    states: Mapping[str, JobState]


@dataclass(frozen=True)
class JobStatus:
    """The state of all jobs of a pset, taken together.

    Parameters
    ----------
    state : str
        "not known to be submitted", "submitted" (the batch system cannot be asked), "pending",
        "running" or "ended".
    succeeded : bool or None
        What SLURM says of an ended job: True if the exit code was 0, False if it was another one,
        None if SLURM does not say.
    detail : str
        What is known of the end of the jobs, for people.
    """

    state: str
    succeeded: bool | None = None
    detail: str = ""


def read_queue(shell: Sequence[str] = ()) -> SlurmQueue | None:
    """Ask a SLURM for the jobs of this user.

    Parameters
    ----------
    shell : sequence of str, optional
        The remote shell that leads to the SLURM, if it is on another machine.

    Returns
    -------
    SlurmQueue or None
        None if there is no SLURM, or if it does not answer.
    """
    name = slurm.cluster_name(shell)
    states = None if name is None else slurm.jobs_of_user(shell)
    return None if name is None or states is None else SlurmQueue(name, states)


def status_of_jobs(
    jobs: Sequence[SubmittedJob], queue: SlurmQueue | None, over: bool = False
) -> JobStatus:
    """Return the common state of the jobs of a pset.

    Parameters
    ----------
    jobs : sequence of SubmittedJob
        All jobs that were submitted for the pset.
    queue : SlurmQueue or None
        Must be read after `jobs`, so that it contains them all. None if SLURM cannot be asked.
    over : bool, optional
        The user says that no job is pending or running any more.

    Examples
    --------
    >>> queue = SlurmQueue("lab", {"7": JobState("CANCELLED")})
    >>> status_of_jobs([SubmittedJob("lab", "7")], queue).detail
    'SLURM says that 7 is CANCELLED'
    >>> status_of_jobs([SubmittedJob("other", "7")], queue).state
    'submitted'
    """
    if not jobs:
        return JobStatus(NOT_SUBMITTED)
    if over:
        return JobStatus(ENDED, detail="the user says that no job is pending or running")
    if queue is None:
        return JobStatus(SUBMITTED)
    known = {job.job_id: queue.states.get(job.job_id) for job in jobs if job.slurm == queue.slurm}
    states = [state for state in known.values() if state is not None]
    # While a job is COMPLETING, its processes may still be there.
    if any(state.runs or state.state == "COMPLETING" for state in states):
        return JobStatus(RUNNING)
    if any(state.waits for state in states):
        return JobStatus(PENDING)
    if any(job.slurm != queue.slurm for job in jobs):
        return JobStatus(SUBMITTED)
    ends = {state.state for state in states}
    succeeded = True if "COMPLETED" in ends else False if "FAILED" in ends else None
    detail = ", ".join(
        f"{job_id} is {'unknown' if state is None else state.state}"
        for job_id, state in known.items()
    )
    return JobStatus(ENDED, succeeded, f"SLURM says that {detail}")
