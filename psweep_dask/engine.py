"""From a plan and an executor to the frames of the journal, as they finish."""

from __future__ import annotations

import time
from collections.abc import Iterator

from psweep_dask.executors import Executor
from psweep_dask.plan import Plan
from psweep_dask.slices import TARGET_BUDGET, Slice, Slicer
from psweep_dask.task import SliceResult, pack_slice

GRACE = 4 * TARGET_BUDGET
"""Seconds that slices in flight get to come home after a stop: each ends within its budget,
unless it is in the middle of a long pset, which is not finished and so costs nothing finished."""


class Engine:
    """Keeps an executor busy with the psets of a plan.

    Parameters
    ----------
    plan : Plan
    executor : Executor
    pset_bytes : float, optional
        Mean pickled size of a pset.
    """

    def __init__(self, plan: Plan, executor: Executor, pset_bytes: float = 0.0) -> None:
        self._plan = plan
        self._executor = executor
        self._slicer = Slicer(len(plan), executor.slots, pset_bytes)
        self._deadline: float | None = None

    def results(self) -> Iterator[SliceResult]:
        """Yield the results of slices, each as soon as it has finished.

        The caller has put a result on disk when it asks for the next: only then are its psets
        counted as done. It blocks on completion, it does not poll.

        Raises
        ------
        KeyboardInterrupt
            If the user pressed Ctrl-C while a pset ran in this process.
        psweep_dask.executors.ExecutorError
            If dask cannot go on.
        """
        try:
            self._top_up()
            while self._executor.in_flight and not self._out_of_patience():
                for one, result in self._executor.finished(self._patience()):
                    yield result
                    self._slicer.finished(one, result.done, result.seconds)
                    if result.interrupted:
                        raise KeyboardInterrupt
                self._top_up()
        finally:
            self._executor.cancel()

    def stop(self) -> None:
        """Hand out nothing new; `results` ends when what runs is home, or the grace is over."""
        if self._deadline is None:
            self._deadline = time.monotonic() + GRACE

    def _top_up(self) -> None:
        if self._deadline is not None:
            return
        slots = self._executor.slots
        count = self._slicer.wanted(slots) - self._executor.in_flight
        slices: list[tuple[Slice, bytes]] = []
        while len(slices) < count and self._slicer.left:
            one = self._slicer.next(slots)
            plan = self._plan
            packed = pack_slice(
                [plan.seq(place) for place in one.places],
                [plan.psets[place] for place in one.places],
                [plan.digest(place) for place in one.places],
            )
            slices.append((one, packed))
        if slices:
            self._executor.start(slices)

    def _patience(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _out_of_patience(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline
