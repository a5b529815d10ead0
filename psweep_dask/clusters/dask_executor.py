"""Slices as dask tasks, and what becomes of them when workers or connections are lost."""

from __future__ import annotations

import itertools
import logging
import queue
import time
from typing import Any

import dask
from distributed import CancelledError, Client, Future, KilledWorker

from psweep_dask.clusters import plugins
from psweep_dask.clusters.executor import ExecutorError, LostSlice, Slice, digest
from psweep_dask.clusters.workers import Resources, WorkerPool
from psweep_dask.monitoring.dashboard import dashboard_link
from psweep_dask.worker.task import run_slice
from psweep_dask.worker.work import SliceResult

log = logging.getLogger("psweep_dask")

INLINE_WORK = 64 * 1024
"""Bytes. A func up to this size travels with each slice; a larger one is scattered once."""

REPORT_PATIENCE = 5.0
"""Seconds that a nanny gets to tell what its worker died of; then it is taken for dead as well."""

REPORT_INTERVAL = 0.1
"""Seconds between two looks for such a report."""

FETCH_PATIENCE = 10.0
"""Seconds without an answer after which results are asked for again."""


class DaskExecutor:
    """Runs slices as dask delayed tasks.

    Parameters
    ----------
    client : Client
    work : bytes
        A pickled `psweep_dask.worker.work.Work`.
    name : str
        Name of func: the dashboard groups the tasks under it.
    supply : Supply
        Brings the workers.
    resources : Mapping, optional
        What a pset asks of a worker, in dask's words.

    Attributes
    ----------
    left_running : list of str
        Addresses of workers on which a func ran that was given up.
    dashboard_link : str or None
        The address of dask's dashboard.
    """

    def __init__(
        self,
        client: Client,
        work: bytes,
        name: str,
        supply: WorkerPool,
        resources: Resources | None = None,
    ) -> None:
        self.client = client
        self._supply = supply
        self._asks = {"resources": dict(resources)} if resources else {}
        self._digest = digest(work)
        self._work = work
        self._scattered: Future[Any] | None = None
        self._run_slice = dask.delayed(run_slice, pure=False, traverse=False)
        self._keys = (
            (f"{name}-{self._digest}", number, plugins.KEY_MARK) for number in itertools.count()
        )
        self._futures: dict[Any, tuple[Future[Any], Slice]] = {}
        self._done: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()
        self._lost_tasks: dict[Any, tuple[str, float]] = {}
        self._fetch_patience = FETCH_PATIENCE
        self._connected = True
        self._held: list[tuple[Slice, bytes]] = []
        self._dropped: list[Slice] = []
        self.left_running: list[str] = []
        self.dashboard_link: str | None = dashboard_link(client)

    @property
    def slots_hoped(self) -> int:
        """How many psets can run at the same time when all workers have come."""
        return self._supply.slots_hoped

    def slots(self, left: int) -> int:
        """Tell how many psets can run at the same time; 0 if no slice can be sent."""
        if not self._check_connection():
            return 0
        in_flight = sum(len(one.places) for _, one in self._futures.values())
        return self._supply.slots(left + in_flight + len(self._held))

    @property
    def in_flight(self) -> int:
        """How many slices were taken and not given back."""
        return len(self._futures) + len(self._held) + len(self._dropped)

    @property
    def stalled(self) -> int:
        """How many of these are lost or have no worker yet."""
        return len(self._lost_tasks) + len(self._held) + len(self._dropped)

    def start(self, slices: list[tuple[Slice, bytes]]) -> None:
        """Send slices to the scheduler, which starts them in this order.

        Those that need a worker with a long life are held until there is one.
        """
        work = self._work_or_where_it_is()
        held, self._held = self._held, []
        for one, packed in [*held, *slices]:
            workers = self._supply.workers_for(one.life) if one.life else None
            if workers is None:
                self._send(one, work, packed, self._asks)
            elif workers:
                # others only if these are gone: a task that nobody may take would wait for ever
                chosen = {"workers": workers, "allow_other_workers": True}
                self._send(one, work, packed, {**self._asks, **chosen})
            else:
                self._held.append((one, packed))

    def _send(
        self, one: Slice, work: bytes | Future[Any], packed: bytes, asks: dict[str, Any]
    ) -> None:
        task = self._run_slice(
            work, self._digest, packed, one.budget, dask_key_name=next(self._keys)
        )
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "8GiB"}):
            future = self.client.compute(
                task, optimize_graph=False, traverse=False, fifo_timeout="0ms", **asks
            )
        self._futures[future.key] = (future, one)
        future.add_done_callback(self._done.put)

    def finished(self, timeout: float) -> list[tuple[Slice, SliceResult | LostSlice]]:
        """Fetch all slices that have finished, and forget them on the cluster.

        Raises
        ------
        ExecutorError
            If the scheduler is gone, or if dask could not run a slice.
        """
        futures = self._wait(min(timeout, REPORT_INTERVAL) if self._lost_tasks else timeout)
        if self._check_connection() and self._held:
            self.start([])
        outcomes: list[tuple[Slice, SliceResult | LostSlice]] = []
        for future in [one for one in futures if one.status != "finished"]:
            outcomes += self._lost(future)
        outcomes += self._fetch([one for one in futures if one.status == "finished"])
        dropped, self._dropped = self._dropped, []
        return outcomes + self._learned() + [(one, LostSlice()) for one in dropped]

    def wake(self) -> None:
        """End the wait of `finished`."""
        self._done.put(None)

    def cancel_waiting(self) -> None:
        """Cancel what no worker has begun, unless it is as little as one slice for each thread.

        So many wait where psets are short. They would be over soon, and some might begin just
        before the cancellation, in vain.
        """
        self._dropped += [one for one, _ in self._held]
        self._held.clear()
        if not self._check_connection():
            return
        running = {key for keys in self.client.processing().values() for key in keys}
        waiting = [one for key, (one, _) in self._futures.items() if key not in running]
        if len(waiting) > sum(self.client.nthreads().values()):
            self.client.cancel([one for one in waiting if one.status == "pending"])

    def cancel(self) -> None:
        """Cancel what is in flight. A func that runs already runs on until it returns."""
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
            one = self._done.get(timeout=timeout)
            while True:
                if one is not None and one.key in self._futures:
                    futures.append(one)
                one = self._done.get_nowait()
        except queue.Empty:
            return futures

    def _fetch(self, futures: list[Future[Any]]) -> list[tuple[Slice, SliceResult | LostSlice]]:
        """Get results. One that is lost with its worker is made again by dask, and told again."""
        if not futures:
            return []
        try:
            results: list[SliceResult] = self.client.sync(
                lambda: self.client.gather(futures, asynchronous=True),
                callback_timeout=self._fetch_patience,
            )
        except (TimeoutError, KilledWorker, CancelledError, OSError):
            self._fetch_patience *= 2  # it may be the results that are large
            for future in futures:
                future.add_done_callback(self._done.put)
            return []
        for result in results:
            self._supply.took(result.seconds)
        return [(self._forget(one), result) for one, result in zip(futures, results, strict=True)]

    def _forget(self, future: Future[Any]) -> Slice:
        _, one = self._futures.pop(future.key)
        future.release()
        return one

    def _lost(self, future: Future[Any]) -> list[tuple[Slice, SliceResult | LostSlice]]:
        if future.status == "pending":  # lost again since it was told
            future.add_done_callback(self._done.put)
            return []
        if future.status != "error":  # cancelled, or lost with the connection
            return [(self._forget(future), LostSlice())]
        error = future.exception()
        if not isinstance(error, KilledWorker):
            raise ExecutorError(f"dask could not run a slice: {error!r}")
        self._lost_tasks[future.key] = (
            error.last_worker.address,
            time.monotonic() + REPORT_PATIENCE,
        )
        return []

    def _learned(self) -> list[tuple[Slice, SliceResult | LostSlice]]:
        """Give the lost slices of which it is known by now what their worker died of."""
        if not self._lost_tasks or not self._check_connection():
            return []
        deaths = plugins.deaths(self.client)
        now = time.monotonic()
        outcomes: list[tuple[Slice, SliceResult | LostSlice]] = []
        for key, (worker, deadline) in list(self._lost_tasks.items()):
            if worker in deaths or now > deadline:
                del self._lost_tasks[key]
                future, _ = self._futures[key]
                loss = LostSlice(worker, deaths.get(worker), self._supply.cut(key))
                outcomes.append((self._forget(future), loss))
        return outcomes

    def _work_or_where_it_is(self) -> bytes | Future[Any]:
        if len(self._work) <= INLINE_WORK:
            return self._work
        if self._scattered is None or self._scattered.status != "finished":
            self._scattered = self.client.scatter(self._work, broadcast=True, hash=False)
        return self._scattered

    def _check_connection(self) -> bool:
        status = self.client.status
        if status not in ("running", "connecting"):
            raise ExecutorError(
                "the connection to dask's scheduler is gone for good; what had finished is saved"
            )
        connected = bool(status == "running")
        if connected != self._connected:
            self._connected = connected
            if connected:
                log.warning("connected to dask's scheduler again, the run goes on")
            else:
                log.warning("the connection to dask's scheduler is lost, trying to connect again")
        return connected
