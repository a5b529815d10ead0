"""What the engine needs of whatever runs its slices; and the executor that runs them here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from psweep_dask.errors import PsweepError
from psweep_dask.study.stop import Stop, Stopper
from psweep_dask.worker.failures import WalltimeLoss, WorkerExit
from psweep_dask.worker.runner import Runner
from psweep_dask.worker.task import run_psets
from psweep_dask.worker.work import Func, SliceResult, Work


class ExecutorError(PsweepError):
    """Nothing more can be run. A failure of func is never this error: it becomes a row."""


@dataclass(frozen=True)
class ExecutorRequest:
    """What a run asks of the cluster on which its slices run.

    Parameters
    ----------
    work : Work
    func_name : str
        dask's dashboard groups the tasks of the run under this name.
    run_id : str
        Batch jobs are named by its first characters.
    stopper : Stopper
    show_wait : callable
        Called with a str that says what the run waits for; with "" when it waits no longer.
    shared_dir : Path
        A folder that all machines of the cluster see: TLS files are kept there.
    jobs_path, log_dir : Path, optional
        The file for the ids of batch jobs, and the folder for what jobs print. By default they
        are removed together with the cluster.
    poolsize : int, optional
        Number of workers of a LocalCluster; by default one for each core.
    single_threaded : bool, optional
        Whether a worker process may run only one pset at a time.
    timeout : float, optional
        Seconds that a pset may take.
    resources : Mapping, optional
        The dask resources that a pset needs, such as ``{"GPU": 1}``.
    func : callable, optional
        The func of the script itself, for this process. None if it comes from an earlier run.
    """

    work: Work
    func_name: str
    run_id: str
    stopper: Stopper
    show_wait: Callable[[str], object]
    shared_dir: Path
    jobs_path: Path | None = None
    log_dir: Path | None = None
    poolsize: int | None = None
    single_threaded: bool = False
    timeout: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    func: Func | None = None


@dataclass(frozen=True)
class Slice:
    """A few psets that travel to a worker together.

    Parameters
    ----------
    places : sequence of int
        Positions of the psets in the plan.
    budget : float
        Seconds after which the worker sends it back, also if some psets have not run.
    life : float, optional
        Seconds that its worker must still have before the walltime of its job ends.
    """

    places: Sequence[int]
    budget: float
    life: float = 0.0


@dataclass(frozen=True)
class LostSlice:
    """The outcome of a slice that has no result, since its worker was lost.

    Parameters
    ----------
    worker : str
        Address of the worker; empty if the slice never ran, or if nobody knows where.
    worker_exit : WorkerExit or None
        How the worker process ended, if its nanny has reported that.
    walltime_loss : WalltimeLoss or None
        Set if the worker was lost because the walltime of its job ended.
    """

    worker: str = ""
    worker_exit: WorkerExit | None = None
    walltime_loss: WalltimeLoss | None = None


Outcomes = list[tuple[Slice, SliceResult | LostSlice]]
"""Slices that an executor hands back, each with what came of it."""


class Executor(Protocol):
    """Takes slices and hands their results back, in whatever order they finish."""

    dashboard_link: str | None  # the address of dask's dashboard
    client: Any  # the connection to dask, or None

    @property
    def expected_slots(self) -> int:
        """How many psets can run at the same time once all workers are there."""

    def slots(self, left: int) -> int:
        """Return how many psets can run at the same time now; 0 while no slice can be taken.

        Parameters
        ----------
        left : int
            Number of psets that are in no slice: workers are needed for these, too.
        """

    @property
    def in_flight(self) -> int:
        """How many slices were started and have not been handed back."""

    @property
    def stalled(self) -> int:
        """How many of the slices in flight keep no worker busy."""

    def start(self, slices: list[tuple[Slice, bytes]]) -> None:
        """Start slices, each with its packed psets."""

    def finished(self, timeout: float) -> Outcomes:
        """Wait for slices to finish, and hand these back.

        Parameters
        ----------
        timeout : float
            Seconds after which the list is empty if no slice has finished.
        """

    def wake(self) -> None:
        """End the wait of `finished`. Any thread and any signal handler may call this."""

    def cancel_waiting(self) -> None:
        """Drop the slices that have not begun. `finished` hands them back as lost, if at all."""

    def cancel(self) -> None:
        """Drop all slices in flight."""


class InlineExecutor:
    """Runs slices in this process, one after the other: for debuggers and for simulations.

    Parameters
    ----------
    runner : Runner
    stopper : Stopper
    """

    expected_slots = 1
    dashboard_link: str | None = None
    client = None

    def __init__(self, runner: Runner, stopper: Stopper) -> None:
        self._runner = runner
        self._stopper = stopper
        self._waiting: deque[tuple[Slice, bytes]] = deque()

    def slots(self, left: int) -> int:
        """Return 1: this process runs one pset at a time."""
        return 1

    @property
    def in_flight(self) -> int:
        """How many slices wait."""
        return len(self._waiting)

    @property
    def stalled(self) -> int:
        """Always 0: the one worker is this process."""
        return 0

    def start(self, slices: list[tuple[Slice, bytes]]) -> None:
        """Put slices into the queue."""
        self._waiting.extend(slices)

    def finished(self, timeout: float) -> Outcomes:
        """Run the next slice, however long it takes."""
        if not self._waiting:
            return []
        slice_, packed = self._waiting.popleft()
        with self._interruptible():
            result = run_psets(self._runner, packed, slice_.budget, self._stopped)
        return [(slice_, result)]

    def wake(self) -> None:
        """Do nothing: `finished` never waits."""

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
