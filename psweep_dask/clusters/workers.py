"""Where the workers of a run come from, as the executor sees it; and workers that others start."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from distributed import Client

from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.worker.failures import WalltimeLoss

log = logging.getLogger("psweep_dask")

INTERVAL = 2.0
"""Seconds between two questions to a scheduler elsewhere about how many worker threads it has."""

LONELY = 5.0
"""Seconds without any worker after which the user is told: a restart takes one or two."""

Resources = Mapping[str, float]


class WorkerPool(Protocol):
    """Brings workers, and knows how long they will be there."""

    @property
    def slots_hoped(self) -> int:
        """How many psets can run at the same time when all workers have come."""

    def slots(self, left: int) -> int:
        """Tell how many psets can run at the same time now.

        Parameters
        ----------
        left : int
            Psets that have not finished: more workers than that are not needed.

        Raises
        ------
        psweep_dask.clusters.executor.ExecutorError
            If there are no workers, and none will come any more.
        """

    def took(self, seconds: float) -> None:
        """Take note of how long a slice has run."""

    def workers_for(self, seconds: float) -> list[str] | None:
        """Name the workers that will live so long; None if that is no question here."""

    def cut(self, key: Any) -> WalltimeLoss | None:
        """Tell whether the walltime has ended the worker of a task that was lost."""


class ExternalPool:
    """The workers of a cluster that is not ours to look after.

    Parameters
    ----------
    client : Client
    waits_for_none : bool
        Whether a slice can be sent before there is a worker.
    resources : Mapping
        What a pset asks of a worker, in dask's words.
    """

    def __init__(self, client: Client, waits_for_none: bool, resources: Resources) -> None:
        self._client = client
        self._least = 1 if waits_for_none else 0
        self._resources = resources
        self._slots = 1
        self._known = -INTERVAL
        self._seen = time.monotonic()
        self._lonely = False

    @property
    def slots_hoped(self) -> int:
        """Threads of the workers that are there now, or one."""
        return max(1, self.slots(0))

    def slots(self, left: int) -> int:
        """Count the threads of the workers now and then."""
        if time.monotonic() - self._known >= INTERVAL:
            self._count()
        return self._slots

    def took(self, seconds: float) -> None:
        """Do nothing: these workers have no walltime that we know of."""

    def workers_for(self, seconds: float) -> None:
        """Leave the choice to dask."""

    def cut(self, key: Any) -> None:
        """Know of no walltime."""

    def _count(self) -> None:
        now = self._known = time.monotonic()
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except OSError:  # the connection broke just now
            return
        slots = [slots_of(one["nthreads"], one["resources"], self._resources) for one in workers]
        threads = total_slots(slots, self._resources)
        self._slots = threads or self._least
        if threads:
            self._seen = now
            if self._lonely:
                log.warning("there are workers again, the run goes on")
            self._lonely = False
        elif now - self._seen > LONELY and not self._lonely:
            self._lonely = True
            log.warning("all workers are gone: the run waits until others come, Ctrl-C ends it")


def total_slots(slots: Collection[int], asked: Resources) -> int:
    """Add up what workers can run at the same time.

    Raises
    ------
    psweep_dask.clusters.executor.ExecutorError
        If there are workers, and none has the resources.
    """
    if slots and not any(slots):
        raise ExecutorError(
            f"none of the {len(slots)} workers has the resources {dict(asked)}; start them with "
            "--resources, on a machine by worker_extra_args: [--resources, GPU=1] in info.yaml"
        )
    return sum(slots)


def slots_of(threads: int, has: Resources, asked: Resources) -> int:
    """Tell how many psets a worker can run at the same time.

    Parameters
    ----------
    threads : int
        Of the worker.
    has, asked : Mapping
        Resources of the worker, and what a pset asks of them.

    Examples
    --------
    >>> slots_of(4, {"GPU": 2}, {"GPU": 1})
    2
    >>> slots_of(4, {}, {"GPU": 1})
    0
    """
    return min([threads, *(int(has.get(name, 0) // each) for name, each in asked.items())])
