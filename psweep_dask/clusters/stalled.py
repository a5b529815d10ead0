"""Slices in flight that keep no worker busy: lost ones, and those that no worker can take yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psweep_dask.clusters.executor import Slice
from psweep_dask.worker.failures import WorkerExit

REPORT_PATIENCE_SECONDS = 5.0
"""A nanny gets so long to report how its worker has ended. Then the nanny counts as lost, too."""


class LostTasks:
    """Tasks whose worker is lost, until it is known how the worker has ended.

    A timeline: the process of worker w1 is killed while it runs a slice.

    - 0.0 s: dask's scheduler loses the connection to w1 and gives the task up: its future ends
      with `KilledWorker`. `DaskExecutor.finished` sees that and calls `add`. The slice stays in
      flight, but it counts as stalled, so the engine starts another one in its place.
    - 0.2 s: the nanny of w1 sees that the process has ended, and reports the exit code and the
      psets that were running (`psweep_dask.clusters.plugins.MonitorPlugin`).
    - 0.3 s: `DaskExecutor.finished` reads the report and gets the task from `pop_settled`. It
      hands the slice back as a `LostSlice` with that `WorkerExit`. The engine asks
      `psweep_dask.worker.failures.FailurePolicy` which pset has failed, and starts the others
      again.

    If the node is lost, its nanny is lost, too, and there is no report:

    - 5.0 s: `pop_settled` returns the task with None. The slice is handed back without a
      `WorkerExit`, and no pset of it has used an attempt.

    Examples
    --------
    >>> lost = LostTasks()
    >>> lost.add("task-1", "tcp://w1", now=0.0)
    >>> lost.pop_settled({}, now=1.0)
    []
    >>> lost.pop_settled({}, now=6.0)
    [('task-1', 'tcp://w1', None)]
    """

    def __init__(self) -> None:
        self._tasks: dict[Any, tuple[str, float]] = {}

    def __len__(self) -> int:
        """Return how many tasks wait for a report."""
        return len(self._tasks)

    def add(
        self, key: Any, worker: str, now: float, patience: float = REPORT_PATIENCE_SECONDS
    ) -> None:
        """Remember a task that was lost with the worker at an address."""
        self._tasks[key] = (worker, now + patience)

    def pop_settled(
        self, exits: Mapping[str, WorkerExit], now: float
    ) -> list[tuple[Any, str, WorkerExit | None]]:
        """Return the tasks of which all is known that will ever be, and forget them.

        Parameters
        ----------
        exits : Mapping
            What nannies have reported, by the address of the worker.
        now : float
            In seconds.

        Returns
        -------
        list of (key, str, WorkerExit or None)
            The key of the task, the address of the worker, and how that has ended.
        """
        settled = [
            (key, worker, exits.get(worker))
            for key, (worker, deadline) in self._tasks.items()
            if worker in exits or now > deadline
        ]
        for key, _, _ in settled:
            del self._tasks[key]
        return settled


class HeldSlices:
    """Slices that no worker can take yet, since none is free that lives long enough.

    A timeline: a pset was cut off by the walltime of its job after 100 s, so its slice needs a
    worker that has another 150 s.

    - 0 s: `DaskExecutor.start` asks `WorkerPool.workers_for`, and there is no such worker. `hold`
      keeps the slice, which is in flight and stalled. The pool has idle workers leave, so that
      jobs with a fresh walltime take their place.
    - 20 s: a worker of a new job connects, which wakes the executor. `DaskExecutor.finished` takes
      the slice by `release` and sends it to that worker.

    If the run is stopped before, `drop` is called, and the next `DaskExecutor.finished` hands the
    slice back as one that never ran.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Slice, bytes]] = []
        self._dropped: list[Slice] = []

    def __len__(self) -> int:
        """Return how many slices are here, dropped ones included."""
        return len(self._waiting) + len(self._dropped)

    @property
    def waiting(self) -> int:
        """How many slices wait for a worker."""
        return len(self._waiting)

    def hold(self, slice_: Slice, packed: bytes) -> None:
        """Keep a slice with its packed psets."""
        self._waiting.append((slice_, packed))

    def release(self) -> list[tuple[Slice, bytes]]:
        """Return what waits, and forget it: another attempt is made to start it."""
        released, self._waiting = self._waiting, []
        return released

    def drop(self) -> None:
        """Wait no longer: the run is being stopped."""
        self._dropped += [slice_ for slice_, _ in self.release()]

    def pop_dropped(self) -> list[Slice]:
        """Return the slices that were dropped, and forget them."""
        dropped, self._dropped = self._dropped, []
        return dropped
