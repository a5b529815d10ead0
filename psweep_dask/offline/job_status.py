"""The state of a pset's batch jobs, as the batch system sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from psweep_dask.hpc import slurm
from psweep_dask.hpc.slurm import JobState
from psweep_dask.offline.submissions import SubmittedJob


class SlurmQueue(NamedTuple):
    """The name of a SLURM, and the states of this user's jobs there, by job id."""

    slurm: str
    states: Mapping[str, JobState]


class JobStatus(NamedTuple):
    """The state of all jobs of a pset, taken together.

    Parameters
    ----------
    state : str
        "submitted" means that the batch system cannot be asked.
    succeeded : bool or None
        Whether SLURM says that the exit code was 0; None if it does not say.
    detail : str
        What is known of the end of the jobs, for people.
    """

    state: Literal["not known to be submitted", "submitted", "pending", "running", "ended"]
    succeeded: bool | None = None
    detail: str = ""


def read_queue(shell: Sequence[str] = ()) -> SlurmQueue | None:
    """Ask a SLURM for the jobs of this user; None if there is no SLURM, or if it does not answer.

    If it is on another machine, `shell` has the words of the remote shell that leads there.
    """
    name = slurm.cluster_name(shell)
    states = None if name is None else slurm.jobs_of_user(shell)
    return None if name is None or states is None else SlurmQueue(name, states)


def status_of_jobs(
    jobs: Sequence[SubmittedJob], queue: SlurmQueue | None, over: bool = False
) -> JobStatus:
    """Return the common state of all jobs that were submitted for a pset.

    The queue must be read after `jobs`, so that it contains them all. It is None if SLURM cannot
    be asked. With `over`, the user says that no job is pending or running any more.
    """
    if not jobs:
        return JobStatus("not known to be submitted")
    if over:
        return JobStatus("ended", detail="the user says that no job is pending or running")
    if queue is None:
        return JobStatus("submitted")
    known = {job.job_id: queue.states.get(job.job_id) for job in jobs if job.slurm == queue.slurm}
    states = [state for state in known.values() if state is not None]
    # While a job is COMPLETING, its processes may still be there.
    if any(state.runs or state.state == "COMPLETING" for state in states):
        return JobStatus("running")
    if any(state.waits for state in states):
        return JobStatus("pending")
    if any(job.slurm != queue.slurm for job in jobs):
        return JobStatus("submitted")
    ends = {state.state for state in states}
    succeeded = True if "COMPLETED" in ends else False if "FAILED" in ends else None
    detail = ", ".join(
        f"{job_id} is {state.state if state else 'unknown'}" for job_id, state in known.items()
    )
    return JobStatus("ended", succeeded, f"SLURM says that {detail}")
