"""The runs that the dashboard in this process shows: those of its own, and those told to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from psweep_dask.storage.record import Record

if TYPE_CHECKING:
    from distributed import Scheduler

MOST = 20
"""So many runs are shown, the newest."""


class Numbers(Protocol):
    """What is known of a run; `psweep_dask.monitoring.stats.RunStats` is this."""

    def numbers(self) -> dict[str, Any]:
        """Give all that JSON can hold."""

    def rows(self) -> Sequence[Record]:
        """Give a few rows."""


@dataclass(frozen=True)
class Snapshot:
    """What is known of a run whose driver is another process, as it has told last."""

    last_numbers: dict[str, Any]
    last_rows: Sequence[Record]

    @classmethod
    def of(cls, seen: Numbers) -> Snapshot:
        """Take one."""
        return cls(seen.numbers(), seen.rows())

    def numbers(self) -> dict[str, Any]:
        """Give all that JSON can hold."""
        return self.last_numbers

    def rows(self) -> Sequence[Record]:
        """Give a few rows."""
        return self.last_rows


@dataclass(frozen=True)
class RegisteredRun:
    """A run that is shown.

    Parameters
    ----------
    run_id : str
    study : str
        Its ``calc_dir``.
    func : str
        Name of func.
    begun : str
        When, as ISO 8601.
    seen : Numbers
    """

    run_id: str
    study: str
    func: str
    begun: str
    seen: Numbers

    def with_seen(self, seen: Numbers) -> RegisteredRun:
        """Give the same run with other numbers."""
        return replace(self, seen=seen)

    def as_dict(self) -> dict[str, Any]:
        """Give all that JSON can hold."""
        about = {"run_id": self.run_id, "study": self.study, "func": self.func, "begun": self.begun}
        return about | self.seen.numbers()


_watched: dict[str, RegisteredRun] = {}


def show(one: RegisteredRun) -> None:
    """Show a run from now on, or what has become of it.

    Examples
    --------
    >>> snapshot = Snapshot({"done": 1}, [])
    >>> show(RegisteredRun("r", "calc", "func", "2026-01-01T00:00:00+00:00", snapshot))
    >>> registered()[0].as_dict()["done"]
    1
    """
    _watched[one.run_id] = one
    while len(_watched) > MOST:
        del _watched[next(iter(_watched))]


def registered() -> list[RegisteredRun]:
    """Give the runs that are shown, the newest first."""
    return list(_watched.values())[::-1]


_IN_A_JOB = re.compile(r"([0-9a-f]{8}-\d+)(?:-\d+)?")
"""Names of workers in batch jobs of ours: that of the job, and a number if it has several."""


def cluster_numbers(scheduler: Scheduler) -> dict[str, int]:
    """Count what is alive."""
    workers = tuple(scheduler.workers.values())
    in_jobs = (_IN_A_JOB.fullmatch(str(one.name)) for one in workers)
    return {
        "jobs": len({one[1] for one in in_jobs if one is not None}),
        "workers": len(workers),
        "threads": sum(one.nthreads for one in workers),
        "busy": sum(min(len(one.processing), one.nthreads) for one in workers),
        "hosts": len({one.host for one in workers}),
    }
