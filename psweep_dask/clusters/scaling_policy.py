"""How many jobs a run should have: a pure policy, fed with what queue and scheduler tell.

Jobs that end, fail or never start are replaced under fresh names while psets remain, more slowly
the more of them bring nothing. There are no more jobs than work, nor than the user allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from psweep_dask.hpc.slurm import ENDED, JobState

GIVE_UP = 3
"""After so many jobs in a row that never brought a worker, no more are submitted."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries when jobs fail, at most."""

CONNECT = 300.0
"""Seconds in which a worker of a running job has to connect, or to come back: on a busy file
system it may take minutes to import Python."""

SHORT_LIFE = 30.0
"""Seconds. Jobs that end sooner than that after their start are not replaced in a rush."""

SILENCE = 60.0
"""Seconds after which a job without workers is taken for ended, where no queue can be asked."""


@dataclass
class WorkerJob:
    """A job that was submitted.

    Parameters
    ----------
    job_id : str
    name : str
        Its workers have it, too.
    state : JobState or None
        What the queue told last.
    running_since : float or None
    brought : bool
        Whether a worker of it has connected.
    last_seen : float
        When a worker of it was connected, or the job was submitted.
    first_seen : float
        When the first worker of it had connected.
    leaving : bool
        It was told to finish what it has and leave, or was cancelled.
    """

    job_id: str
    name: str
    last_seen: float
    state: JobState | None = None
    running_since: float | None = None
    brought: bool = False
    first_seen: float = 0.0
    leaving: bool = False


@dataclass(frozen=True)
class Present:
    """The workers of a job that are connected.

    Parameters
    ----------
    idle : bool
        None of them has anything to do.
    leaving : bool
        None of them takes anything more.
    """

    idle: bool = False
    leaving: bool = False


@dataclass
class Orders:
    """What is to be done now.

    Parameters
    ----------
    submit : int
        So many new jobs.
    cancel : list of WorkerJob
    retire : list of WorkerJob
        Their workers finish what they have and leave.
    """

    submit: int = 0
    cancel: list[WorkerJob] = field(default_factory=list)
    retire: list[WorkerJob] = field(default_factory=list)


class ScalingPolicy:
    """Decides on the jobs of one run.

    Parameters
    ----------
    most : int
        Jobs at the same time, at most.
    slots : int
        Psets that run in one job at the same time.

    Examples
    --------
    >>> policy = ScalingPolicy(most=10, slots=4)
    >>> policy.orders(now=0.0, left=9, states={}, present={}).submit
    3
    """

    def __init__(self, most: int, slots: int) -> None:
        self._most = most
        self._slots = slots
        self._not_before = -math.inf
        self._short_lives = 0
        self.jobs: list[WorkerJob] = []
        """Those that have not ended."""
        self.without_workers: list[WorkerJob] = []
        """Those in a row that ended and never brought a worker."""
        self.refusals: list[str] = []
        """Why the batch system has not taken jobs, in a row."""

    @property
    def given_up(self) -> bool:
        """Whether no worker will come any more."""
        tries = len(self.without_workers) + len(self.refusals)
        return tries >= GIVE_UP and not any(job.brought for job in self.jobs)

    def needed(self, left: int) -> int:
        """Tell how many jobs so many psets can fill."""
        return min(self._most, math.ceil(left / self._slots))

    def submitted(self, job: WorkerJob) -> None:
        """Take note of a job that the batch system has taken."""
        self.refusals.clear()
        self.jobs.append(job)
        self._pause(job.last_seen)  # one that follows waits as well: this one may fail like others

    def refused(self, now: float, why: str) -> None:
        """Take note that the batch system has not taken a job."""
        self.refusals.append(why)
        self._pause(now)

    def orders(
        self,
        now: float,
        left: int,
        states: Mapping[str, JobState] | None,
        present: Mapping[str, Present],
    ) -> Orders:
        """Decide what to do.

        Parameters
        ----------
        now : float
            In seconds.
        left : int
            Psets that have not finished.
        states : Mapping or None
            What the queue tells, by job id; None if it does not answer.
        present : Mapping
            By name of the job; without those that have no worker connected.
        """
        orders = Orders()
        for job in list(self.jobs):
            self._look_at(job, now, states, present.get(job.name), orders)
        useful = [job for job in self.jobs if not job.leaving]
        needed = self.needed(left)
        if len(useful) > needed:
            self._shrink(useful, len(useful) - needed, present, orders)
        elif now >= self._not_before and not self.given_up:
            room = min(needed - len(useful), self._most - len(self.jobs))
            trying = bool(self.without_workers or self.refusals)
            orders.submit = min(room, 1) if trying else room
        return orders

    def _look_at(
        self,
        job: WorkerJob,
        now: float,
        states: Mapping[str, JobState] | None,
        present: Present | None,
        orders: Orders,
    ) -> None:
        if states is not None:
            job.state = states.get(job.job_id, ENDED)
            if job.state.runs and job.running_since is None:
                job.running_since = now
        if present is not None:
            if not job.brought:
                self.without_workers.clear()
                job.first_seen = now
            job.brought, job.last_seen = True, now
            job.leaving = job.leaving or present.leaving
        elif self._has_ended(job, now):
            self._bury(job, now)
        elif not job.leaving and now - max(job.running_since or now, job.last_seen) > CONNECT:
            job.leaving = True
            orders.cancel.append(job)

    def _has_ended(self, job: WorkerJob, now: float) -> bool:
        if job.state is not None:
            return not job.state.waits and not job.state.runs
        return job.brought and now - job.last_seen > SILENCE

    def _bury(self, job: WorkerJob, now: float) -> None:
        self.jobs.remove(job)
        ran = now - (job.running_since or now)
        if not job.brought and (ran > CONNECT or not job.leaving):
            self.without_workers.append(job)
            self._pause(now)
        elif job.brought and not job.leaving:
            self._short_lives = self._short_lives + 1 if ran < SHORT_LIFE else 0
            if self._short_lives:
                self._pause(now)

    def _pause(self, now: float) -> None:
        tries = len(self.without_workers) + len(self.refusals) + self._short_lives
        self._not_before = now + min(LONGEST_PAUSE, 2.0**tries) if tries else now

    def _shrink(
        self, useful: list[WorkerJob], count: int, present: Mapping[str, Present], orders: Orders
    ) -> None:
        """Let go of what has not begun, the newest first, and of what has nothing to do."""
        without_worker = [job for job in reversed(useful) if job.name not in present][:count]
        for job in without_worker:
            job.leaving = True
            orders.cancel.append(job)
        idle = [job for job in useful if job.name in present and present[job.name].idle]
        for job in idle[: count - len(without_worker)]:
            job.leaving = True
            orders.retire.append(job)
