"""Where slices run: on a dask cluster, or in this process. The engine sees no difference."""

from __future__ import annotations

import hashlib
import itertools
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import dask
from distributed import Client, Future, KilledWorker

from psweep_dask.errors import PsweepError
from psweep_dask.slices import Slice
from psweep_dask.task import Interrupt, SliceResult, run_slice

INLINE_WORK = 64 * 1024
"""Bytes. A func up to this size travels with each slice; a larger one is scattered once."""

SLOTS_INTERVAL = 2.0
"""Seconds between two questions to the scheduler about how many worker threads there are."""


class ExecutorError(PsweepError):
    """Dask could not run a slice: not a failure of func, which would be a row."""


class Executor(Protocol):
    """Takes slices and gives their results back, in whatever order they finish."""

    @property
    def slots(self) -> int:
        """How many psets can run at the same time."""

    @property
    def in_flight(self) -> int:
        """How many slices were started and not given back, cancelled ones included."""

    def start(self, slices: list[tuple[Slice, bytes]]) -> None:
        """Start slices, each with its packed psets."""

    def finished(self, timeout: float | None) -> list[tuple[Slice, SliceResult]]:
        """Wait for slices to finish; give none if the timeout, in seconds, passes before."""

    def cancel(self) -> None:
        """Give up the slices in flight."""


class InlineExecutor:
    """Runs slices in this process, one after the other: for the debugger, and for simulations.

    Parameters
    ----------
    work : bytes
        A pickled `psweep_dask.task.Work`.
    """

    slots = 1

    def __init__(self, work: bytes) -> None:
        self._work = work
        self._digest = digest(work)
        self._waiting: deque[tuple[Slice, bytes]] = deque()

    @property
    def in_flight(self) -> int:
        """How many slices wait."""
        return len(self._waiting)

    def start(self, slices: list[tuple[Slice, bytes]]) -> None:
        """Queue slices."""
        self._waiting.extend(slices)

    def finished(self, timeout: float | None) -> list[tuple[Slice, SliceResult]]:
        """Run the next slice."""
        one, packed = self._waiting.popleft()
        with _marked_interrupts():
            return [(one, run_slice(self._work, self._digest, packed, one.budget))]

    def cancel(self) -> None:
        """Forget the slices that wait."""
        self._waiting.clear()


class DaskExecutor:
    """Runs slices as dask delayed tasks.

    Parameters
    ----------
    client : Client
    work : bytes
        A pickled `psweep_dask.task.Work`.
    name : str
        Name of func: the dashboard groups the tasks under it.
    """

    def __init__(self, client: Client, work: bytes, name: str) -> None:
        self._client = client
        self._digest = digest(work)
        self._work: bytes | Future[Any] = work
        if len(work) > INLINE_WORK:
            self._work = client.scatter(work, broadcast=True, hash=False)
        self._run_slice = dask.delayed(run_slice, pure=False, traverse=False)
        self._keys = ((f"{name}-{self._digest}", number) for number in itertools.count())
        self._futures: dict[Any, tuple[Future[Any], Slice]] = {}
        self._done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._slots = 1
        self._slots_known = -SLOTS_INTERVAL

    @property
    def slots(self) -> int:
        """Worker threads that the scheduler knows of, at least one."""
        if time.monotonic() - self._slots_known >= SLOTS_INTERVAL:
            self._slots = max(1, sum(self._client.nthreads().values()))
            self._slots_known = time.monotonic()
        return self._slots

    @property
    def in_flight(self) -> int:
        """How many tasks were sent and not fetched."""
        return len(self._futures)

    def start(self, slices: list[tuple[Slice, bytes]]) -> None:
        """Send slices to the scheduler, which starts them in this order."""
        for one, packed in slices:
            task = self._run_slice(
                self._work, self._digest, packed, one.budget, dask_key_name=next(self._keys)
            )
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": "8GiB"}):
                future = self._client.compute(
                    task, optimize_graph=False, traverse=False, fifo_timeout="0ms"
                )
            self._futures[future.key] = (future, one)
            future.add_done_callback(self._done.put)

    def finished(self, timeout: float | None) -> list[tuple[Slice, SliceResult]]:
        """Fetch all slices that have finished, and forget them on the cluster.

        Raises
        ------
        ExecutorError
            If dask has lost or cancelled one, or could not run it.
        """
        futures = self._wait(timeout)
        for future in futures:
            if future.status != "finished":
                raise _lost(future)
        results: list[SliceResult] = self._client.gather(futures)
        slices = [self._futures.pop(future.key)[1] for future in futures]
        for future in futures:
            future.release()
        return list(zip(slices, results, strict=True))

    def cancel(self) -> None:
        """Cancel what is in flight. A func that runs already runs on until it returns."""
        if self._futures:
            self._client.cancel([future for future, _ in self._futures.values()])

    def _wait(self, timeout: float | None) -> list[Future[Any]]:
        futures: list[Future[Any]] = []
        try:
            futures.append(self._done.get(timeout=timeout))
            while True:
                futures.append(self._done.get_nowait())
        except queue.Empty:
            return futures


def digest(work: bytes) -> str:
    """Name a piece of work by its content."""
    return hashlib.blake2b(work, digest_size=16).hexdigest()


def _lost(future: Future[Any]) -> ExecutorError:
    reason: object = future.status
    if future.status == "error":
        error = future.exception()
        reason = repr(error)
        if isinstance(error, KilledWorker):
            reason = (
                "a worker process died in the middle of it again and again: a segfault, os._exit, "
                "or too much memory; cluster='sync' shows for which pset"
            )
    return ExecutorError(
        f"dask could not run a slice ({reason}); what had finished before is saved"
    )


@contextmanager
def _marked_interrupts() -> Iterator[None]:
    """Let Ctrl-C be told apart from a KeyboardInterrupt that func raises."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise Interrupt
