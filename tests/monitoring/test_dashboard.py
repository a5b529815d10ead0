"""The page and its numbers are on each dashboard of ours, and on others after `ps.register`."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, nullcontext
from types import SimpleNamespace

import dask.config
import pytest
from distributed import Client, LocalCluster
from helpers.driver_process import wait_until

import psweep_dask as ps
from psweep_dask.monitoring import dashboard, dashboard_runs
from psweep_dask.monitoring.dashboard import (
    JUPYTERLAB_PATH,
    LINK_SETTING,
    PAGE_PATH,
    ROUTES_SETTING,
    STATUS_PATH,
    dashboard_link,
    scheduler_settings,
)


def get(address):
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read().decode()


@pytest.fixture
def remote_client(study_folder):
    """A client of a scheduler and a worker, each a process of its own."""
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


@pytest.fixture(scope="module")
def our_cluster():
    """A cluster whose dashboard has the page, as those that we start ourselves."""
    settings = scheduler_settings()
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def address(our_cluster):
    return dashboard_link(our_cluster, on_loopback=True).removesuffix("/status")


def test_local_cluster_serves_page_and_status_json():
    sweep = ps.submit(lambda pset: {"y": 1}, ps.plist("a", range(10)))
    sweep.result()
    assert sweep.dashboard_link.startswith("http://127.0.0.1:")
    assert sweep.dashboard_link.endswith(PAGE_PATH)
    assert "<title>psweep_dask</title>" in get(sweep.dashboard_link)
    status = json.loads(get(f"{sweep.dashboard_link}/status.json"))
    (run,) = [run for run in status["runs"] if run["run_id"] == sweep.run_id]
    assert (run["func"], run["study"], run["done"]) == ("lambda", "calc", 10)
    assert status["cluster"]["workers"] >= 1


def test_status_json_is_never_cached(address):
    with urllib.request.urlopen(f"{address}{STATUS_PATH}", timeout=20) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"].startswith("application/json")
        assert set(json.load(answer)) == {"cluster", "runs"}


def test_page_has_its_title_and_style_and_is_a_panel_of_jupyterlab(address):
    for path in (PAGE_PATH, JUPYTERLAB_PATH):
        html = get(f"{address}{path}")
        assert "<title>psweep_dask</title>" in html
        assert "--ground: #161616" in html  # the style of dark mode
    assert JUPYTERLAB_PATH in json.loads(get(f"{address}/individual-plots.json")).values()


def test_page_leaves_those_of_dask_where_they_are(address):
    assert "Dask" in get(f"{address}/status")


def test_scheduler_settings_add_our_routes_once_behind_those_of_the_user():
    with dask.config.set({ROUTES_SETTING: ["mine", dashboard.__name__, "distributed.http.json"]}):
        modules = scheduler_settings()[ROUTES_SETTING]
    assert modules == ["mine", "distributed.http.json", dashboard.__name__]
    with dask.config.set({ROUTES_SETTING: None}):
        assert scheduler_settings()[ROUTES_SETTING] == [dashboard.__name__]


def test_register_reports_runs_to_a_scheduler_in_another_process(remote_client):
    link = ps.register(remote_client)
    assert ps.register(remote_client) == link  # a second call changes nothing
    assert link.startswith("http://")
    assert link.endswith("/psweep")
    assert json.loads(get(f"{link}/status.json"))["runs"] == []
    df = ps.run(lambda pset: {"y": 1 / pset["a"]}, ps.plist("a", range(10)), cluster=remote_client)
    status = json.loads(get(f"{link}/status.json"))
    (run,) = status["runs"]
    assert run["run_id"] == df._run_id.iloc[0]
    assert run["counts"] == {"ok": 9, "error": 1, "left": 0}
    assert run["failures"][0]["kind"] == "ZeroDivisionError"
    assert status["cluster"]["workers"] == 1
    assert "<title>psweep_dask</title>" in get(link)


def test_register_broken_connection_costs_the_display_and_nothing_else(remote_client, monkeypatch):
    ps.register(remote_client)
    monkeypatch.setattr(dashboard_runs, "REPORT_INTERVAL_SECONDS", 0.0)
    tries = []

    def broken(function, *args, **options):
        tries.append(function.__name__)
        raise OSError("no")

    monkeypatch.setattr(remote_client, "run_on_scheduler", broken)
    monkeypatch.setattr(
        "psweep_dask.clusters.resolve.installed_plugins", lambda *_: nullcontext(lambda: None)
    )
    df = ps.run(lambda pset: {"y": 1}, ps.plist("a", range(10)), cluster=remote_client)
    assert len(df) == 10
    assert "add" in tries


def test_register_scheduler_in_this_process_needs_no_report(study_folder):
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        link = ps.register(client)
        sweep = ps.submit(lambda pset: {"y": 1}, ps.plist("a", range(10)), cluster=client)
        sweep.result()
        runs = json.loads(get(f"{link}/status.json"))["runs"]
        assert (runs[0]["run_id"], runs[0]["done"]) == (sweep.run_id, 10)
        assert client.scheduler.address not in dashboard_runs._remote_schedulers


@pytest.mark.parametrize("value", [None, "mycluster", 3])
def test_register_refuses_what_is_no_client(value):
    with pytest.raises(dashboard.RegisterError, match=r"register\(.*\): pass a dask Client"):
        ps.register(value)


class Linked:
    """Stands for a cluster whose link has the form that dask's configuration says."""

    def __init__(self, host="node1", port=8787):
        self.parts = {"scheme": "http", "host": host, "port": port}

    @property
    def dashboard_link(self):
        return dask.config.get(LINK_SETTING).format(**self.parts)


@pytest.mark.parametrize(
    ("form", "options", "link"),
    [
        (None, {}, "http://node1:8787/status"),
        (None, {"with_page": True}, "http://node1:8787/psweep"),
        (None, {"on_loopback": True}, "http://127.0.0.1:8787/status"),
        (None, {"on_loopback": True, "with_page": True}, "http://127.0.0.1:8787/psweep"),
        ("/proxy/{port}/status", {"on_loopback": True, "with_page": True}, "/proxy/8787/psweep"),
        ("/proxy/{port}", {"with_page": True}, "/proxy/8787"),
        ("{NO_SUCH_VARIABLE}/{port}/status", {"on_loopback": True}, "http://127.0.0.1:8787/status"),
    ],
)
def test_dashboard_link_keeps_the_form_of_the_user_and_else_names_the_page(form, options, link):
    with dask.config.set({LINK_SETTING: form} if form else {}):
        assert dashboard_link(Linked(), **options) == link


@pytest.mark.parametrize("form", ["{port", "{}/status", "{host.name}", "{port:q}", 8787, None])
def test_dashboard_link_whose_form_cannot_be_filled_in_is_that_of_dask(form, caplog):
    dashboard._warn_of_form.cache_clear()
    with dask.config.set({LINK_SETTING: form}):
        assert dashboard_link(Linked()) == "http://node1:8787/status"
        assert dashboard_link(Linked(), with_page=True) == "http://node1:8787/psweep"
        assert scheduler_settings()[LINK_SETTING] == dashboard.DASK_LINK
        assert dask.config.get(LINK_SETTING) == form
    (entry,) = caplog.records
    assert f"has distributed.dashboard.link: {form!r}, which cannot be" in entry.getMessage()


@pytest.mark.parametrize("link", ["", None])
def test_dashboard_link_of_a_cluster_without_a_dashboard_is_none(link):
    assert dashboard_link(SimpleNamespace(dashboard_link=link), with_page=True) is None
