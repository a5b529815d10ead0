"""Clusters in which our dask settings hold until they close, and not only while they start.

dask reads some settings later: when a worker is lost, and when a nanny starts its worker again. By
then, those of the user are in force again.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import dask.config
from distributed import LocalCluster, Nanny, Status
from distributed.deploy import Cluster

log = logging.getLogger("psweep_dask")

REPLACE_SECONDS = 1.0
"""So long after new nannies have failed, the next ones are started."""

NANNY_SETTINGS = ("distributed.worker.daemon", "distributed.worker.multiprocessing-method")
"""The settings that a nanny reads in its own process each time when it starts its worker."""


class KeepsNannies(Cluster):
    """Keeps the nannies of lost workers: they start these again, however long that takes.

    dask looks for a lost worker ``lost-worker-timeout`` seconds later, and closes its nanny for
    good if it is not there. But it may be starting again, since another pset has just ended it.
    """

    def _update_worker_status(self, op: str, msg: Any) -> None:
        Cluster._update_worker_status(self, op, msg)


@dataclass
class WorkerStarts:
    """How the latest starts of worker processes have gone. The event loop writes it."""

    failed: int = 0  # starts that have failed since the latest one that has not
    error: str = ""  # of the latest that has failed
    succeeded_at: float = field(default_factory=time.monotonic)

    def note_success(self) -> None:
        """Note that a worker is there."""
        self.failed, self.error, self.succeeded_at = 0, "", time.monotonic()

    def note_failure(self, error: str) -> None:
        """Note why a worker has not come."""
        self.failed += 1
        self.error = error


class LastingLocalCluster(KeepsNannies, LocalCluster):
    """A LocalCluster whose workers have the settings of its start when they start again, too.

    Parameters
    ----------
    **options
        Those of LocalCluster.

    Attributes
    ----------
    starts : WorkerStarts
    """

    def __init__(self, **options: Any) -> None:
        self.starts = WorkerStarts()
        self._replacing = False
        super().__init__(  # type: ignore[no-untyped-call]  # (distributed is typed in part only)
            worker_class=LastingNanny,
            config=_config_for_workers(),
            starts=self.starts,
            **options,
        )

    @property
    def nannies(self) -> int:
        """How many nannies live: each starts its worker again when that has ended."""
        return sum(map(_lives, tuple(self.workers.values())))

    def worker_addresses(self) -> set[str]:
        """Return the addresses of all workers whose process is there and has started."""
        nannies = tuple(self.workers.values())
        processes = [nanny.process for nanny in nannies if nanny.process is not None]
        return {process.worker_address for process in processes if process.status == Status.running}

    def replace_nannies(self) -> None:
        """Start new nannies in place of those that have given up. Does not wait for them."""
        loop: Any = self.loop
        if self.status == Status.running and self.nannies < len(self.worker_spec):
            loop.add_callback(self._replace_nannies)

    async def _replace_nannies(self) -> None:
        if self._replacing or self.status != Status.running:
            return
        self._replacing = True
        try:
            for name, nanny in tuple(self.workers.items()):
                if not _lives(nanny):
                    del self.workers[name]
            await self._correct_state()  # type: ignore[no-untyped-call]  # (as above)
        except Exception as err:  # whatever has ended a worker in its start: `starts` knows it
            log.debug("a nanny could not start its worker: %r", err)
            await asyncio.sleep(REPLACE_SECONDS)
        finally:
            self._replacing = False


def _lives(nanny: Nanny) -> bool:
    return nanny.status.name not in {"closed", "closing", "failed"}


class LastingNanny(Nanny):
    """Starts its worker always with the dask settings of the start of its cluster.

    A nanny gives up when its worker raises an error in its start.
    """

    _lock: ClassVar = threading.RLock()  # a start that is dropped may be tidied up at any time
    _starting: ClassVar[int] = 0  # number of nannies that start their worker now
    _in_force: ClassVar[dask.config.set]

    def __init__(
        self, *args: Any, config: dict[str, Any], starts: WorkerStarts, **options: Any
    ) -> None:
        # A later nanny of the cluster must not have what the user has set since.
        with LastingNanny._lock, dask.config.set(config):
            super().__init__(*args, **options)
        self.config = config  # Nanny would share sections that change later
        self._starts = starts
        self._exit_code: int | None = None

    async def instantiate(self) -> Status:
        """Start the worker."""
        try:
            with self._settings_in_force():
                status = await super().instantiate()
        except Exception as err:  # whatever the worker has raised
            self._starts.note_failure(repr(err))
            raise
        if status == Status.running:
            self._starts.note_success()
        else:
            self._starts.note_failure(
                f"the process has ended with exit code {self._exit_code} while it started"
            )
        return status

    def _on_worker_exit_sync(self, exitcode: int) -> None:
        self._exit_code = exitcode
        super()._on_worker_exit_sync(exitcode)  # type: ignore[no-untyped-call]  # (as above)

    @contextmanager
    def _settings_in_force(self) -> Iterator[None]:
        """Apply the settings until no nanny starts its worker any more.

        Several start at the same time, and the settings are those of the whole process.
        """
        cls = LastingNanny
        with cls._lock:
            if not cls._starting:
                get, config = dask.config.get, self.config
                # dask sends the whole configuration to a process that it starts
                settings = {name: None for name in config if config[name] is None}
                settings |= {name: get(name, config=config) for name in NANNY_SETTINGS}
                cls._in_force = dask.config.set(settings)
            cls._starting += 1
        try:
            yield
        finally:
            with cls._lock:
                cls._starting -= 1
                if not cls._starting:
                    cls._in_force.__exit__(None, None, None)


def _config_for_workers() -> dict[str, Any]:
    """Return a copy of dask's configuration, as it is now.

    What only this process can have, such as a thread pool under ``pool``, is None in it.
    """
    return {name: _copied(section) for name, section in dask.config.config.items()}


def _copied(section: Any) -> Any:
    try:
        return pickle.loads(pickle.dumps(section))
    except Exception:  # __reduce__ of any class may raise anything
        return None
