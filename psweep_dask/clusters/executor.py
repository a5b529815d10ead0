"""Where slices run, as the engine sees it; and the executor that runs them in this process."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from psweep_dask.errors import PsweepError
from psweep_dask.study.stop import Stop, Stopper
from psweep_dask.worker.failures import WalltimeLoss, WorkerExit
from psweep_dask.worker.task import run_slice
from psweep_dask.worker.work import SliceResult


class ExecutorError(PsweepError):
    """Nothing more can be run: not a failure of func, which would be a row."""


@dataclass(frozen=True)
class LostSlice:
    """A slice that brings no result.

    Parameters
    ----------
    worker : str
        Address of the worker that was lost with it; empty if the slice never ran, or if nobody
        knows.
    death : Death or None
        What the worker died of, where its nanny could tell.
    cut : Cut or None
        The walltime that ended it, if it was that.
    """

    worker: str = ""
    death: WorkerExit | None = None
    cut: WalltimeLoss | None = None


class Executor(Protocol):
    """Takes slices and gives their results back, in whatever order they finish.

    Attributes
    ----------
    dashboard_link : str or None
        The address of dask's dashboard.
    client : Client or None
        The connection to dask.
    """

    dashboard_link: str | None
    client: Any

    @property
    def slots_hoped(self) -> int:
        """How many psets can run at the same time when all workers have come."""

    def slots(self, left: int) -> int:
        """Tell how many psets can run at the same time; 0 while no slice can be taken.

        Parameters
        ----------
        left : int
            Psets that are in nobody's hands.
        """

    @property
    def in_flight(self) -> int:
        """How many slices were started and not given back."""

    @property
    def stalled(self) -> int:
        """How many of these keep no worker busy."""

    def start(self, slices: list[tuple[Slice, bytes]]) -> None:
        """Start slices, each with its packed psets."""

    def finished(self, timeout: float) -> list[tuple[Slice, SliceResult | LostSlice]]:
        """Wait for slices to finish; give none if the timeout, in seconds, passes before."""

    def wake(self) -> None:
        """End the wait of `finished`; any thread or signal handler may call it."""

    def cancel_waiting(self) -> None:
        """Give up the slices that have not begun; those of other processes come back as lost."""

    def cancel(self) -> None:
        """Give up all slices in flight."""


class InlineExecutor:
    """Runs slices in this process, one after the other: for the debugger, and for simulations.

    Parameters
    ----------
    work : bytes
        A pickled `psweep_dask.worker.work.Work`.
    stopper : Stopper
    """

    slots_hoped = 1
    dashboard_link: str | None = None
    client = None

    def __init__(self, work: bytes, stopper: Stopper) -> None:
        self._work = work
        self._digest = digest(work)
        self._stopper = stopper
        self._waiting: deque[tuple[Slice, bytes]] = deque()

    def slots(self, left: int) -> int:
        """Give one."""
        return 1

    @property
    def in_flight(self) -> int:
        """How many slices wait."""
        return len(self._waiting)

    @property
    def stalled(self) -> int:
        """None: the one worker is this process."""
        return 0

    def start(self, slices: list[tuple[Slice, bytes]]) -> None:
        """Queue slices."""
        self._waiting.extend(slices)

    def finished(self, timeout: float) -> list[tuple[Slice, SliceResult | LostSlice]]:
        """Run the next slice."""
        if not self._waiting:
            return []
        one, packed = self._waiting.popleft()
        with self._interruptible():
            return [(one, run_slice(self._work, self._digest, packed, one.budget, self._stopped))]

    def wake(self) -> None:
        """Do nothing: nobody waits."""

    def cancel_waiting(self) -> None:
        """Forget the slices that wait."""
        self._waiting.clear()

    cancel = cancel_waiting

    def _stopped(self) -> bool:
        return self._stopper.level > Stop.NO

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        self._stopper.in_func = True
        try:
            yield
        finally:
            self._stopper.in_func = False


def digest(work: bytes) -> str:
    """Name a piece of work by its content."""
    return hashlib.blake2b(work, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Slice:
    """A few psets that travel to a worker together.

    Parameters
    ----------
    places : sequence of int
        Of the psets in the plan.
    budget : float
        Seconds after which the worker hands it back.
    life : float, optional
        Seconds that its worker must have left before its walltime.
    """

    places: Sequence[int]
    budget: float
    life: float = 0.0
