"""The ``psweep:`` section of dask's configuration, and the dask settings of our clusters.

Users set these as any dask option: in ``~/.config/dask/psweep.yaml``, by ``DASK_PSWEEP__...``
variables, or by ``dask.config.set``. For instance, to give the workers' profiler back::

    psweep:
      dask:
        distributed.worker.profile.enabled: true
      keep-journal: false  # then `rebuild` has nothing to make the database from

What users have set for their own clusters, in the ``distributed:`` section, holds for ours too,
except for the settings below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask.config

from psweep_dask.errors import PsweepError

_PROCESSES = ("scheduler", "nanny", "worker", "client")

CLUSTER_SETTINGS: dict[str, Any] = {
    # No task waits on a worker: it would be lost together with the task that ends the worker.
    "distributed.scheduler.worker-saturation": 1.0,
    # Each lost task comes back to us at once, and we decide ourselves what runs again.
    "distributed.scheduler.allowed-failures": 0,
    # Scheduler and workers stay as long as the cluster, and tasks wait as long as it takes.
    "distributed.scheduler.idle-timeout": None,
    "distributed.scheduler.no-workers-timeout": None,
    "distributed.worker.lifetime.duration": None,
    "distributed.worker.lifetime.stagger": "0 seconds",
    "distributed.worker.lifetime.restart": False,
    # What is meant for one cluster of the user, with its own address and software.
    "distributed.scheduler.contact-address": None,
    **{f"distributed.{process}.preload": [] for process in _PROCESSES},
    **{f"distributed.{process}.preload-argv": [] for process in _PROCESSES},
    # There is no replica to be dropped, so this only takes time.
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.active-memory-manager.policies": [],
    # We need handlers that others block, such as the one that runs a function.
    "distributed.scheduler.blocked-handlers": [],
    "distributed.worker.blocked-handlers": [],
    "distributed.nanny.blocked-handlers": [],
    # A func may hold the GIL for an hour: its worker sends no heartbeat then, but it lives.
    "distributed.scheduler.worker-ttl": None,
    # An adaptive cluster starts all workers at once, also if the first psets may be short.
    "distributed.scheduler.unknown-task-duration": "60s",
    # Only func fills the memory of a worker, so spilling would not help, and a paused worker would
    # pause for ever. At 95 % of its memory a worker is ended and replaced.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # A func may use multiprocessing, and a worker must not be a fork of this process.
    "distributed.worker.daemon": False,
    "distributed.worker.multiprocessing-method": "spawn",
    # The rest lets an idle cluster take 1 % of a core instead of 9 % (measured).
    "distributed.worker.profile.enabled": False,
    "distributed.worker.profile.interval": "1s",
    "distributed.worker.profile.cycle": "10s",
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.tick.cycle": "10s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.scheduler.work-stealing-interval": "250ms",
}
"""The settings of dask that differ from its defaults in the clusters that we start."""

_KEYS = {"cluster", "dask", "keep_journal"}

_MAPPINGS = {
    "distributed.nanny.environ",
    "distributed.nanny.pre-spawn-environ",
    "distributed.scheduler.default-task-durations",
    "distributed.worker.resources",
}
"""Settings of dask whose value is a dict with keys of the user."""


class ConfigError(PsweepError):
    """A mistake in the psweep section of dask's configuration."""


def cluster_settings() -> dict[str, Any]:
    """Return the dask settings for a cluster of ours; the user's ``psweep.dask`` section wins.

    Examples
    --------
    >>> with dask.config.set({"psweep.dask": {"distributed.worker.daemon": True}}):
    ...     cluster_settings()["distributed.worker.daemon"]
    True
    """
    check()
    return {**CLUSTER_SETTINGS, **_flat(dask.config.get("psweep.dask", None) or {})}


def check() -> None:
    """Check the psweep section.

    Raises
    ------
    ConfigError
        If one of its keys is not known, or if its ``dask:`` is no section.
    """
    section = dask.config.get("psweep", {}) or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"dask's configuration has psweep: {section!r}, which is no section")
    unknown = [key for key in section if key.replace("-", "_") not in _KEYS]
    if unknown:
        raise ConfigError(
            f"dask's configuration has psweep.{unknown[0]}; known below psweep: are "
            f"{', '.join(sorted(_KEYS))}"
        )
    keep = dask.config.get("psweep.keep-journal", True)
    if not isinstance(keep, bool):
        raise ConfigError(
            f"dask's configuration has psweep.keep-journal: {keep!r}; it must be true or false"
        )
    settings = section.get("dask")
    if not isinstance(settings, Mapping | None):
        raise ConfigError(
            f"dask's configuration has psweep.dask: {settings!r}; settings of dask are expected "
            "there, such as distributed.worker.daemon: true"
        )


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings of a section by their full names, also those of sections in it."""
    settings: dict[str, Any] = {}
    for key, value in section.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name.replace("_", "-") not in _MAPPINGS:
            settings |= _flat(value, f"{name}.")
        else:
            settings[name] = value
    return settings


def as_environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Return dask settings as environment variables: so they reach workers on other machines.

    Examples
    --------
    >>> as_environment({"distributed.scheduler.worker-ttl": None})
    {'DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL': 'None'}
    """
    return {
        "DASK_" + name.upper().replace(".", "__").replace("-", "_"): str(value)
        for name, value in settings.items()
    }
