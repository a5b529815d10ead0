"""The runs that a dashboard shows: of its own process, and those that other processes report."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psweep_dask.monitoring.stats import RunStats
from psweep_dask.storage.record import Record

if TYPE_CHECKING:  # it takes half a second to import
    from distributed import Client, Scheduler

RUNS_SHOWN = 20
REPORT_INTERVAL_SECONDS = 2.0  # between reports of a run to a scheduler in another process


@dataclass(frozen=True)
class Snapshot:
    """The `RunStats` of a run at one moment, to be sent to the process of the scheduler."""

    numbers: dict[str, Any]
    sample: Sequence[Record]

    def as_dict(self) -> dict[str, Any]:
        """Return what `RunStats.as_dict` has returned."""
        return self.numbers

    def rows(self) -> Sequence[Record]:
        """Return what `RunStats.rows` has returned."""
        return self.sample


@dataclass(frozen=True)
class DashboardRun:
    """A run that a dashboard shows."""

    run_id: str
    study: str  # its calc_dir
    func: str
    begun: str  # UTC, as ISO 8601
    stats: RunStats | Snapshot

    def as_dict(self) -> dict[str, Any]:
        """Return all of it but the rows as plain values, ready for JSON."""
        names = {"run_id": self.run_id, "study": self.study, "func": self.func, "begun": self.begun}
        return names | self.stats.as_dict()


_runs: dict[str, DashboardRun] = {}
_remote_schedulers: set[str] = set()  # addresses of those in other processes that show runs


def add(run: DashboardRun) -> None:
    """Show a run in the dashboard of this process, in place of what is known of it so far."""
    _runs[run.run_id] = run
    while len(_runs) > RUNS_SHOWN:
        del _runs[next(iter(_runs))]


def shown_runs() -> list[DashboardRun]:
    """Return the runs that the dashboard of this process shows, the newest first."""
    return list(_runs.values())[::-1]


def report_to(client: Client) -> None:
    """Report the runs on a cluster to its scheduler, which is another process, from now on."""
    _remote_schedulers.add(_address(client))


@contextmanager
def show_run(client: Client | None, run: DashboardRun) -> Iterator[None]:
    """Show a run in the dashboard of this process, and in that of its cluster if it is another.

    While the context lasts, its stats are reported every two seconds, and once at the end.
    """
    add(run)
    if client is None or _address(client) not in _remote_schedulers:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_report, args=(client, run, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5)  # until the last report has arrived


def _report(client: Client, run: DashboardRun, ended: threading.Event) -> None:
    is_last = False
    while not is_last:
        is_last = ended.wait(REPORT_INTERVAL_SECONDS)
        snapshot = Snapshot(run.stats.as_dict(), run.stats.rows())
        with suppress(OSError):  # the connection is broken: the next report has all numbers again
            client.run_on_scheduler(add, run=replace(run, stats=snapshot))


def _address(client: Client) -> str:
    return "" if client.scheduler is None else str(client.scheduler.address)


def cluster_counts(scheduler: Scheduler) -> dict[str, int]:
    """Count the jobs, workers, threads, busy threads and hosts of a cluster, as of now."""
    workers = tuple(scheduler.workers.values())
    # Workers in our batch jobs have the name of the job, and a number if the job has several.
    name = re.compile(r"([0-9a-f]{8}-\d+)(?:-\d+)?")
    matches = (name.fullmatch(str(worker.name)) for worker in workers)
    return {
        "jobs": len({match[1] for match in matches if match is not None}),
        "workers": len(workers),
        "threads": sum(worker.nthreads for worker in workers),
        "busy": sum(min(len(worker.processing), worker.nthreads) for worker in workers),
        "hosts": len({worker.host for worker in workers}),
    }
