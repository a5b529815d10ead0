"""The workers of a run, as the executor sees them; and those of a cluster that others started."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, Protocol

from distributed import Client

from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.stalled import REPORT_PATIENCE_SECONDS
from psweep_dask.worker.failures import WalltimeLoss

log = logging.getLogger("psweep_dask")

WORKER_POLL_SECONDS = 2.0
"""How often a scheduler in another process is asked for its workers, at most."""

NO_WORKER_WARNING_SECONDS = 5.0
"""After so long without any worker the user is warned: a worker restarts in one or two seconds."""

PAUSED_WARNING_SECONDS = 10.0
"""After so long with all workers paused the user is warned: most free their memory by then."""

PAUSED_SHOWN = 4
"""So many of them are named."""

Resources = Mapping[str, float]
"""dask resources by name, such as ``{"GPU": 1}``."""


class WorkerPool(Protocol):
    """Has workers come, counts them, and knows how long they will be there."""

    report_patience: float  # seconds that nannies get to report how a worker has ended
    starts_on_demand: bool  # workers may come only when tasks wait for them, as by dask's adapt

    @property
    def expected_slots(self) -> int:
        """How many psets can run at the same time once all workers are there."""

    def slots(self, left: int) -> int:
        """Return how many psets can run at the same time now.

        Parameters
        ----------
        left : int
            Number of psets that have not finished: more workers than that are not needed.

        Raises
        ------
        psweep_dask.clusters.executor.ExecutorError
            If there are no workers, and none will come any more.
        """

    def record_duration(self, seconds: float) -> None:
        """Remember how long a slice has run."""

    def workers_for(self, seconds: float) -> list[str] | None:
        """Return the addresses of free workers that will be there for so many seconds.

        None if the pool knows no walltime: then any worker will do.
        """

    def walltime_loss(self, key: Any) -> WalltimeLoss | None:
        """Return how a walltime has ended the worker of a lost task; None if it has not."""


class ExternalPool:
    """The workers of a cluster that starts and ends them itself; a `WorkerPool`.

    Parameters
    ----------
    client : Client
    resources : Mapping
        The dask resources that a pset needs.
    """

    report_patience = REPORT_PATIENCE_SECONDS
    starts_on_demand = True
    _warn_after = NO_WORKER_WARNING_SECONDS

    def __init__(self, client: Client, resources: Resources) -> None:
        self._client = client
        self._resources = resources
        self._slots = 0
        self._polled_at = -WORKER_POLL_SECONDS
        self._worker_seen_at = time.monotonic()
        self._warned = False
        self._busy_at = self._worker_seen_at
        self._warned_of_pause = False

    @property
    def expected_slots(self) -> int:
        """As many as there are now; 1 if there is no worker yet."""
        return max(1, self.slots(0))

    def slots(self, left: int) -> int:
        """Return how many psets can run at the same time, as of the latest poll."""
        if time.monotonic() - self._polled_at >= WORKER_POLL_SECONDS:
            self._poll()
        return self._slots

    def record_duration(self, seconds: float) -> None:
        """Do nothing: no walltime is known."""

    def workers_for(self, seconds: float) -> None:
        """Return None: no walltime is known."""

    def walltime_loss(self, key: Any) -> None:
        """Return None: no walltime is known."""

    def _poll(self) -> None:
        now = self._polled_at = time.monotonic()
        try:
            known = self._client.scheduler_info(n_workers=-1)["workers"]
        except OSError:  # the connection broke just now
            return
        self._look_at(known)
        workers = known.values()
        self._warn_if_paused(workers, now)
        self._slots = total_slots(
            [slots_of(info["nthreads"], info["resources"], self._resources) for info in workers],
            self._resources,
        )
        if self._slots:
            self._worker_seen_at = now
            if self._warned:
                log.warning("there are workers again, the run goes on")
            self._warned = False
        elif now - self._worker_seen_at > self._warn_after and not self._warned:
            self._warned = True
            log.warning(
                "%s: the run waits until others come, Ctrl-C ends it", self._why_no_worker()
            )

    def _warn_if_paused(self, workers: Collection[Mapping[str, Any]], now: float) -> None:
        """Warn if dask lets no worker begin anything, since their memory is nearly full."""
        if not workers or any(info["status"] != "paused" for info in workers):
            if self._warned_of_pause:
                log.warning("workers are not paused any more, the run goes on")
            self._busy_at, self._warned_of_pause = now, False
        elif now - self._busy_at > PAUSED_WARNING_SECONDS and not self._warned_of_pause:
            self._warned_of_pause = True
            log.warning("%s", paused_message(workers))

    def _look_at(self, known: Mapping[str, Any]) -> None:
        """Look at what the scheduler knows of its workers, by their addresses."""

    def _why_no_worker(self) -> str:
        return "all workers are gone"


def paused_message(workers: Collection[Mapping[str, Any]]) -> str:
    """Return which workers dask has paused, why, and what to do.

    Examples
    --------
    >>> worker = {"name": 0, "host": "n1", "memory_limit": 2**30, "metrics": {"memory": 9 * 10**8}}
    >>> paused_message([worker])[:90]
    'dask has paused all workers, since their memory is nearly full: 0 on n1 (0.84 of 1.00 GiB)'
    """
    shown = [
        f"{info['name']} on {info['host']} ({info['metrics'].get('memory', 0) / 2**30:.2f} of "
        f"{info['memory_limit'] / 2**30:.2f} GiB)"
        for info in islice(workers, PAUSED_SHOWN)
    ]
    more = len(workers) - len(shown)
    return (
        "dask has paused all workers, since their memory is nearly full: "
        f"{', '.join(shown)}{f' and {more} more' if more else ''}. They begin nothing until what "
        "func, or another user of the cluster, keeps in memory is freed: client.restart() in "
        "another process does that, and psets that ran there run again. Or stop the run, and "
        "start a cluster with more memory_limit for each worker, or with dask's setting "
        "distributed.worker.memory.pause: false; ps.resume runs what is left"
    )


def total_slots(slots: Collection[int], needed: Resources) -> int:
    """Return how many psets workers can run together, by how many each of them can run.

    Raises
    ------
    psweep_dask.clusters.executor.ExecutorError
        If there are workers, and none has the dask resources that a pset needs.
    """
    if slots and not any(slots):
        raise ExecutorError(
            f"none of the {len(slots)} workers has the resources {dict(needed)}; start them with "
            "--resources, on a machine by worker_extra_args: [--resources, GPU=1] in info.yaml"
        )
    return sum(slots)


def slots_of(threads: int, available: Resources, needed: Resources) -> int:
    """Return how many psets a worker can run at the same time.

    Parameters
    ----------
    threads : int
        Threads of the worker.
    available, needed : Mapping
        The dask resources that the worker has, and those that a pset needs.

    Examples
    --------
    >>> slots_of(4, {"GPU": 2}, {"GPU": 1})
    2
    >>> slots_of(4, {}, {"GPU": 1})
    0
    """
    return min(
        [threads, *(int(available.get(name, 0) // amount) for name, amount in needed.items())]
    )
