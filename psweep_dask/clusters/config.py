"""The ``psweep:`` section of dask's configuration, and the dask settings of our clusters.

Users set these as any dask option: in ``~/.config/dask/psweep.yaml``, by ``DASK_PSWEEP__...``
variables, or by ``dask.config.set``. For instance, to give the workers' profiler back::

    psweep:
      dask:
        distributed.worker.profile.enabled: true
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask.config

from psweep_dask.errors import PsweepError

CLUSTER_SETTINGS: dict[str, Any] = {
    # A task that waits on a worker would share the blame for its death.
    "distributed.scheduler.worker-saturation": 1.0,
    # We want to hear of each death at once, and decide ourselves what runs again.
    "distributed.scheduler.allowed-failures": 0,
    # A func may hold the GIL for an hour; its worker is busy then, not dead.
    "distributed.scheduler.worker-ttl": None,
    # Ask for all workers at once, whatever the first psets will turn out to take.
    "distributed.scheduler.unknown-task-duration": "60s",
    "distributed.deploy.lost-worker-timeout": "60s",
    # Workers keep no data for others: what fills their memory belongs to func, and a worker that
    # pauses for it would pause for ever. At 95 % of its memory a worker is ended and replaced.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # A func may use multiprocessing.
    "distributed.worker.daemon": False,
    # The rest keeps idle clusters quiet: measured, 9 % of a core down to 1 %.
    "distributed.worker.profile.enabled": False,
    "distributed.worker.profile.interval": "1s",
    "distributed.worker.profile.cycle": "10s",
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.tick.cycle": "10s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.scheduler.work-stealing-interval": "250ms",
}
"""What we change in dask for the clusters that we start."""


_KEYS = {"cluster", "dask"}


class ConfigError(PsweepError):
    """A mistake in the psweep section of dask's configuration."""


def cluster_settings() -> dict[str, Any]:
    """Give the dask settings for a cluster of ours; the user's ``psweep.dask`` section wins.

    Examples
    --------
    >>> with dask.config.set({"psweep.dask": {"distributed.worker.daemon": True}}):
    ...     cluster_settings()["distributed.worker.daemon"]
    True
    """
    check()
    return {**CLUSTER_SETTINGS, **dask.config.get("psweep.dask", {})}


def check() -> None:
    """Make sure that the section has no key that nobody reads.

    Raises
    ------
    ConfigError
        If it has.
    """
    section = dask.config.get("psweep", {}) or {}
    unknown = [key for key in section if key.replace("-", "_") not in _KEYS]
    if unknown:
        raise ConfigError(
            f"dask's configuration has psweep.{unknown[0]}; known below psweep: are "
            f"{', '.join(sorted(_KEYS))}"
        )


def as_environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Write dask settings as the environment variables that dask reads them from.

    This is how they reach workers on other machines.

    Examples
    --------
    >>> as_environment({"distributed.scheduler.worker-ttl": None})
    {'DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL': 'None'}
    """
    return {
        "DASK_" + name.upper().replace(".", "__").replace("-", "_"): str(value)
        for name, value in settings.items()
    }
