"""Our plugins on clusters of the user: gone after the last run, from all kinds of processes."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from distributed import Client, LocalCluster
from helpers.driver_process import wait_until
from helpers.executor_request import executor_request

import psweep_dask as ps
from psweep_dask.clusters import plugins, users_plugins
from psweep_dask.clusters.dask_executor import DaskExecutor
from psweep_dask.clusters.workers import ExternalPool

OURS = "psweep_dask"


@pytest.fixture
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def our_plugins(client):
    """The names of our plugins in all processes of a cluster, and what dask would send to more."""

    def on_scheduler(dask_scheduler):
        scheduler = dask_scheduler
        return [*scheduler.plugins, *scheduler.worker_plugins, *scheduler.nanny_plugins]

    def in_worker(dask_worker):
        return [*dask_worker.plugins]

    found = client.run_on_scheduler(on_scheduler)
    for names in client.run(in_worker).values():
        found += names
    for names in client.run(in_worker, nanny=True).values():
        found += names
    return sorted({name for name in found if name.startswith(OURS)})


ALL = [plugins.ActivityPlugin.name, users_plugins.RunsPlugin.name, plugins.MonitorPlugin.name]


def process_state():
    from psweep_dask.worker import runner, task

    folder = f"/tmp/psweep_dask-{os.getuid()}"
    return {
        "sigint": str(signal.getsignal(signal.SIGINT)),
        "faulthandler": faulthandler.is_enabled(),
        "activity": runner.activity_file is None,
        "turn": type(getattr(task, "turn", None)).__name__,
        "descriptors": sorted(
            os.readlink(f"/proc/self/fd/{name}")
            for name in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{name}")
            and folder in os.readlink(f"/proc/self/fd/{name}")
        ),
    }


def test_plugins_are_there_during_a_run_and_workers_are_as_before_after_it(client):
    before = client.run(process_state)
    sweep = ps.submit(lambda pset: time.sleep(1) or {}, ps.plist("a", range(4)), cluster=client)
    wait_until(lambda: our_plugins(client) == sorted(ALL))
    assert len(sweep.result()) == 4
    assert our_plugins(client) == []
    assert client.run(process_state) == before
    assert client.submit(os.getpid).result() in client.run(os.getpid).values()


def test_plugins_stay_until_the_last_of_two_runs_has_ended(client):
    ended = threading.Event()

    def short(pset):
        return {"y": 1}

    def long(pset):
        if pset["a"] == 1:
            time.sleep(60)
        time.sleep(0.3)
        return {"y": 2}

    def run_long():
        df = ps.run(long, ps.plist("a", range(3)), cluster=client, timeout=4.0, save=False)
        ended.set()
        return df

    with ThreadPoolExecutor() as threads:
        future = threads.submit(run_long)
        wait_until(lambda: our_plugins(client) == sorted(ALL))
        assert (ps.run(short, ps.plist("a", range(3)), cluster=client, save=False).y == 1).all()
        assert not ended.is_set()
        assert our_plugins(client) == sorted(ALL)
        # Its timeout is still enforced, by the nanny.
        assert future.result()._status.tolist() == ["ok", "timeout", "ok"]
    wait_until(lambda: len(client.nthreads()) == 2)
    assert our_plugins(client) == []


def test_nanny_whose_worker_restarts_at_the_end_keeps_no_plugin_and_gets_it_again(client):
    def func(pset):
        if pset["a"] == 1:
            time.sleep(60)
        return {}

    for _ in range(2):  # the second run begins while a worker restarts
        df = ps.run(func, ps.plist("a", range(2)), cluster=client, timeout=0.5, save=False)
        assert df._status.tolist() == ["ok", "timeout"]
    wait_until(lambda: len(client.nthreads()) == 2)
    assert our_plugins(client) == []


def test_run_that_cannot_begin_leaves_no_plugin():
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        with pytest.raises(ps.PsweepError, match="timeout= needs workers with a nanny"):
            ps.run(lambda pset: {}, [{"a": 1}], cluster=cluster, timeout=1.0)
        names = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins))
        assert not [name for name in names if name.startswith(OURS)]


def test_driver_that_is_killed_leaves_no_plugin(client, study_folder, monkeypatch):
    monkeypatch.setattr(users_plugins, "GONE_SECONDS", 0.2)  # the scheduler is in this process
    script = study_folder / "script.py"
    script.write_text(f"""
import time
import psweep_dask as ps
from distributed import Client
ps.run(lambda pset: time.sleep(60), [{{"a": 1}}], cluster=Client({client.scheduler.address!r}))
""")
    with subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL) as driver:
        try:
            wait_until(lambda: our_plugins(client) == sorted(ALL))
        finally:
            driver.kill()
    wait_until(lambda: our_plugins(client) == [])


def test_driver_that_connects_again_brings_the_plugins_back(client):
    with users_plugins.installed_plugins(client, "a run") as reconnected:
        client.run_on_scheduler(
            users_plugins._remove_run, "a run"
        )  # as after a minute without driver
        assert our_plugins(client) == []
        executor = DaskExecutor(
            client, executor_request(), ExternalPool(client, {}), None, reconnected
        )
        executor._connection._connected = False  # as it has been until now
        assert executor.slots(1) == 2
        assert our_plugins(client) == sorted(ALL)
    assert our_plugins(client) == []


@contextmanager
def worker_without_psweep_dask(address, folder):
    """A worker with a nanny that cannot import psweep_dask, in a process of its own."""
    (folder / "psweep_dask").mkdir()
    (folder / "psweep_dask" / "__init__.py").write_text("raise ImportError('none here')")
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1"]
    with subprocess.Popen(
        [*worker, "--no-dashboard", "--name", "bare", address],
        env={**os.environ, "PYTHONPATH": str(folder)},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def test_worker_without_psweep_dask_can_join_after_a_run(study_folder):
    with (
        LocalCluster(n_workers=1, dashboard_address=":0", host="127.0.0.1") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert len(ps.run(lambda pset: {}, [{"a": 1}], cluster=client)) == 1
        with worker_without_psweep_dask(cluster.scheduler_address, study_folder):
            client.wait_for_workers(2, timeout=60)
            names = {info["name"]: at for at, info in client.scheduler_info()["workers"].items()}
            bare = client.submit(_can_import, workers=[names["bare"]], pure=False)
            assert bare.result(timeout=60) == "none here"


def _can_import():
    try:
        import psweep_dask
    except ImportError as err:
        return str(err)
    return psweep_dask.__file__


_can_import.__module__ = "__main__"  # pickled by value
