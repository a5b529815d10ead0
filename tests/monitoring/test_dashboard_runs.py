"""Which runs a dashboard shows, and what it counts of a cluster."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from helpers.driver_process import wait_until
from helpers.inprocess_cluster import InProcess

from psweep_dask.monitoring import dashboard_runs
from psweep_dask.monitoring.dashboard_runs import (
    RUNS_SHOWN,
    DashboardRun,
    Snapshot,
    add,
    cluster_counts,
    report_to,
    show_run,
    shown_runs,
)
from psweep_dask.monitoring.stats import RunStats


@pytest.fixture(autouse=True)
def _no_other_runs(monkeypatch):
    monkeypatch.setattr(dashboard_runs, "_runs", {})
    monkeypatch.setattr(dashboard_runs, "_remote_schedulers", set())


def run_of(run_id, done=0, stats=None):
    stats = stats or Snapshot({"done": done}, [])
    return DashboardRun(run_id, "calc", "func", "2026-01-01T00:00:00+00:00", stats)


def test_shown_runs_are_the_newest_in_that_order():
    for number in range(RUNS_SHOWN + 5):
        add(run_of(str(number)))
    expected = [str(number) for number in range(RUNS_SHOWN + 4, 4, -1)]
    assert [run.run_id for run in shown_runs()] == expected


def test_add_replaces_what_was_known_of_a_run():
    add(run_of("a"))
    add(run_of("b"))
    add(run_of("a", done=3))
    assert [(run.run_id, run.as_dict()["done"]) for run in shown_runs()] == [("b", 0), ("a", 3)]


def test_dashboard_run_as_dict_has_its_names_and_its_numbers():
    assert run_of("a", stats=RunStats(7)).as_dict() == RunStats(7).as_dict() | {
        "run_id": "a",
        "study": "calc",
        "func": "func",
        "begun": "2026-01-01T00:00:00+00:00",
        "seconds": pytest.approx(0, abs=1),
    }


def test_show_run_without_a_client_shows_it_in_this_process_only():
    with show_run(None, run_of("a")):
        assert [run.run_id for run in shown_runs()] == ["a"]
    assert [run.run_id for run in shown_runs()] == ["a"]  # also when it has ended


class RemoteClient:
    """Stands for a client of a scheduler in another process; it keeps the reports."""

    def __init__(self):
        self.scheduler = type("Scheduler", (), {"address": "tcp://10.0.0.1:8786"})
        self.reports = []
        self.has_report = threading.Event()

    def run_on_scheduler(self, function, run):
        self.reports.append(run.as_dict()["done"])
        self.has_report.set()


def test_show_run_reports_while_it_lasts_and_once_at_its_end(monkeypatch):
    monkeypatch.setattr(dashboard_runs, "REPORT_INTERVAL_SECONDS", 0.01)
    client, stats = RemoteClient(), RunStats(7)
    report_to(client)
    with show_run(client, run_of("a", stats=stats)):
        assert client.has_report.wait(20)
        stats.done = 7
    assert client.reports[0] == 0
    assert client.reports[-1] == 7


def test_show_run_does_not_report_where_nobody_registered():
    client = RemoteClient()
    with show_run(client, run_of("a")):
        pass
    assert client.reports == []


def test_cluster_counts_jobs_workers_threads_and_what_is_busy(study_folder):
    def wait():
        while not Path("go_on").exists():
            time.sleep(0.01)

    with InProcess() as cluster:
        cluster.start("0123abcd-0-0")  # two workers of one job, one of another, one of no job
        cluster.start("0123abcd-0-1", nthreads=2)
        cluster.start("0123abcd-1")
        cluster.start("mine")
        future = cluster.client.submit(wait)
        wait_until(lambda: cluster_counts(cluster.scheduler)["busy"])
        assert cluster_counts(cluster.scheduler) == {
            "jobs": 2,
            "workers": 4,
            "threads": 5,
            "busy": 1,
            "hosts": 1,
        }
        Path("go_on").touch()
        future.result()
