"""How many jobs a run should have: a pure policy, fed with what queue and scheduler know.

Jobs that end, fail or never start are replaced while psets are left. The more jobs in a row bring
no worker, the longer the pause before the next. There are never more jobs than the psets can fill,
nor than the user allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from psweep_dask.hpc.slurm import ENDED, JobState

MAX_FAILURES = 3
"""After so many jobs in a row without a worker, refused ones included, no more are submitted."""

MAX_PAUSE_SECONDS = 60.0
"""The longest pause before another job is submitted when jobs fail."""

CONNECT_SECONDS = 300.0
"""A worker of a running job has so long to connect, or to come back: on a busy file system it may
take minutes to import Python's modules."""

SHORT_JOB_SECONDS = 30.0
"""Jobs that end sooner than that after their start are replaced with a pause."""

ABSENCE_SECONDS = 60.0
"""Where no queue can be asked, a job that has had no worker for so long counts as ended."""


@dataclass
class WorkerJob:
    """A job that was submitted."""

    job_id: str
    name: str  # the names of its workers begin with it
    last_seen: float  # when a worker was last connected; at first, when it was submitted
    state: JobState | None = None  # what the queue has answered last
    running_since: float | None = None  # when the queue first said that it runs
    had_worker: bool = False
    first_seen: float = 0.0  # when its first worker connected
    leaving: bool = False  # it was cancelled, or its workers leave when they are idle


@dataclass(frozen=True)
class JobLoad:
    """What the workers of a job that are connected have to do."""

    idle: bool = False  # none of them has anything to do
    leaving: bool = False  # none of them takes anything more


@dataclass
class JobActions:
    """What is to be done now."""

    submit: int = 0  # number of new jobs
    cancel: list[WorkerJob] = field(default_factory=list)
    retire: list[WorkerJob] = field(default_factory=list)  # finish what they run, and leave


class ScalingPolicy:
    """Decides on the jobs of one run.

    Parameters
    ----------
    max_jobs : int
        Number of jobs at the same time, at most.
    slots_per_job : int
        Number of psets that run in one job at the same time.

    Examples
    --------
    >>> policy = ScalingPolicy(max_jobs=10, slots_per_job=4)
    >>> policy.decide(now=0.0, left=9, states={}, loads={}).submit
    3
    """

    def __init__(self, max_jobs: int, slots_per_job: int) -> None:
        self.max_jobs = max_jobs
        self.slots_per_job = slots_per_job
        self._not_before = -math.inf
        self._short_jobs = 0
        self.jobs: list[WorkerJob] = []  # that have not ended
        self.without_worker: list[WorkerJob] = []  # that ended so, since a worker last connected
        self.refusals: list[str] = []  # of the batch system, since it last took a job

    @property
    def given_up(self) -> bool:
        """Whether no worker will come any more."""
        failures = len(self.without_worker) + len(self.refusals)
        return failures >= MAX_FAILURES and not any(job.had_worker for job in self.jobs)

    def jobs_for(self, left: int) -> int:
        """Return how many jobs so many psets can fill."""
        return min(self.max_jobs, math.ceil(left / self.slots_per_job))

    def add_submitted(self, job: WorkerJob) -> None:
        """Remember a job that the batch system has taken."""
        self.refusals.clear()
        self.jobs.append(job)
        self._pause(job.last_seen)  # the next one waits, too: this one may fail as others did

    def add_refused(self, now: float, reason: str) -> None:
        """Remember that the batch system has refused a job."""
        self.refusals.append(reason)
        self._pause(now)

    def decide(
        self,
        now: float,
        left: int,
        states: Mapping[str, JobState] | None,
        loads: Mapping[str, JobLoad],
    ) -> JobActions:
        """Decide what to do.

        Parameters
        ----------
        now : float
            In seconds.
        left : int
            Number of psets that have not finished.
        states : Mapping or None
            What the queue answers, by job id; None if it does not answer.
        loads : Mapping
            By name of the job; jobs that have no worker connected are not in it.
        """
        actions = JobActions()
        for job in list(self.jobs):
            self._update(job, now, states, loads.get(job.name), actions)
        useful = [job for job in self.jobs if not job.leaving]
        needed = self.jobs_for(left)
        if len(useful) > needed:
            _shrink(useful, len(useful) - needed, loads, actions)
        elif now >= self._not_before and not self.given_up:
            room = min(needed - len(useful), self.max_jobs - len(self.jobs))
            failing = bool(self.without_worker or self.refusals)
            actions.submit = min(room, 1) if failing else room
        return actions

    def _update(
        self,
        job: WorkerJob,
        now: float,
        states: Mapping[str, JobState] | None,
        load: JobLoad | None,
        actions: JobActions,
    ) -> None:
        if states is not None:
            job.state = states.get(job.job_id, ENDED)
            if job.state.runs and job.running_since is None:
                job.running_since = now
        if load is not None:
            if not job.had_worker:
                self.without_worker.clear()
                job.first_seen = now
            job.had_worker, job.last_seen = True, now
            job.leaving = job.leaving or load.leaving
        elif _has_ended(job, now):
            self._remove_ended(job, now)
        elif not job.leaving:
            waited = now - max(job.running_since or now, job.last_seen)
            if waited > CONNECT_SECONDS:
                job.leaving = True
                actions.cancel.append(job)

    def _remove_ended(self, job: WorkerJob, now: float) -> None:
        self.jobs.remove(job)
        ran = now - (job.running_since or now)
        if not job.had_worker and (ran > CONNECT_SECONDS or not job.leaving):
            self.without_worker.append(job)
            self._pause(now)
        elif job.had_worker and not job.leaving:
            self._short_jobs = self._short_jobs + 1 if ran < SHORT_JOB_SECONDS else 0
            if self._short_jobs:
                self._pause(now)

    def _pause(self, now: float) -> None:
        failures = len(self.without_worker) + len(self.refusals) + self._short_jobs
        self._not_before = now + min(MAX_PAUSE_SECONDS, 2.0**failures) if failures else now


def _has_ended(job: WorkerJob, now: float) -> bool:
    if job.state is not None:
        return not job.state.waits and not job.state.runs
    return job.had_worker and now - job.last_seen > ABSENCE_SECONDS


def _shrink(
    useful: list[WorkerJob], count: int, loads: Mapping[str, JobLoad], actions: JobActions
) -> None:
    """Cancel jobs without a worker, the newest first; then retire those that are idle."""
    without_worker = [job for job in reversed(useful) if job.name not in loads][:count]
    idle = [job for job in useful if job.name in loads and loads[job.name].idle]
    actions.cancel += without_worker
    actions.retire += idle[: count - len(without_worker)]
    for job in (*without_worker, *actions.retire):
        job.leaving = True
