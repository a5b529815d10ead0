"""The workers of a run, as the executor sees them; and those of a cluster that others started."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from distributed import Client

from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.worker import own_modules
from psweep_dask.worker.failures import WalltimeLoss

log = logging.getLogger("psweep_dask")

WORKER_POLL_SECONDS = 2.0
"""How often a scheduler in another process is asked for its workers, at most."""

NO_WORKER_WARNING_SECONDS = 5.0
"""After so long without any worker the user is warned: a worker restarts in one or two seconds."""

Resources = Mapping[str, float]
"""dask resources by name, such as ``{"GPU": 1}``."""


class WorkerPool(Protocol):
    """Has workers come, counts them, and knows how long they will be there."""

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

    starts_on_demand = True
    _warn_after = NO_WORKER_WARNING_SECONDS

    def __init__(self, client: Client, resources: Resources) -> None:
        self._client = client
        self._resources = resources
        self._slots = 0
        self._polled_at = -WORKER_POLL_SECONDS
        self._worker_seen_at = time.monotonic()
        self._warned = False

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
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except OSError:  # the connection broke just now
            return
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

    def _why_no_worker(self) -> str:
        return "all workers are gone"


def outdated_on(client: Client, shared_files: bool) -> list[str]:
    """Return the user's own modules that workers have imported before they were edited.

    If the workers share the files of this process, also those that they have from another file.
    """
    files = own_modules.own_files() if shared_files else {}
    answers = client.run(
        own_modules.outdated_modules, own_modules.PROCESS_ID, files, on_error="ignore"
    )
    return sorted(set().union(*answers.values()))


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
