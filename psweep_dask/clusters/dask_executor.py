"""Slices as dask tasks, and what happens when workers or connections are lost."""

from __future__ import annotations

import hashlib
import itertools
import logging
import queue
import time
from collections.abc import Callable
from typing import Any

import dask
from distributed import CancelledError, Client, Future, KilledWorker

from psweep_dask.clusters import plugins
from psweep_dask.clusters.executor import (
    ExecutorError,
    ExecutorRequest,
    LostSlice,
    Outcomes,
    Slice,
)
from psweep_dask.clusters.stalled import HeldSlices, LostTasks
from psweep_dask.clusters.workers import WorkerPool
from psweep_dask.worker.task import run_slice
from psweep_dask.worker.work import SliceResult

log = logging.getLogger("psweep_dask")

MAX_INLINE_BYTES = 64 * 1024
"""A func up to this size travels with each slice; a larger one is sent to all workers once."""

REPORT_POLL_SECONDS = 0.1
"""How often reports of nannies are looked for while a slice is lost."""

FETCH_TIMEOUT_SECONDS = 10.0
"""After so long without an answer, results are asked for again."""


class DaskExecutor:
    """Runs slices as dask tasks; an `Executor`.

    Parameters
    ----------
    client : Client
    request : ExecutorRequest
    pool : WorkerPool
        Has the workers come.
    dashboard_link : str, optional
        The address of dask's dashboard.
    reconnected : callable, optional
        Called when the connection to the scheduler is there again.

    Attributes
    ----------
    left_running : list of str
        Addresses of the workers on which a slice was running when it was cancelled.
    """

    def __init__(
        self,
        client: Client,
        request: ExecutorRequest,
        pool: WorkerPool,
        dashboard_link: str | None = None,
        reconnected: Callable[[], object] = lambda: None,
    ) -> None:
        self.client = client
        self.dashboard_link = dashboard_link
        self.left_running: list[str] = []
        self._pool = pool
        self._connection = _Connection(client, reconnected)
        self._tasks = _TaskSubmitter(client, request)
        self._futures: dict[Any, tuple[Future[Any], Slice]] = {}
        self._done: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()
        self._fetch_timeout = FETCH_TIMEOUT_SECONDS
        self._lost = LostTasks()
        self._held = HeldSlices()

    @property
    def expected_slots(self) -> int:
        """How many psets can run at the same time once all workers are there."""
        return self._pool.expected_slots

    def slots(self, left: int) -> int:
        """Return how many psets can run at the same time now; 0 if no slice can be sent."""
        if not self._connection.check():
            return 0
        sent = sum(len(slice_.places) for _, slice_ in self._futures.values())
        slots = self._pool.slots(left + sent + self._held.waiting)
        if not slots and self._pool.starts_on_demand and not self._tasks.need_workers:
            return 1
        return slots

    @property
    def in_flight(self) -> int:
        """How many slices were started and have not been handed back."""
        return len(self._futures) + len(self._held)

    @property
    def stalled(self) -> int:
        """How many of the slices in flight are lost, or held until a worker can take them."""
        return len(self._lost) + len(self._held)

    def start(self, slices: list[tuple[Slice, bytes]]) -> None:
        """Send slices to the scheduler, which starts them in this order.

        Slices that need a worker with a long life are held until there is one.
        """
        for slice_, packed in [*self._held.release(), *slices]:
            workers = self._pool.workers_for(slice_.life) if slice_.life else None
            if workers == []:
                self._held.hold(slice_, packed)
                continue
            future = self._tasks.submit(slice_, packed, workers)
            self._futures[future.key] = (future, slice_)
            future.add_done_callback(self._done.put)

    def finished(self, timeout: float) -> Outcomes:
        """Fetch all slices that have finished, and forget them on the cluster.

        Raises
        ------
        psweep_dask.clusters.executor.ExecutorError
            If the scheduler is gone, or if dask could not run a slice.
        """
        futures = self._wait(min(timeout, REPORT_POLL_SECONDS) if self._lost else timeout)
        if self._connection.check() and self._held.waiting:
            self.start([])
        outcomes: Outcomes = [(slice_, LostSlice()) for slice_ in self._held.pop_dropped()]
        with_result = []
        for future in futures:
            status = future.status
            if status == "finished":
                with_result.append(future)
            elif status == "pending":  # its result was lost with a worker: dask runs it again
                future.add_done_callback(self._done.put)
            elif status == "error":
                self._remember_loss(future)
            else:  # cancelled, or lost with the connection
                outcomes.append((self._forget(future), LostSlice()))
        return outcomes + self._fetch(with_result) + self._settle_lost()

    def wake(self) -> None:
        """End the wait of `finished`. Any thread and any signal handler may call this."""
        self._done.put(None)

    def cancel_waiting(self) -> None:
        """Cancel the slices that no worker has begun, if they are more than the worker threads.

        With short psets, one slice for each thread waits on its worker. These are over soon, and
        some would begin just before they are cancelled, and be lost for nothing.
        """
        self._held.drop()
        if not self._connection.check():
            return
        processing = {key for keys in self.client.processing().values() for key in keys}
        waiting = [future for key, (future, _) in self._futures.items() if key not in processing]
        if len(waiting) > sum(self.client.nthreads().values()):
            self.client.cancel([future for future in waiting if future.status == "pending"])

    def cancel(self) -> None:
        """Cancel all slices in flight. A func that runs goes on until it returns."""
        if not self._futures or self.client.status != "running":
            return
        try:
            self.left_running = [
                worker
                for worker, keys in self.client.processing().items()
                if any(key in self._futures for key in keys)
            ]
            self.client.cancel([future for future, _ in self._futures.values()])
        except OSError as err:  # the connection broke just now, which cancels them as well
            log.debug("nothing cancelled: %r", err)

    def _wait(self, timeout: float) -> list[Future[Any]]:
        futures: list[Future[Any]] = []
        try:
            future = self._done.get(timeout=timeout)
            while True:
                if future is not None and future.key in self._futures:
                    futures.append(future)
                future = self._done.get_nowait()
        except queue.Empty:
            return futures

    def _fetch(self, futures: list[Future[Any]]) -> Outcomes:
        """Get the results of slices.

        If a worker is lost before its results are here, dask runs these slices again, and their
        futures come back by the callback.
        """
        if not futures:
            return []
        try:
            results: list[SliceResult] = self.client.sync(
                lambda: self.client.gather(futures, asynchronous=True),
                callback_timeout=self._fetch_timeout,
            )
        except (TimeoutError, KilledWorker, CancelledError, OSError):
            self._fetch_timeout *= 2  # the results may be large
            for future in futures:
                future.add_done_callback(self._done.put)
            return []
        for result in results:
            self._pool.record_duration(result.seconds)
        return [
            (self._forget(future), result) for future, result in zip(futures, results, strict=True)
        ]

    def _forget(self, future: Future[Any]) -> Slice:
        _, slice_ = self._futures.pop(future.key)
        future.release()
        return slice_

    def _remember_loss(self, future: Future[Any]) -> None:
        error = future.exception()
        if not isinstance(error, KilledWorker):
            raise ExecutorError(f"dask could not run a slice: {error!r}")
        worker, patience = error.last_worker.address, self._pool.report_patience
        self._lost.add(future.key, worker, time.monotonic(), patience)

    def _settle_lost(self) -> Outcomes:
        """Hand back the lost slices of which all is known that will ever be."""
        if not self._lost or not self._connection.check():
            return []
        exits = plugins.worker_exits(self.client)
        outcomes: Outcomes = []
        for key, worker, worker_exit in self._lost.pop_settled(exits, time.monotonic()):
            loss = LostSlice(worker, worker_exit, self._pool.walltime_loss(key))
            future, _ = self._futures[key]
            outcomes.append((self._forget(future), loss))
        return outcomes


