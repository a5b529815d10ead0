"""Clusters that are lost in part or as a whole while a run is on them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from distributed import Client, LocalCluster
from helpers.driver_process import wait_until

import psweep_dask as ps


def slow():
    """Make a func that travels by value: workers of others cannot import this module."""

    def func(pset):
        time.sleep(0.05)
        return {"y": pset["a"]}

    return func


class External:
    """A scheduler and workers in processes of their own, each of which can be killed."""

    def __init__(self, folder):
        self.file = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--dashboard-address", ":0")
        wait_until(self.file.exists)
        self.workers = []

    def start_worker(self):
        self.workers.append(
            self._start("dask_worker", "--nthreads", "1", "--nworkers", "1", "--no-dashboard")
        )
        return self.workers[-1]

    def stop(self):
        for process in [*self.workers, self.scheduler]:
            process.kill()  # workers end by themselves with their nanny
            process.wait()

    @property
    def address(self):
        return json.loads(self.file.read_text())["address"]

    def _start(self, module, *options):
        command = [sys.executable, "-m", f"distributed.cli.{module}", *options]
        command += ["--host", "127.0.0.1"]
        return subprocess.Popen(
            [*command, "--scheduler-file", str(self.file)], stderr=subprocess.DEVNULL
        )


@pytest.fixture
def external(study_folder):
    cluster = External(study_folder)
    yield cluster
    cluster.stop()


def test_a_worker_that_dies_with_its_nanny_costs_no_attempt(external, caplog):
    first, _ = external.start_worker(), external.start_worker()
    with Client(scheduler_file=str(external.file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=30)
        sweep = ps.submit(slow(), ps.plist("a", range(100)), cluster=client)
        wait_until(lambda: len(sweep.df) > 10)
        first.kill()
        df = sweep.result(timeout=60)
    assert df.a.tolist() == list(range(100))
    assert (df._status == "ok").all()
    assert (df._attempt == 1).all()
    assert "1 worker was lost" in caplog.text


def test_with_all_workers_gone_it_says_so_and_waits_and_goes_on(external, caplog, monkeypatch):
    monkeypatch.setattr("psweep_dask.clusters.workers.LONELY", 1.0)
    first = external.start_worker()
    with Client(scheduler_file=str(external.file), set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)
        sweep = ps.submit(slow(), ps.plist("a", range(60)), cluster=client)
        wait_until(lambda: len(sweep.df) > 10)
        first.kill()
        wait_until(lambda: "all workers are gone" in caplog.text)
        assert not sweep.done
        external.start_worker()
        df = sweep.result(timeout=60)
    assert "there are workers again" in caplog.text
    assert df.y.tolist() == list(range(60))
    assert (df._attempt == 1).all()


def test_with_the_scheduler_gone_it_ends_in_order_ready_for_resume(external, caplog):
    external.start_worker()
    with Client(scheduler_file=str(external.file), timeout=3, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)
        sweep = ps.submit(slow(), ps.plist("a", range(200)), cluster=client)
        wait_until(lambda: len(sweep.df) > 10)
        external.scheduler.kill()
        with pytest.raises(ps.PsweepError, match="connection to dask's scheduler is gone for good"):
            sweep.result(timeout=60)
    assert "connection to dask's scheduler is lost, trying to connect again" in caplog.text
    assert "ps.resume('calc') runs the" in caplog.text
    saved = ps.df_read("calc/database.pk")
    assert len(saved) > 10
    df = ps.resume("calc", cluster="sync")
    assert df.y.tolist() == list(range(200))
    assert set(saved._pset_id) < set(df._pset_id)


class Proxy:
    """Passes connections on to a scheduler, until they are cut."""

    def __init__(self, address):
        host, port = address.removeprefix("tcp://").rsplit(":", 1)
        self.target = (host, int(port))
        self.server = socket.create_server(("127.0.0.1", 0))
        self.sockets = []
        self.address = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        for one in self.sockets:
            one.close_now()
        self.sockets.clear()

    def _accept(self):
        while True:
            try:
                here = self.server.accept()[0]
            except OSError:  # closed
                return
            there = socket.create_connection(self.target)
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()
            self.sockets += [_Cut(here), _Cut(there)]

    @staticmethod
    def _pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:  # cut
            pass
        source.close()
        sink.close()


class _Cut:
    def __init__(self, one):
        self.one = one

    def close_now(self):
        with contextlib.suppress(OSError):  # closed by then
            self.one.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("ballast", [0, 100_000], ids=["small func", "large func"])
def test_a_connection_that_is_cut_and_comes_back_costs_nothing(caplog, ballast):
    weight = os.urandom(ballast)

    def func(pset):
        time.sleep(0.05)
        return {"y": pset["a"], "weight": len(weight)}

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", processes=True
    ) as cluster:
        proxy = Proxy(cluster.scheduler_address)
        with Client(proxy.address, set_as_default=False) as client:
            sweep = ps.submit(func, ps.plist("a", range(120)), cluster=client)
            wait_until(lambda: len(sweep.df) > 10)
            proxy.cut()
            df = sweep.result(timeout=60)
        proxy.server.close()
    assert df.y.tolist() == list(range(120))
    assert (df.weight == ballast).all()
    assert (df._attempt == 1).all()
    assert "is lost, trying to connect again" in caplog.text
    assert "connected to dask's scheduler again" in caplog.text


def test_a_large_func_survives_the_loss_of_the_workers_that_hold_it(external):
    weight = os.urandom(100_000)

    def func(pset):
        time.sleep(0.05)
        return {"y": len(weight)}

    first = external.start_worker()
    with Client(scheduler_file=str(external.file), set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)
        sweep = ps.submit(func, ps.plist("a", range(60)), cluster=client)
        wait_until(lambda: len(sweep.df) > 10)
        first.send_signal(signal.SIGKILL)
        external.start_worker()
        df = sweep.result(timeout=60)
    assert (df.y == 100_000).all()
    assert len(df) == 60
