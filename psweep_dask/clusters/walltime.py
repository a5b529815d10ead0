"""Walltimes: workers of batch jobs begin nothing that their walltime would cut off.

A timeline of a job with a walltime of 60 s and one worker. Nine of ten slices take up to 8 s.

- 0 s: the job begins. The queue tells when its walltime ends, and `JobPool._record_lifetimes`
  (scaling.py) writes that to `WalltimePolicy.jobs`. In an allocation, `AllocationPool` (remote.py)
  does the same.
- 3 s: the worker connects: `WalltimePlugin.add_worker`.
- 11 s, 19 s, ...: slices finish. `DaskExecutor` passes their durations to
  `WalltimePool.record_duration`.
- 50.1 s: less than 8 s + 2 s (`LEAVE_SECONDS`) are left. `WalltimePlugin._look` asks
  `WalltimePolicy.decide` four times a second, and now pauses the worker: dask sends it no more
  tasks, and it counts for no slots. A new job is submitted as soon as the user's number of jobs
  allows.
- 55 s: the slice on the worker has finished. The worker is idle, so it is closed, and its job ends.
  Nothing is lost.
- 60.1 s: if that slice still runs, other tasks that wait on this worker go to other workers
  (`WorkerActions.take_back`).

If the walltime ends while a pset runs, this happens, one after the other:

1. SLURM kills the worker and its nanny. dask's scheduler loses the connection:
   `WalltimePlugin.remove_worker` notes the time, and the future of the slice ends with an error.
2. `DaskExecutor.finished` (dask_executor.py) puts the task into `LostTasks` (stalled.py). There it
   waits up to 5 s for a report of the nanny.
3. `DaskExecutor._settle_lost` calls `WalltimePool.walltime_loss`. The worker was lost at the end of
   its job, so the engine gets a `LostSlice` with a `WalltimeLoss`: how long the slice had run, how
   long the worker was there, and the walltime.
4. The engine (driver/engine.py) asks `FailurePolicy` (worker/failures.py). No attempt is used up.
   The psets of the slice run again, each in a slice of its own. If the slice had only one pset, its
   worker must have 1.5 times as long as the pset had run: that is `Slice.life`. If the pset had run
   for most of the time that its worker was there, it fits into no job: it becomes a row with
   ``_status`` "killed", and the text asks for a longer walltime.
5. `DaskExecutor.start` gets the new slice, and calls `WalltimePool.workers_for`. If no worker has
   so much time left, the slice goes to `HeldSlices` (stalled.py). Then idle workers are closed,
   until a new job has brought a worker that can take it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from distributed import Scheduler, SchedulerPlugin, Status
from distributed.deploy import SpecCluster
from distributed.scheduler import WorkerState
from tornado.ioloop import PeriodicCallback

from psweep_dask.clusters.plugins import KEY_MARK
from psweep_dask.clusters.stalled import REPORT_PATIENCE_SECONDS
from psweep_dask.clusters.walltime_policy import WalltimePolicy, WorkerLoad
from psweep_dask.clusters.workers import Resources, slots_of, total_slots
from psweep_dask.worker.failures import WalltimeLoss

LOOK_SECONDS = 0.25
"""How often the workers are looked at."""


class WalltimePlugin(SchedulerPlugin):
    """Tells a `WalltimePolicy` what happens in a scheduler, and carries out what it decides.

    The scheduler runs in a thread of this process. Methods of dask are called there, all others
    from the thread of the run.

    Parameters
    ----------
    policy : WalltimePolicy
    """

    name = "psweep_dask-walltime"

    def __init__(self, policy: WalltimePolicy) -> None:
        self._policy = policy
        self._wake: Callable[[], object] = lambda: None

    def attach(self, cluster: SpecCluster, wake: Callable[[], object]) -> None:
        """Add the plugin to the scheduler of a cluster, which must be in this process.

        Parameters
        ----------
        cluster : SpecCluster
        wake : callable
            Called when a worker comes, goes or is paused.
        """
        self._wake = wake
        scheduler: Any = cluster.scheduler

        async def add() -> None:  # `Client.register_plugin` would add a copy
            scheduler.add_plugin(self)
            self._start(scheduler)
            for worker in scheduler.workers:
                self.add_worker(scheduler, worker)

        cluster.sync(add)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Pass on that a worker has connected."""
        self._policy.add_worker(worker, str(scheduler.workers[worker].name), time.monotonic())
        self._wake()

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Pass on that a worker has gone."""
        self._policy.lose_worker(worker, time.monotonic())
        self._wake()

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Pass on that a task of ours goes to a worker, or is over."""
        if not isinstance(key, tuple) or key[-1] != KEY_MARK:
            return
        if finish == "processing":
            worker = self._scheduler.tasks[key].processing_on
            if worker is not None:
                self._policy.add_task(key, worker.address, time.monotonic())
        elif finish in ("memory", "forgotten"):
            self._policy.drop_task(key)

    def workers(self) -> list[WorkerState]:
        """Return the workers that are connected."""
        return list(self._scheduler.workers.values())

    def _start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        callback = PeriodicCallback(self._look, LOOK_SECONDS * 1000)
        scheduler.periodic_callbacks[self.name] = callback  # which it stops when it closes
        callback.start()

    def _look(self) -> None:
        actions = self._policy.decide(time.monotonic(), loads(self.workers()))
        for address in actions.pause:
            self._pause(self._scheduler.workers[address])
        for address in actions.close:
            self._scheduler.close_worker(address)
        for address in actions.take_back:
            self._take_back(self._scheduler.workers[address])

    def _pause(self, worker: WorkerState) -> None:
        stimulus_id = f"{self.name}-{time.time()}"
        self._scheduler.handle_worker_status_change("paused", worker, stimulus_id)
        self._scheduler.worker_send(
            worker.address,
            {"op": "worker-status-change", "status": "paused", "stimulus_id": stimulus_id},
        )
        self._wake()

    def _take_back(self, worker: WorkerState) -> None:
        for task in worker.processing - worker.executing.keys():
            self._scheduler._reschedule(task.key, stimulus_id=f"{self.name}-{time.time()}")


