"""From a plan and an executor to the frames of the journal, as they finish."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterator
from pathlib import Path

from psweep_dask.clusters.executor import Executor, ExecutorError, LostSlice, Slice
from psweep_dask.driver.slicing import TARGET_BUDGET, Slicer
from psweep_dask.storage.plan import Plan
from psweep_dask.study.stop import Stop, Stopper
from psweep_dask.worker.failures import FailedAttempt, FailurePolicy
from psweep_dask.worker.partial import early_path, early_paths, forget_early, read_early, seqs_of
from psweep_dask.worker.runner import Interrupt
from psweep_dask.worker.task import Load
from psweep_dask.worker.work import SliceResult, Work

log = logging.getLogger("psweep_dask")

GRACE = 4 * TARGET_BUDGET
"""Seconds that slices in flight get to come home when a run gives up: each ends within its budget,
unless it is in the middle of a long pset, which is not finished and so costs nothing finished."""

TICK = 1.0
"""Seconds between two looks at what no finished slice tells: new workers, a request to stop."""


class Engine:
    """Keeps an executor busy with the psets of a plan, and psets that fail with attempts.

    Parameters
    ----------
    plan : Plan
    work : Work
    executor : Executor
    stopper : Stopper
    pset_bytes : float, optional
        Mean pickled size of a pset.

    Attributes
    ----------
    workers_lost : int
    attempts_repeated : int
    """

    def __init__(
        self,
        plan: Plan,
        work: Work,
        executor: Executor,
        stopper: Stopper,
        pset_bytes: float = 0.0,
    ) -> None:
        self._plan = plan
        self._work = work
        self._executor = executor
        self._stopper = stopper
        self._stop = Stop.NO
        self._slicer = Slicer(len(plan), executor.slots_hoped, pset_bytes)
        self._judge = FailurePolicy(plan.run_id, work.timeout)
        self._tries: Counter[int] = Counter()
        self._deadline = math.inf
        self._lost: set[str] = set()
        self.attempts_repeated = 0

    @property
    def workers_lost(self) -> int:
        """How many workers were lost with a slice of ours."""
        return len(self._lost)

    def results(self) -> Iterator[SliceResult]:
        """Yield results, each as soon as it is there.

        The caller has put a result on disk when it asks for the next: only then are its psets
        counted as done.

        Raises
        ------
        psweep_dask.clusters.executor.ExecutorError
            If nothing more can be run.
        """
        self._stopper.wake = self._executor.wake
        try:
            self._obey()  # a stop while the workers were starting
            self._top_up()
            while self._busy():
                for one, outcome in self._executor.finished(self._patience()):
                    if isinstance(outcome, LostSlice):
                        yield from self._mourn(one, outcome)
                    else:
                        yield outcome
                        self._take_in(one, outcome)
                self._obey()
                self._top_up()
        finally:
            self._executor.cancel()

    def kept_by_workers(self) -> Iterator[SliceResult]:
        """Yield what workers had kept of slices that were dropped, to be put on disk as well."""
        path = early_path(self._work, 0)
        for one in [] if path is None else early_paths(path.parent):
            kept = read_early(one)
            if kept is not None:
                yield kept
                forget_early(one)

    def give_up(self) -> None:
        """Hand out nothing new; `results` ends when what runs is home, or the grace is over."""
        self._stop = max(self._stop, Stop.SOON)
        self._deadline = min(self._deadline, time.monotonic() + GRACE)

    def _busy(self) -> bool:
        if time.monotonic() >= self._deadline:
            return False
        return self._executor.in_flight > 0 or (self._stop == Stop.NO and self._slicer.left > 0)

    def _patience(self) -> float:
        return max(0.0, min(TICK, self._deadline - time.monotonic()))

    def _obey(self) -> None:
        asked = self._stopper.poll()
        if asked > self._stop:
            self._stop = asked
            if asked == Stop.SOON:
                self._executor.cancel_waiting()
                log.warning(
                    "stopping: nothing new is started, what runs may finish; "
                    "ask again (Ctrl-C) to drop it"
                )
            else:
                log.warning("dropping what runs")
                self._deadline = time.monotonic()

    def _top_up(self) -> None:
        slots = self._executor.slots(self._slicer.left if self._stop == Stop.NO else 0)
        if self._stop > Stop.NO:
            return
        if not slots:
            return
        count = self._slicer.wanted(slots) - (self._executor.in_flight - self._executor.stalled)
        slices: list[tuple[Slice, bytes]] = []
        while len(slices) < count and self._slicer.left:
            one = self._slicer.next(slots)
            slices.append((one, self._load(one).pack()))
        if slices:
            self._executor.start(slices)

    def _load(self, one: Slice) -> Load:
        plan = self._plan
        attempts: dict[int, int] = {}
        if self._tries or plan.attempts:
            attempts = {place: self._attempt(at) for place, at in enumerate(one.places)}
        spare: frozenset[int] = frozenset()
        if self._work.retries:
            spare = frozenset(place for place, at in enumerate(one.places) if self._spare(at))
        return Load(
            [plan.seqs[at] for at in one.places],
            [plan.psets[at] for at in one.places],
            b"".join(plan.digest(at) for at in one.places),
            attempts,
            spare,
        )

    def _attempt(self, place: int) -> int:
        return 1 + self._tries[place] + self._plan.attempts.get(self._plan.seqs[place], 0)

    def _spare(self, place: int) -> bool:
        return self._tries[place] < self._work.retries

    def _take_in(self, one: Slice, result: SliceResult) -> None:
        path = self._early_path(one)
        if result.kept and path is not None:
            forget_early(path)
        self._slicer.finished(one, result.done, result.seconds)
        self._try_again(one.places[place] for place in result.again)
        if result.trouble:
            raise ExecutorError(result.trouble)
        if result.interrupted and self._stopper.level < Stop.NOW:
            raise Interrupt  # meant for a run whose func has called us

    def _try_again(self, places: Iterator[int]) -> None:
        for place in places:
            self._tries[place] += 1
            self.attempts_repeated += 1
            self._slicer.postpone([place])

    def _mourn(self, one: Slice, loss: LostSlice) -> Iterator[SliceResult]:
        """Find out whose fault the loss of a slice is, and hand out the others again."""
        if not loss.worker:
            self._slicer.hand_back(one.places, alone=one.life > 0, life=one.life)
            return
        self._lost.add(loss.worker)
        at = {self._plan.seqs[place]: place for place in one.places}
        verdict = self._judge.verdict(list(at), loss.death, loss.cut)
        for seq in (yield from self._kept_by_worker(one, at.keys())):
            del at[seq]
        charge = verdict.charge
        guilty = None if charge is None else at.pop(charge.pset_seq, None)
        for seq, place in at.items():
            self._slicer.hand_back([place], alone=seq in verdict.alone, life=verdict.life)
        if charge is not None and guilty is not None:
            if self._spare(guilty) and not charge.final:
                self._try_again(iter([guilty]))
            else:
                yield self._sentence(guilty, charge)

    def _kept_by_worker(
        self, one: Slice, seqs: Collection[int]
    ) -> Generator[SliceResult, None, set[int]]:
        """Take what a worker had kept of the slice that was lost with it; tell of which psets."""
        path = self._early_path(one)
        kept = None if path is None else read_early(path)
        found = seqs_of(kept)
        if path is None or kept is None or not found <= set(seqs):
            return set()
        yield kept
        forget_early(path)
        return found

    def _early_path(self, one: Slice) -> Path | None:
        return early_path(self._work, self._plan.seqs[one.places[0]])

    def _sentence(self, place: int, charge: FailedAttempt) -> SliceResult:
        sha1 = self._plan.digest(place).hex()
        return charge.result(self._work, self._plan.psets[place], sha1, self._attempt(place))
