"""Clusters that somebody else has started show our runs when they are asked to."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from contextlib import ExitStack

import pytest
from distributed import Client, LocalCluster
from helpers.driver_process import wait_until

import psweep_dask as ps
from psweep_dask.monitoring import register


def get(address):
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read().decode()


@pytest.fixture
def elsewhere(study_folder):
    """A scheduler and a worker, each a process of its own."""
    dask = [sys.executable, "-m", "dask"]
    file = ["--scheduler-file", "scheduler.json"]
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", *file]
    commands = [
        [*dask, *scheduler, "--dashboard-address", "127.0.0.1:0"],
        [*dask, "worker", "--nthreads", "1", "--no-dashboard", *file],
    ]
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            stack.enter_context(process)
            stack.callback(process.terminate)
            wait_until((study_folder / "scheduler.json").exists)
        with Client(scheduler_file="scheduler.json", set_as_default=False) as client:
            client.wait_for_workers(1)
            yield client


def test_a_scheduler_in_another_process_is_told_of_runs(elsewhere):
    link = ps.register(elsewhere)
    assert ps.register(elsewhere) == link  # twice is no harm
    assert link.startswith("http://")
    assert link.endswith("/psweep")
    assert json.loads(get(f"{link}/status.json"))["runs"] == []
    df = ps.run(lambda pset: {"y": 1 / pset["a"]}, ps.plist("a", range(10)), cluster=elsewhere)
    status = json.loads(get(f"{link}/status.json"))
    (run,) = status["runs"]
    assert run["run_id"] == df._run_id.iloc[0]
    assert run["counts"] == {"ok": 9, "error": 1, "left": 0}
    assert run["failures"][0]["kind"] == "ZeroDivisionError"
    assert status["cluster"]["workers"] == 1
    assert "<title>psweep_dask</title>" in get(link)


def test_a_broken_connection_costs_what_is_shown_and_nothing_else(elsewhere, monkeypatch):
    ps.register(elsewhere)
    monkeypatch.setattr(register, "INTERVAL", 0.0)

    def broken(*args, **options):
        raise OSError("no")

    monkeypatch.setattr(elsewhere, "run_on_scheduler", broken)
    monkeypatch.setattr("psweep_dask.clusters.plugins.install", lambda *args, **options: None)
    assert len(ps.run(lambda pset: {"y": 1}, ps.plist("a", range(10)), cluster=elsewhere)) == 10


def test_a_scheduler_in_this_process_has_no_need_to_be_told(study_folder):
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        link = ps.register(client)
        sweep = ps.submit(lambda pset: {"y": 1}, ps.plist("a", range(10)), cluster=client)
        sweep.result()
        runs = json.loads(get(f"{link}/status.json"))["runs"]
        assert (runs[0]["run_id"], runs[0]["done"]) == (sweep.run_id, 10)


@pytest.mark.parametrize("what", [None, "mycluster", 3])
def test_what_is_no_client_is_refused(what):
    with pytest.raises(ps.PsweepError, match=r"register\(.*\): pass a dask Client"):
        ps.register(what)
