"""Clusters in which our dask settings hold until they close, and not only while they start.

dask reads some settings later: when a worker is lost, and when a nanny starts its worker again. By
then, those of the user are in force again.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import dask.config
from distributed import LocalCluster, Nanny, Status
from distributed.deploy import Cluster

NANNY_SETTINGS = ("distributed.worker.daemon", "distributed.worker.multiprocessing-method")
"""The settings that a nanny reads in its own process each time when it starts its worker."""


class KeepsNannies(Cluster):
    """Keeps the nannies of lost workers: they start these again, however long that takes.

    dask looks for a lost worker ``lost-worker-timeout`` seconds later, and closes its nanny for
    good if it is not there. But it may be starting again, since another pset has just ended it.
    """

    def _update_worker_status(self, op: str, msg: Any) -> None:
        Cluster._update_worker_status(self, op, msg)


class LastingLocalCluster(KeepsNannies, LocalCluster):
    """A LocalCluster whose workers have the settings of its start when they start again, too.

    Parameters
    ----------
    **options
        Those of LocalCluster.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(worker_class=LastingNanny, **options)  # type: ignore[no-untyped-call]  # (distributed is typed in part only)


class LastingNanny(Nanny):
    """Starts its worker always with the dask settings of its own start."""

    _lock: ClassVar = threading.Lock()
    _starting: ClassVar[int] = 0  # number of nannies that start their worker now
    _in_force: ClassVar[dask.config.set]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.config = _config_for_workers()  # Nanny would share sections that change later

    async def instantiate(self) -> Status:
        """Start the worker."""
        with self._settings_in_force():
            return await super().instantiate()

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
