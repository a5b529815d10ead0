"""A discrete-event simulation of the scaling policy: a batch system whose jobs may do anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from psweep_dask.clusters.scaling_policy import (
    MAX_FAILURES,
    MAX_PAUSE_SECONDS,
    JobActions,
    JobLoad,
    ScalingPolicy,
    WorkerJob,
)
from psweep_dask.hpc.slurm import JobState

START = 1000.0
REMEMBERED = 300.0  # seconds for which the queue knows a job that has ended
MAX_LOOKS = 50_000  # a run that has not ended by then is stuck


@dataclass(frozen=True)
class Behavior:
    """What a job does, in seconds.

    It is pending for some time; its workers connect some time after its start (None: they never
    do); and it ends so long after its start as `life` says. If it is drained, its workers take
    nothing that would not fit into that.
    """

    pending: float = 0.0
    connects: float | None = 3.0
    life: float = 300.0
    drained: bool = True
    refused: bool = False


GOOD = Behavior()


@dataclass
class BatchJob:
    """A job as the batch system knows it."""

    job_id: str
    name: str
    submitted: float
    behavior: Behavior
    ended: float | None = None
    came: bool = False
    retired: bool = False
    told: bool = False
    running: list[float] = field(default_factory=list)

    @property
    def start(self) -> float:
        return self.submitted + self.behavior.pending

    def state(self, now: float) -> JobState:
        if self.ended is not None:
            return JobState("COMPLETED" if self.came else "FAILED")
        return JobState("RUNNING" if now >= self.start else "PENDING")


class World:
    """A batch system, and the psets that its jobs run, each for so many seconds.

    Each look checks what must hold at all times. In the looks that `silent` lists, as first look
    and number of looks, the batch system does not answer.
    """

    def __init__(
        self,
        max_jobs: int,
        slots: int,
        psets: int,
        seconds: float = 5.0,
        behaviors: Sequence[Behavior] = (),
        silent: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.policy = ScalingPolicy(max_jobs, slots)
        self.max_jobs, self.slots, self.seconds = max_jobs, slots, seconds
        self.waiting = psets
        self.behaviors = list(behaviors)
        self.silent = [range(start, start + length) for start, length in silent]
        self.looks = 0
        self.jobs: list[BatchJob] = []
        self.submissions: list[float] = []
        self.without_workers = 0
        self.refusals = 0
        self.short_since = self.now

    @property
    def now(self) -> float:
        return START + self.looks

    @property
    def alive(self) -> list[BatchJob]:
        return [job for job in self.jobs if job.ended is None]

    @property
    def left(self) -> int:
        return self.waiting + sum(len(job.running) for job in self.alive)

    def run(self) -> None:
        """Look until all psets are done, or no worker will come any more."""
        while self.left and not self.policy.given_up:
            self.look()
            assert self.looks < MAX_LOOKS
        if self.policy.given_up:
            assert self.without_workers + self.refusals >= MAX_FAILURES
            assert not any(job.came for job in self.alive)
        else:
            self.look()
            assert all(job.leaving for job in self.policy.jobs)

    def look(self) -> JobActions:
        """Let a second pass, and do what the policy decides."""
        self.looks += 1
        loads = self._pass()
        states = None if any(self.looks in looks for looks in self.silent) else self._states()
        before = len(self.policy.jobs)
        actions = self.policy.decide(self.now, self.left, states, loads)
        if len(self.policy.jobs) < before:
            self.short_since = self.now
        known = {job.job_id for job in self.policy.jobs}
        assert {job.job_id for job in self.alive} <= known  # no job that runs is forgotten
        self._check_need(actions, loads)
        for _ in range(actions.submit):
            self._submit()
        for job in actions.cancel:
            self._end(self._find(job))
        for job in actions.retire:
            self._find(job).retired = True
        assert len(self.alive) <= self.max_jobs
        return actions

    def _pass(self) -> dict[str, JobLoad]:
        loads = {}
        for job in self.alive:
            age = self.now - job.start
            if age >= job.behavior.life:
                self._end(job)
            elif job.behavior.connects is not None and age >= job.behavior.connects:
                if not job.came:
                    self.without_workers = 0
                job.came = True
                loads[job.name] = self._work(job, job.behavior.life - age)
                if job.retired and not job.running:
                    self._end(job)
        return loads

    def _work(self, job: BatchJob, life: float) -> JobLoad:
        job.running = [end for end in job.running if end > self.now]
        leaving = job.retired or (job.behavior.drained and life < self.seconds)
        while not leaving and self.waiting and len(job.running) < self.slots:
            self.waiting -= 1
            job.running.append(self.now + self.seconds)
        return JobLoad(idle=not job.running, leaving=leaving)

    def _states(self) -> dict[str, JobState]:
        states = {}
        for job in self.jobs:
            if job.ended is not None and not job.told:
                job.told = True
                self.without_workers += not job.came
            if job.ended is None or self.now - job.ended < REMEMBERED:
                states[job.job_id] = job.state(self.now)
        return states

    def _check_need(self, actions: JobActions, loads: dict[str, JobLoad]) -> None:
        """There are no more jobs than work, unless they are at it; and no fewer for long."""
        needed = min(self.max_jobs, math.ceil(self.left / self.slots))
        useful = [job for job in self.policy.jobs if not job.leaving]
        if len(useful) + actions.submit > needed:
            assert not actions.submit
            assert all(job.name in loads and not loads[job.name].idle for job in useful)
        short = len(useful) < needed and len(self.policy.jobs) < self.max_jobs
        if actions.submit or not short or self.policy.given_up:
            self.short_since = self.now
        assert self.now - self.short_since <= MAX_PAUSE_SECONDS + 1

    def _submit(self) -> None:
        behavior = self.behaviors.pop(0) if self.behaviors else GOOD
        self.submissions.append(self.now)
        if behavior.refused:
            self.refusals += 1
            self.policy.add_refused(self.now, "no")
            return
        self.refusals = 0
        number = len(self.jobs)
        job = BatchJob(str(100 + number), f"r-{number}", self.now, behavior)
        self.jobs.append(job)
        self.policy.add_submitted(WorkerJob(job.job_id, job.name, self.now))

    def _find(self, wanted: WorkerJob) -> BatchJob:
        return next(job for job in self.jobs if job.job_id == wanted.job_id)

    def _end(self, job: BatchJob) -> None:
        job.ended = self.now
        self.waiting += len(job.running)
        job.running.clear()
