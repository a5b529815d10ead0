"""How long workers will live: no pset begins on one whose walltime would cut it off.

A plugin of the scheduler that runs in this process. It knows for each worker when its job ends. A
worker that is too near its end for what slices take is given nothing more, finishes what it has,
and leaves.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distributed import Scheduler, SchedulerPlugin, Status
from distributed.deploy import SpecCluster
from distributed.scheduler import WorkerState
from tornado.ioloop import PeriodicCallback

from psweep_dask.clusters.plugins import KEY_MARK
from psweep_dask.clusters.workers import Resources, slots_of, total_slots
from psweep_dask.worker.failures import WalltimeLoss

INTERVAL = 0.25
"""Seconds between two looks at the workers."""

MARGIN = 2.0
"""Seconds that a worker needs for its leave, and that SLURM's clock may differ from ours."""

SETTLED = 10.0
"""Seconds after which it is known what a worker was running when it was told to begin no more:
its heartbeats tell."""

SAMPLE = 200
"""So many of the latest slices tell how long such psets take."""

LATE = 3.0
"""Seconds before the end of its job in which a loss is put down to the walltime."""

FRESH = 10.0
"""Seconds after its start in which a worker lives as long as any other that could be had. So it
may begin whatever there is: were it sent away, its successors would be as well."""


@dataclass
class WorkerLifetime:
    """What is known of a worker.

    Parameters
    ----------
    name : str
        As dask knows it; that of its job comes first in it.
    began : float
        When it connected, as `time.monotonic` tells.
    lost : float or None
        When it left.
    """

    name: str
    began: float
    lost: float | None = None


@dataclass(frozen=True)
class JobLifetime:
    """When the walltime of a job is over, and how long it is in seconds."""

    end: float
    walltime: float