class _TaskSubmitter:
    """Makes a dask task of each slice."""

    def __init__(self, client: Client, request: ExecutorRequest) -> None:
        self._client = client
        self._work = request.work.pack()
        self._digest = hashlib.blake2b(self._work, digest_size=16).hexdigest()
        self._scattered: Future[Any] | None = None
        self._options = {"resources": dict(request.resources)} if request.resources else {}
        self._run_slice = dask.delayed(run_slice, pure=False, traverse=False)
        name = f"{request.func_name}-{self._digest}"
        self._keys = ((name, number, plugins.KEY_MARK) for number in itertools.count())

    @property
    def need_workers(self) -> bool:
        """Whether func is so large that it is sent to the workers before the tasks."""
        return len(self._work) > MAX_INLINE_BYTES

    def submit(self, slice_: Slice, packed: bytes, workers: list[str] | None) -> Future[Any]:
        """Send a slice to the scheduler, for these workers; None lets dask choose."""
        options: dict[str, Any] = dict(self._options)
        if workers is not None:
            # If these are gone, any other may take it: else the task would wait for ever.
            options |= {"workers": workers, "allow_other_workers": True}
        work = self._scattered_work() if self.need_workers else self._work
        task = self._run_slice(
            work, self._digest, packed, slice_.budget, dask_key_name=next(self._keys)
        )
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "8GiB"}):
            future: Future[Any] = self._client.compute(
                task, optimize_graph=False, traverse=False, fifo_timeout="0ms", **options
            )
        return future

    def _scattered_work(self) -> Future[Any]:
        if self._scattered is None or self._scattered.status != "finished":
            self._scattered = self._client.scatter(self._work, broadcast=True, hash=False)
        return self._scattered


class _Connection:
    """The connection of a client to its scheduler: logs when it is lost, and when it is back."""

    def __init__(self, client: Client, reconnected: Callable[[], object]) -> None:
        self._client = client
        self._connected = True
        self._reconnected = reconnected

    def check(self) -> bool:
        """Return whether the client is connected; `ExecutorError` if it has given up trying."""
        status = self._client.status
        if status not in ("running", "connecting"):
            raise ExecutorError(
                "the connection to dask's scheduler is gone for good; what had finished is saved"
            )
        connected = bool(status == "running")
        if connected != self._connected:
            if connected:
                try:
                    self._reconnected()
                except OSError:  # it is broken again
                    return False
            self._connected = connected
            if connected:
                log.warning("connected to dask's scheduler again, the run goes on")
            else:
                log.warning("the connection to dask's scheduler is lost, trying to connect again")
        return connected
