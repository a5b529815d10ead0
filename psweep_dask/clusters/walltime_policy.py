"""Which workers may begin another slice before their walltime: a pure policy.

It has no clock and knows no scheduler: it is fed with times in seconds, and with what the scheduler
sees of each worker. `psweep_dask.clusters.walltime` feeds it and carries out what it decides; a
timeline stands there.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psweep_dask.worker.failures import WalltimeLoss

LEAVE_SECONDS = 2.0
"""A worker needs so long to leave; SLURM's clock and ours may also differ by that much."""

HEARTBEAT_SECONDS = 10.0
"""So long after a worker was paused, its heartbeats have told which tasks it had begun before."""

DURATIONS_KEPT = 200
"""The durations of so many slices, the latest ones, tell how long the next ones take."""

LOSS_SECONDS = 3.0
"""A worker that is lost less than so many seconds before the end of its job was ended by the
walltime."""

FRESH_SECONDS = 10.0
"""A worker that is younger has as much walltime left as any new one would have. So it may begin any
slice: if it were sent away, its successors would be sent away as well."""


@dataclass(frozen=True)
class JobLifetime:
    """When the walltime of a job is over, and how long it is in seconds."""

    end: float
    walltime: float


@dataclass
class WorkerLifetime:
    """When a worker was there."""

    name: str  # for dask; begins with the name of its job
    began: float  # when it connected
    lost: float | None = None
    paused: float | None = None  # when it was told to begin nothing more


@dataclass(frozen=True)
class WorkerLoad:
    """What a worker has to do now."""

    running: bool = True  # it is not paused, and not closing
    idle: bool = False  # it has no task, and no result that is still to be fetched
    free: bool = False  # it has fewer tasks than threads


@dataclass
class WorkerActions:
    """What is to be done with workers, given by their addresses."""

    pause: list[str] = field(default_factory=list)  # are to begin nothing more
    close: list[str] = field(default_factory=list)
    take_back: list[str] = field(default_factory=list)  # what these have not begun


class WalltimePolicy:
    """Knows how long each worker will be there, and how long slices take.

    All times are in seconds, from any clock that does not jump.

    Parameters
    ----------
    timeout : float, optional
        Seconds that a pset may take.

    Attributes
    ----------
    jobs : dict of str to JobLifetime
        By name of the job; "" stands for the one job in which all workers are.

    Examples
    --------
    >>> policy = WalltimePolicy()
    >>> policy.jobs["r-0"] = JobLifetime(end=60.0, walltime=60.0)
    >>> policy.add_worker("tcp://w", "r-0", now=3.0)
    >>> policy.record_duration(8.0)
    >>> policy.decide(49.0, {"tcp://w": WorkerLoad()}).pause
    []
    >>> policy.decide(51.0, {"tcp://w": WorkerLoad()}).pause
    ['tcp://w']
    """

    def __init__(self, timeout: float | None = None) -> None:
        self._timeout = math.inf if timeout is None else timeout
        self._workers: dict[str, WorkerLifetime] = {}
        self._tasks: dict[Any, tuple[str, float]] = {}
        self._durations: deque[float] = deque(maxlen=DURATIONS_KEPT)
        self._needed = 0.0
        self._wanted = 0.0
        self.jobs: dict[str, JobLifetime] = {}

    def add_worker(self, worker: str, name: str, now: float) -> None:
        """Remember that a worker has connected, by its address and its name."""
        self._workers[worker] = WorkerLifetime(name, now)

    def lose_worker(self, worker: str, now: float) -> None:
        """Remember that a worker has gone."""
        if worker in self._workers:
            self._workers[worker].lost = now

    def add_task(self, key: Any, worker: str, now: float) -> None:
        """Remember that a task has gone to a worker."""
        self._tasks[key] = (worker, now)

    def drop_task(self, key: Any) -> None:
        """Forget a task that is over."""
        self._tasks.pop(key, None)

    def record_duration(self, seconds: float) -> None:
        """Remember how long a slice has run.

        A worker needs as long as nine of ten of the latest slices took, and at most the timeout.
        To keep the longest of all slices in mind would waste most of the walltime.
        """
        self._durations.append(seconds)
        durations = sorted(self._durations)
        self._needed = min(durations[int(0.9 * len(durations))], self._timeout)

    def add_job(self, job: str) -> None:
        """Know a job by its name. Until `jobs` has its lifetime, it has no end."""
        self.jobs.setdefault(job, JobLifetime(math.inf, math.inf))

    def retire_job(self, job: str) -> None:
        """Have the workers of a job finish what they run, and leave."""
        self.jobs[job] = JobLifetime(-math.inf, math.inf)

    def job_of(self, worker_name: str) -> str:
        """Return the name of the job of a worker.

        Where a job has several workers, their names end in a number of their own.
        """
        if "" in self.jobs:
            return ""
        return worker_name if worker_name in self.jobs else worker_name.rpartition("-")[0]

    def long_lived(
        self, seconds: float, now: float, workers: Mapping[str, WorkerLoad]
    ) -> list[str]:
        """Return the free workers that have so many seconds left, or are fresh.

        If no worker has, free or not, `decide` sends idle workers away, to be replaced.
        """
        fit = [
            address
            for address, load in workers.items()
            if load.running
            and address in self._workers  # else it is just connecting
            and self._is_fit(self._workers[address], seconds, now)
        ]
        self._wanted = 0.0 if fit else seconds
        return [address for address in fit if workers[address].free]

    def decide(self, now: float, workers: Mapping[str, WorkerLoad]) -> WorkerActions:
        """Decide what is to be done with the workers that are connected.

        A worker with too little time left is first paused. When it is idle, it is closed. While it
        is busy, others get the tasks that it has not begun.
        """
        actions = WorkerActions()
        for address, load in workers.items():
            worker = self._workers[address]
            needed = max(self._needed, self._wanted) if load.idle else self._needed
            if self._is_fit(worker, needed, now):
                continue
            if load.running:
                worker.paused = now
                actions.pause.append(address)
            elif load.idle:
                actions.close.append(address)
            elif worker.paused is not None and now - worker.paused > HEARTBEAT_SECONDS:
                actions.take_back.append(address)
        return actions

    def nearly_over(self, now: float) -> bool:
        """Return whether the one job of all workers is too near its end for another slice."""
        job = self.jobs.get("")
        return job is not None and job.end - now < self._needed + LEAVE_SECONDS

    def pop_walltime_loss(self, key: Any) -> WalltimeLoss | None:
        """Return how a walltime has ended the worker of a lost task, and forget the task.

        None if something else has ended the worker, or if it lives.
        """
        address, begun = self._tasks.pop(key, ("", 0.0))
        worker = self._workers.get(address)
        if worker is None or worker.lost is None:
            return None
        job = self.jobs.get(self.job_of(worker.name))
        if job is None or worker.lost < job.end - LOSS_SECONDS:
            return None
        return WalltimeLoss(worker.lost - begun, worker.lost - worker.began, job.walltime)

    def _is_fit(self, worker: WorkerLifetime, needed: float, now: float) -> bool:
        """Return whether a worker has the time for something that takes `needed` seconds."""
        job = self.jobs.get(self.job_of(worker.name))
        left = math.inf if job is None else job.end - now
        is_fresh = now - worker.began < FRESH_SECONDS and left > LEAVE_SECONDS
        return is_fresh or left >= needed + LEAVE_SECONDS