class WalltimePlugin(SchedulerPlugin):
    """Watches over the lives of the workers of one scheduler in this process.

    Parameters
    ----------
    resources : Mapping
        What a pset asks of a worker.
    timeout : float, optional
        Seconds that a pset may take.
    """

    name = "psweep_dask-lifetimes"

    def __init__(self, resources: Resources, timeout: float | None = None) -> None:
        self._wake: Callable[[], object] = lambda: None
        self._resources = resources
        self._timeout = math.inf if timeout is None else timeout
        self._lives: dict[str, WorkerLifetime] = {}
        self._begun: dict[Any, tuple[str, float]] = {}
        self._took: deque[float] = deque(maxlen=SAMPLE)
        self._needed = 0.0
        self._asked = 0.0
        self._paused: dict[str, float] = {}
        self.jobs: dict[str, JobLifetime] = {}
        """By name of the job; "" for all workers."""

    def watch(self, cluster: SpecCluster, wake: Callable[[], object]) -> None:
        """Begin to watch over a cluster whose scheduler is in this process.

        Parameters
        ----------
        cluster : SpecCluster
        wake : callable
            Called when a worker comes or goes.
        """
        self._wake = wake

        scheduler: Any = cluster.scheduler

        async def add() -> None:  # not by a Client, which would send a copy
            scheduler.add_plugin(self)
            self._begin(scheduler)

        cluster.sync(add)

    def _begin(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        callback = PeriodicCallback(self._look, INTERVAL * 1000)
        scheduler.periodic_callbacks[self.name] = callback  # which it stops when it closes
        callback.start()

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Take note of a worker."""
        self._lives[worker] = WorkerLifetime(str(scheduler.workers[worker].name), time.monotonic())
        self._wake()

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Take note that it is gone."""
        if worker in self._lives:
            self._lives[worker].lost = time.monotonic()
        self._wake()

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Take note of which worker has a slice, and since when."""
        if not isinstance(key, tuple) or key[-1] != KEY_MARK:
            return
        if finish == "processing":
            worker = self._scheduler.tasks[key].processing_on
            if worker is not None:
                self._begun[key] = (worker.address, time.monotonic())
        elif finish in ("memory", "forgotten"):
            self._begun.pop(key, None)

    def took(self, seconds: float) -> None:
        """Take note of how long a slice has run: what such slices take is known from the latest.

        Nine of ten may begin; to wait for the longest of them all would waste most of a walltime.
        """
        self._took.append(seconds)
        longest = sorted(self._took)
        self._needed = min(longest[int(0.9 * len(longest))], self._timeout)

    def slots(self) -> int:
        """Tell how many psets can run at the same time on workers that take more."""
        slots = [
            slots_of(one.nthreads, one.resources, self._resources)
            for one in tuple(self._scheduler.running)
        ]
        return total_slots(slots, self._resources)

    def workers_for(self, seconds: float) -> list[str]:
        """Name the free workers that have so long to live, or that are as fresh as any can be.

        Where no worker is fit, the next that are idle leave, to be replaced.
        """
        now = time.monotonic()
        fit = []
        for one in tuple(self._scheduler.running):
            life = self._lives[one.address]
            if self._left(life, now) >= seconds + MARGIN or self._is_fresh(life, now):
                fit.append(one)
        self._asked = 0.0 if fit else seconds
        return [one.address for one in fit if len(one.processing) < one.nthreads]

    def cut(self, key: Any) -> WalltimeLoss | None:
        """Tell whether the walltime has ended the worker that a lost slice was on."""
        worker, begun = self._begun.pop(key, ("", 0.0))
        life = self._lives.get(worker)
        job = self._job(life) if life is not None else None
        if life is None or life.lost is None or job is None or life.lost < job.end - LATE:
            return None
        return WalltimeLoss(life.lost - begun, life.lost - life.began, job.walltime)

    def busy(self) -> bool:
        """Tell whether any worker has something to do."""
        return any(one.processing for one in tuple(self._scheduler.workers.values()))

    def nearly_over(self) -> bool:
        """Tell whether the job that all workers are in is too near its end for another slice."""
        job = self.jobs.get("")
        return job is not None and job.end - time.monotonic() < self._needed + MARGIN

    def workers_by_job(self) -> dict[str, list[WorkerState]]:
        """Give the workers that are connected, by the name of their job."""
        found: dict[str, list[WorkerState]] = {}
        for one in tuple(self._scheduler.workers.values()):
            found.setdefault(self._job_name(str(one.name)), []).append(one)
        return found

    def expect(self, job: str) -> None:
        """Know a job by its name from now on; when it ends is told later, if ever."""
        self.jobs.setdefault(job, JobLifetime(math.inf, math.inf))

    def retire(self, job: str) -> None:
        """Have the workers of a job finish what they have and leave."""
        self.jobs[job] = JobLifetime(-math.inf, math.inf)

    def _left(self, life: WorkerLifetime, now: float) -> float:
        job = self._job(life)
        return math.inf if job is None else job.end - now

    def _is_fresh(self, life: WorkerLifetime, now: float) -> bool:
        return now - life.began < FRESH and self._left(life, now) > MARGIN

    def _job(self, life: WorkerLifetime) -> JobLifetime | None:
        return self.jobs.get(self._job_name(life.name))

    def _job_name(self, worker_name: str) -> str:
        """Take off the number that a worker has where several are in one job."""
        if "" in self.jobs or worker_name in self.jobs:
            return "" if "" in self.jobs else worker_name
        return worker_name.rpartition("-")[0]

    def _look(self) -> None:
        now = time.monotonic()
        for one in tuple(self._scheduler.workers.values()):
            life = self._lives[one.address]
            idle = not one.processing and not one.has_what
            needed = max(self._needed, self._asked) if idle else self._needed
            if self._left(life, now) >= needed + MARGIN or self._is_fresh(life, now):
                continue
            if one.status == Status.running:
                self._paused[one.address] = now
                self._pause(one)
            elif idle:
                self._scheduler.close_worker(one.address)
            elif now - self._paused.get(one.address, now) > SETTLED:
                self._take_back(one)

    def _take_back(self, worker: WorkerState) -> None:
        """Give tasks to others that the worker had not begun when it was told to begin no more."""
        for task in worker.processing - worker.executing.keys():
            self._scheduler._reschedule(task.key, stimulus_id=f"{self.name}-{time.time()}")

    def _pause(self, worker: WorkerState) -> None:
        stimulus_id = f"{self.name}-{time.time()}"
        self._scheduler.handle_worker_status_change("paused", worker, stimulus_id)
        self._scheduler.worker_send(
            worker.address,
            {"op": "worker-status-change", "status": "paused", "stimulus_id": stimulus_id},
        )
        self._wake()


class WalltimePool:
    """Workers that end at a known time: what `JobPool` and `AllocationPool` have in common.

    Parameters
    ----------
    lifetimes : Lifetimes
        In the scheduler that the workers connect to.
    """

    def __init__(self, lifetimes: WalltimePlugin) -> None:
        self._lifetimes = lifetimes

    def took(self, seconds: float) -> None:
        """Take note of how long a slice has run."""
        self._lifetimes.took(seconds)

    def workers_for(self, seconds: float) -> list[str]:
        """Name the workers that will live so long."""
        return self._lifetimes.workers_for(seconds)

    def cut(self, key: Any) -> WalltimeLoss | None:
        """Tell whether the walltime has ended the worker of a task that was lost."""
        return self._lifetimes.cut(key)
