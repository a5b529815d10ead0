"""The loop of a run: slices of its plan go to an executor, and their results come back.

Here a slice has four psets of 0.2 s each, and pset 1 ends its worker by a segmentation fault:

=====  ===========================================================================================
0.0 s  The slice with psets 0, 1, 2, 3 is sent.
0.3 s  Pset 1 ends its worker. The slice is lost, and with it the row of pset 0. The nanny reports
       that the worker was at pset 1: its row, with the status "killed", is yielded. (With
       ``retries=1`` it would be sent again after all others.) Psets 0, 2 and 3 are handed back.
0.3 s  A slice with psets 0, 2, 3 is sent to another worker.
0.9 s  It comes back, and its result is yielded.
=====  ===========================================================================================
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from psweep_dask.clusters.executor import Executor, ExecutorError, LostSlice, Slice
from psweep_dask.driver.slicing import TARGET_BUDGET, Slicer
from psweep_dask.storage.plan import Plan
from psweep_dask.study.stop import Stop, Stopper
from psweep_dask.worker import early_rows
from psweep_dask.worker.failures import Decision, FailurePolicy
from psweep_dask.worker.func import FuncError
from psweep_dask.worker.runner import Interrupt
from psweep_dask.worker.task import SlicePayload
from psweep_dask.worker.work import SliceResult, Work

log = logging.getLogger("psweep_dask")

GIVE_UP_SECONDS = 4 * TARGET_BUDGET
"""Longest time to wait for slices in flight when a run gives up. Each comes back within its budget,
unless a long pset is at work, which has not finished and so loses nothing finished."""

POLL_SECONDS = 1.0  # between two checks for new workers and for requests to stop


class Engine:
    """Runs the psets of a plan (mean pickled size `pset_bytes`), some of them more than once."""

    def __init__(
        self, plan: Plan, work: Work, executor: Executor, stopper: Stopper, pset_bytes: float = 0.0
    ) -> None:
        self._plan = plan
        self._work = work
        self._executor = executor
        self._stopper = stopper
        self._stop = Stop.NO
        self._slicer = Slicer(len(plan), executor.expected_slots, pset_bytes)
        self._failure_policy = FailurePolicy(plan.run_id, work.timeout)
        self._repeated: Counter[int] = Counter()
        self.attempts_repeated = 0  # attempts that failed and were followed by another
        self._deadline = math.inf
        self._lost_workers: set[str] = set()

    @property
    def workers_lost(self) -> int:
        """Number of workers that were lost with a slice of this run."""
        return len(self._lost_workers)

    def results(self) -> Iterator[SliceResult]:
        """Yield results, each as soon as it is there. An `ExecutorError` ends them.

        So does a `FuncError`: a worker cannot load func.

        The caller has put a result on disk when it asks for the next: only then are its psets
        counted as done.
        """
        self._stopper.wake = self._executor.wake
        try:
            self._check_stop()  # a request that came while the workers were starting
            self._send_slices()
            while self._has_work():
                timeout = max(0.0, min(POLL_SECONDS, self._deadline - time.monotonic()))
                for slice_, outcome in self._executor.finished(timeout):
                    if isinstance(outcome, LostSlice):
                        yield from self._handle_loss(slice_, outcome)
                    else:
                        yield outcome
                        self._handle_result(slice_, outcome)
                self._check_stop()
                self._send_slices()
        finally:
            self._executor.cancel()

    def early_rows(self) -> Iterator[SliceResult]:
        """Yield the rows that workers have kept of slices that were dropped."""
        folder = early_rows.early_dir(self._work)
        for path in early_rows.early_paths(folder) if folder else []:
            if result := early_rows.read_early_file(path):
                yield result
                early_rows.remove_early_file(path)

    def give_up(self) -> None:
        """Send no new slice; `results` ends when those in flight are back, or after a while."""
        self._stop = max(self._stop, Stop.SOON)
        self._deadline = min(self._deadline, time.monotonic() + GIVE_UP_SECONDS)

    def _has_work(self) -> bool:
        if time.monotonic() >= self._deadline:
            return False
        return self._executor.in_flight > 0 or (self._stop == Stop.NO and self._slicer.left > 0)

    def _check_stop(self) -> None:
        requested = self._stopper.poll()
        if requested > self._stop:
            self._stop = requested
            if requested == Stop.SOON:
                self._executor.cancel_waiting()
                text = "stopping: nothing new is started, what runs may finish"
                log.warning("%s; ask again (Ctrl-C) to drop it", text)
            else:
                log.warning("dropping what runs")
                self._deadline = time.monotonic()

    def _send_slices(self) -> None:
        slots = self._executor.slots(self._slicer.left if self._stop == Stop.NO else 0)
        if self._stop > Stop.NO or not slots:
            return
        count = self._slicer.wanted(slots) - (self._executor.in_flight - self._executor.stalled)
        slices: list[tuple[Slice, bytes]] = []
        while len(slices) < count and self._slicer.left:
            slice_ = self._slicer.next(slots)
            slices.append((slice_, self._load(slice_).pack()))
        if slices:
            self._executor.start(slices)

    def _load(self, slice_: Slice) -> SlicePayload:
        plan, places = self._plan, slice_.places
        attempted = enumerate(places) if self._repeated or plan.attempts else ()
        repeatable = enumerate(places) if self._work.retries else ()
        return SlicePayload(
            [plan.seqs[place] for place in places],
            [plan.psets[place] for place in places],
            b"".join(plan.digest(place) for place in places),
            {at: self._attempt(place) for at, place in attempted},
            frozenset(at for at, place in repeatable if self._may_repeat(place)),
        )

    def _attempt(self, place: int) -> int:
        return 1 + self._repeated[place] + self._plan.attempts.get(self._plan.seqs[place], 0)

    def _may_repeat(self, place: int) -> bool:
        return self._repeated[place] < self._work.retries

    def _repeat(self, place: int) -> None:
        self._repeated[place] += 1
        self.attempts_repeated += 1
        self._slicer.postpone(place)

    def _handle_result(self, slice_: Slice, result: SliceResult) -> None:
        if result.has_early_file and (path := self._early_path(slice_)):
            early_rows.remove_early_file(path)
        self._slicer.finished(slice_, result.done, result.seconds)
        for at in result.again:
            self._repeat(slice_.places[at])
        if result.load_error:
            raise FuncError(result.load_error)
        if result.trouble:
            raise ExecutorError(result.trouble)
        if result.interrupted and self._stopper.level < Stop.NOW:
            raise Interrupt  # meant for a run whose func has called us

    def _handle_loss(self, slice_: Slice, lost: LostSlice) -> Iterator[SliceResult]:
        """Decide which pset has failed, if any, and hand the others out again."""
        places = {self._plan.seqs[place]: place for place in slice_.places}
        decision = Decision(alone=frozenset(places if slice_.life > 0 else ()), life=slice_.life)
        if lost.worker:
            self._lost_workers.add(lost.worker)
            decision = self._failure_policy.decide(
                list(places), lost.worker_exit, lost.walltime_loss
            )
        path = self._early_path(slice_)
        early = path and early_rows.read_early_file(path)
        if path and early and early.seqs() <= places.keys():
            yield early
            early_rows.remove_early_file(path)
            for seq in early.seqs():
                del places[seq]
        failed = decision.failed
        failed_place = None if failed is None else places.pop(failed.pset_seq, None)
        for seq, place in places.items():
            self._slicer.hand_back([place], alone=seq in decision.alone, life=decision.life)
        if failed is not None and failed_place is not None:
            if self._may_repeat(failed_place) and not failed.final:
                self._repeat(failed_place)
            else:
                pset, sha1 = self._plan.psets[failed_place], self._plan.digest(failed_place).hex()
                yield failed.result(self._work, pset, sha1, self._attempt(failed_place))

    def _early_path(self, slice_: Slice) -> Path | None:
        return early_rows.early_path(self._work, self._plan.seqs[slice_.places[0]])