def loads(workers: Iterable[WorkerState]) -> dict[str, WorkerLoad]:
    """Return what workers have to do, by address, as a `WalltimePolicy` asks for it."""
    return {
        worker.address: WorkerLoad(
            running=worker.status == Status.running,
            idle=not worker.processing and not worker.has_what,
            free=len(worker.processing) < worker.nthreads,
        )
        for worker in workers
    }


class WalltimePool:
    """Workers that end at a known time; what `JobPool` and `AllocationPool` have in common.

    Parameters
    ----------
    resources : Mapping
        The dask resources that a pset needs.
    timeout : float, optional
        Seconds that a pset may take.
    """

    report_patience = REPORT_PATIENCE_SECONDS
    starts_on_demand = False

    def __init__(self, resources: Resources, timeout: float | None = None) -> None:
        self._resources = resources
        self.walltimes = WalltimePolicy(timeout)
        self.plugin = WalltimePlugin(self.walltimes)

    def usable_slots(self) -> int:
        """Return how many psets the workers that are not paused can run at the same time."""
        slots = [
            slots_of(worker.nthreads, worker.resources, self._resources)
            for worker in self.plugin.workers()
            if worker.status == Status.running
        ]
        return total_slots(slots, self._resources)

    def busy(self) -> bool:
        """Return whether any worker has a task."""
        return any(worker.processing for worker in self.plugin.workers())

    def record_duration(self, seconds: float) -> None:
        """Remember how long a slice has run."""
        self.walltimes.record_duration(seconds)

    def workers_for(self, seconds: float) -> list[str]:
        """Return the addresses of free workers that will be there for so many seconds."""
        workers = loads(self.plugin.workers())
        return self.walltimes.long_lived(seconds, time.monotonic(), workers)

    def walltime_loss(self, key: Any) -> WalltimeLoss | None:
        """Return how a walltime has ended the worker of a lost task; None if it has not."""
        return self.walltimes.pop_walltime_loss(key)
