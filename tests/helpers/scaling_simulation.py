"""A discrete-event simulation of the fleet policy: a batch system whose jobs meet any fate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from psweep_dask.clusters.scaling_policy import (
    GIVE_UP,
    LONGEST_PAUSE,
    Orders,
    Present,
    ScalingPolicy,
    WorkerJob,
)
from psweep_dask.hpc.slurm import JobState

BEGINNING = 1000.0
REMEMBERED = 300.0  # seconds for which the queue knows a job that has ended
FOREVER = 50_000  # looks after which a run that does not end is stuck


@dataclass(frozen=True)
class Fate:
    """What becomes of a job.

    It waits so long, needs so long until its workers connect (None: they never do), and ends so
    long after its start. If it is drained, its workers take nothing that would not fit in.
    """

    pending: float = 0.0
    connects: float | None = 3.0
    life: float = 300.0
    drained: bool = True
    refused: bool = False


GOOD = Fate()


@dataclass
class BatchJob:
    """A job as the batch system knows it."""

    job_id: str
    name: str
    submitted: float
    fate: Fate
    ended: float | None = None
    came: bool = False
    retired: bool = False
    told: bool = False
    running: list[float] = field(default_factory=list)

    @property
    def start(self) -> float:
        return self.submitted + self.fate.pending

    def state(self, now: float) -> JobState:
        if self.ended is not None:
            return JobState("COMPLETED" if self.came else "FAILED")
        return JobState("RUNNING" if now >= self.start else "PENDING")


class World:
    """A batch system, and the psets that its jobs run, each for so many seconds.

    Every look checks what must hold at all times.
    """

    def __init__(
        self,
        most: int,
        slots: int,
        psets: int,
        seconds: float = 5.0,
        fates: Sequence[Fate] = (),
        deaf: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.policy = ScalingPolicy(most, slots)
        self.most, self.slots, self.seconds = most, slots, seconds
        self.waiting = psets
        self.fates = list(fates)
        self.deaf = [range(start, start + length) for start, length in deaf]
        self.looks = 0
        self.jobs: list[BatchJob] = []
        self.submissions: list[float] = []
        self.without_workers = 0
        self.refusals = 0
        self.short_since = self.now

    @property
    def now(self) -> float:
        return BEGINNING + self.looks

    @property
    def alive(self) -> list[BatchJob]:
        return [job for job in self.jobs if job.ended is None]

    @property
    def left(self) -> int:
        return self.waiting + sum(len(job.running) for job in self.alive)

    def run(self) -> None:
        """Go on until all psets are done, or no worker will come any more."""
        while self.left and not self.policy.given_up:
            self.look()
            assert self.looks < FOREVER
        if self.policy.given_up:
            assert self.without_workers + self.refusals >= GIVE_UP
            assert not any(job.came for job in self.alive)
        else:
            self.look()
            assert all(job.leaving for job in self.policy.jobs)

    def look(self) -> Orders:
        """Let a second pass, and do what the policy orders."""
        self.looks += 1
        present = self._pass()
        states = None if any(self.looks in silence for silence in self.deaf) else self._states()
        before = len(self.policy.jobs)
        orders = self.policy.orders(self.now, self.left, states, present)
        if len(self.policy.jobs) < before:
            self.short_since = self.now
        known = {job.job_id for job in self.policy.jobs}
        assert {job.job_id for job in self.alive} <= known  # none is forgotten that lives
        self._check_need(orders, present)
        for _ in range(orders.submit):
            self._submit()
        for job in orders.cancel:
            self._end(self._find(job))
        for job in orders.retire:
            self._find(job).retired = True
        assert len(self.alive) <= self.most
        return orders

    def _pass(self) -> dict[str, Present]:
        present = {}
        for job in self.alive:
            age = self.now - job.start
            if age >= job.fate.life:
                self._end(job)
            elif job.fate.connects is not None and age >= job.fate.connects:
                if not job.came:
                    self.without_workers = 0
                job.came = True
                present[job.name] = self._work(job, job.fate.life - age)
                if job.retired and not job.running:
                    self._end(job)
        return present

    def _work(self, job: BatchJob, life: float) -> Present:
        job.running = [end for end in job.running if end > self.now]
        leaving = job.retired or (job.fate.drained and life < self.seconds)
        while not leaving and self.waiting and len(job.running) < self.slots:
            self.waiting -= 1
            job.running.append(self.now + self.seconds)
        return Present(idle=not job.running, leaving=leaving)

    def _states(self) -> dict[str, JobState]:
        states = {}
        for job in self.jobs:
            if job.ended is not None and not job.told:
                job.told = True
                self.without_workers += not job.came
            if job.ended is None or self.now - job.ended < REMEMBERED:
                states[job.job_id] = job.state(self.now)
        return states

    def _check_need(self, orders: Orders, present: dict[str, Present]) -> None:
        """There are no more jobs than work, unless they are at it; and no fewer for long."""
        needed = min(self.most, math.ceil(self.left / self.slots))
        useful = [job for job in self.policy.jobs if not job.leaving]
        if len(useful) + orders.submit > needed:
            assert not orders.submit
            assert all(job.name in present and not present[job.name].idle for job in useful)
        short = len(useful) < needed and len(self.policy.jobs) < self.most
        if orders.submit or not short or self.policy.given_up:
            self.short_since = self.now
        assert self.now - self.short_since <= LONGEST_PAUSE + 1

    def _submit(self) -> None:
        fate = self.fates.pop(0) if self.fates else GOOD
        self.submissions.append(self.now)
        if fate.refused:
            self.refusals += 1
            self.policy.refused(self.now, "no")
            return
        self.refusals = 0
        number = len(self.jobs)
        job = BatchJob(str(100 + number), f"r-{number}", self.now, fate)
        self.jobs.append(job)
        self.policy.submitted(WorkerJob(job.job_id, job.name, self.now))

    def _find(self, wanted: WorkerJob) -> BatchJob:
        return next(job for job in self.jobs if job.job_id == wanted.job_id)

    def _end(self, job: BatchJob) -> None:
        job.ended = self.now
        self.waiting += len(job.running)
        job.running.clear()
