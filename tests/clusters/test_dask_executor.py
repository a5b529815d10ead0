"""Slices as tasks of a real cluster; and clusters that are lost in part or as a whole."""

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
from helpers.executor_request import drain, executor_request, packed_psets

import psweep_dask as ps
from psweep_dask.clusters import plugins
from psweep_dask.clusters.dask_executor import MAX_INLINE_BYTES, DaskExecutor
from psweep_dask.clusters.executor import ExecutorError, LostSlice, Slice
from psweep_dask.clusters.users_plugins import installed_plugins
from psweep_dask.clusters.workers import ExternalPool
from psweep_dask.worker.failures import RunningPset, WalltimeLoss


@pytest.fixture
def client_without_workers():
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def dask_executor(client, func, **options):
    return DaskExecutor(client, executor_request(func, **options), ExternalPool(client, {}))


def outcomes_of(executor):
    outcomes = []
    while executor.in_flight:
        outcomes += executor.finished(30.0)
    return outcomes


def test_large_func_is_sent_to_workers_once_and_not_with_each_slice(client):
    ballast = os.urandom(MAX_INLINE_BYTES)
    executor = dask_executor(client, lambda pset: {"y": len(ballast)})
    executor.start([(Slice([n], 9.0), packed_psets(n)) for n in range(4)])
    assert len(client.who_has()) > 0  # where the func is
    assert [columns["y"] for columns in drain(executor).values()] == [[MAX_INLINE_BYTES]] * 4


def test_without_workers_a_slice_is_sent_so_that_an_adaptive_cluster_starts_some(
    client_without_workers,
):
    executor = dask_executor(client_without_workers, lambda pset: {})
    assert executor.slots(left=100) == 1


def test_without_workers_a_large_func_waits_for_them(client_without_workers):
    ballast = os.urandom(MAX_INLINE_BYTES)
    executor = dask_executor(client_without_workers, lambda pset: {"y": len(ballast)})
    assert executor.slots(left=100) == 0


def test_finished_waits_no_longer_than_its_timeout(client):
    executor = dask_executor(client, lambda pset: time.sleep(1) or {})
    executor.start([(Slice([0], 9.0), packed_psets(1))])
    assert executor.finished(0.01) == []
    assert executor.finished(0.0) == []
    assert len(executor.finished(30.0)) == 1


def test_finished_slices_are_forgotten_on_the_cluster(client):
    executor = dask_executor(client, lambda pset: {}, func_name="forgetful")
    executor.start([(Slice([n], 9.0), packed_psets(n)) for n in range(20)])
    drain(executor)
    deadline = time.monotonic() + 10
    while remembered := [key for key in client.who_has() if "forgetful" in str(key)]:
        assert time.monotonic() < deadline, remembered
        time.sleep(0.05)


def test_slice_that_dask_cannot_run_is_an_error_with_the_reason(client):
    executor = dask_executor(client, lambda pset: {})
    executor.start([(Slice([0], 9.0), b"no pickle")])
    with pytest.raises(ExecutorError, match="UnpicklingError"):
        executor.finished(30.0)
    executor.cancel()


def test_cancel_hands_all_slices_back_as_lost(client):
    executor = dask_executor(client, lambda pset: time.sleep(0.2) or {})
    executor.start([(Slice([n], 9.0), packed_psets(n)) for n in range(4)])
    executor.cancel()
    lost = outcomes_of(executor)
    assert sorted((slice_.places[0], loss) for slice_, loss in lost) == [
        (n, LostSlice()) for n in range(4)
    ]


def test_cancel_remembers_on_which_workers_a_slice_was_running(client):
    executor = dask_executor(client, lambda pset: time.sleep(0.5) or {}, func_name="endless")
    executor.start([(Slice([0], 9.0), packed_psets(0))])

    def busy_workers():
        return [where for where, keys in client.processing().items() if "endless" in str(keys)]

    wait_until(busy_workers)
    busy = busy_workers()
    executor.cancel()
    assert executor.left_running == busy


def test_cancel_waiting_cancels_only_slices_that_wait(client):
    executor = dask_executor(client, lambda pset: time.sleep(1) or {})
    executor.start([(Slice([n], 9.0), packed_psets(n)) for n in range(8)])
    time.sleep(0.3)
    executor.cancel_waiting()
    outcomes = outcomes_of(executor)
    # By default dask has two tasks on each worker, of which one waits there.
    assert [isinstance(outcome, LostSlice) for _, outcome in outcomes].count(True) == 4


def test_wake_ends_a_wait_from_another_thread(client):
    executor = dask_executor(client, lambda pset: {})
    threading.Timer(0.1, executor.wake).start()
    started = time.monotonic()
    assert executor.finished(30.0) == []
    assert time.monotonic() - started < 10


def test_lost_slice_tells_what_the_nanny_has_seen_of_the_worker(monkeypatch):
    def deadly(pset):
        os.kill(os.getpid(), 9)

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
        installed_plugins(client, "a run"),  # without, dask would try three times more
    ):
        executor = dask_executor(client, deadly)
        executor.start([(Slice([0, 1], 9.0), packed_psets(1, 2))])
        with monkeypatch.context() as patches:
            patches.setattr(plugins, "worker_exits", lambda client: {})  # as before the report
            while not executor.stalled:
                assert executor.finished(30.0) == []
            assert executor.in_flight == 1
        ((slice_, loss),) = outcomes_of(executor)
    assert slice_.places == [0, 1]
    assert loss.worker == loss.worker_exit.worker
    assert loss.worker_exit.exitcode == -9
    (running,) = loss.worker_exit.running
    assert isinstance(running, RunningPset)
    assert running.pset_seq == 10


class ChosenPool(ExternalPool):
    """Has the workers that a test chooses for slices that need a long life."""

    report_patience = 5.0
    starts_on_demand = False

    def __init__(self, client):
        super().__init__(client, resources={})
        self.workers: list[str] = []
        self.asked: list[float] = []
        self.left = 0

    def slots(self, left):
        self.left = left
        return super().slots(left)

    def workers_for(self, seconds):
        self.asked.append(seconds)
        return self.workers

    def walltime_loss(self, key):
        return WalltimeLoss(ran=50.0, life=60.0, walltime=60.0)


@pytest.fixture
def chosen(client):
    return ChosenPool(client)


def where(client, chosen):
    def func(pset):
        from distributed import get_worker

        return {"y": get_worker().address}

    return DaskExecutor(client, executor_request(func), chosen)


def test_lost_slice_tells_the_walltime_that_has_ended_its_worker():
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
        installed_plugins(client, "a run"),
    ):
        request = executor_request(lambda pset: os._exit(1))
        executor = DaskExecutor(client, request, ChosenPool(client))
        executor.start([(Slice([0], 9.0), packed_psets(1))])
        ((_, loss),) = outcomes_of(executor)
    assert loss.walltime_loss == WalltimeLoss(ran=50.0, life=60.0, walltime=60.0)


def test_slice_that_needs_a_long_life_is_held_until_a_worker_has_it(client, chosen):
    executor = where(client, chosen)
    needy, other = Slice([0], 9.0, life=100.0), Slice([1], 9.0)
    executor.start([(needy, packed_psets(0)), (other, packed_psets(1))])
    ((slice_, _),) = executor.finished(30.0)
    assert slice_.places == [1]  # the other slice does not wait
    assert executor.finished(0.0) == []
    assert (executor.in_flight, executor.stalled) == (1, 1)
    assert set(chosen.asked) == {100.0}
    executor.slots(left=5)
    assert chosen.left == 6  # workers are needed for it, too
    for address in client.scheduler_info()["workers"]:
        chosen.workers = [address]
        executor.finished(0.0)
        assert executor.stalled == 0
        assert drain(executor)[(0,)]["y"] == [address]
        assert executor.in_flight == 0
        chosen.workers = []
        executor.start([(needy, packed_psets(0))])
        assert executor.stalled == 1


def test_stop_hands_held_slices_back(client, chosen):
    executor = where(client, chosen)
    executor.start([(Slice([0], 9.0, life=100.0), packed_psets(0))])
    executor.cancel_waiting()
    assert executor.finished(0.0) == [(Slice([0], 9.0, life=100.0), LostSlice())]
    assert executor.in_flight == 0


def test_slice_runs_elsewhere_if_the_worker_chosen_for_it_is_gone(client, chosen):
    executor = where(client, chosen)
    chosen.workers = ["tcp://127.0.0.1:1"]
    executor.start([(Slice([0], 9.0, life=100.0), packed_psets(0))])
    assert drain(executor)[(0,)]["y"][0] in client.scheduler_info()["workers"]


def test_resources_limit_how_many_psets_run_at_once(study_folder):
    def func(pset):
        os.mkdir("the only GPU")  # fails if it is there
        time.sleep(0.02)
        os.rmdir("the only GPU")
        return {}

    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=4,
            processes=False,
            resources={"GPU": 1},
            dashboard_address=":0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        needed = {"GPU": 1}
        request = executor_request(func, resources=needed)
        executor = DaskExecutor(client, request, ExternalPool(client, needed))
        assert executor.slots(left=8) == 1
        executor.start([(Slice([n], 9.0), packed_psets(n)) for n in range(8)])
        statuses = [result.statuses for _, result in outcomes_of(executor)]
    assert statuses == [{"ok": 1}] * 8


def slow():
    """Make a func that is pickled by value: external workers cannot import this module."""

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


def test_worker_lost_with_its_nanny_costs_no_attempt(external, caplog):
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


def test_workers_all_gone_are_warned_of_and_waited_for(external, caplog, monkeypatch):
    monkeypatch.setattr("psweep_dask.clusters.workers.NO_WORKER_WARNING_SECONDS", 1.0)
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


def test_scheduler_gone_ends_the_run_in_order_ready_for_resume(external, caplog):
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
        for end in self.sockets:
            with contextlib.suppress(OSError):  # closed by then
                end.shutdown(socket.SHUT_RDWR)
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
            self.sockets += [here, there]

    @staticmethod
    def _pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:  # cut
            pass
        source.close()
        sink.close()


@pytest.mark.parametrize("ballast", [0, 100_000], ids=["small func", "large func"])
def test_connection_that_breaks_and_comes_back_costs_nothing(caplog, ballast):
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


def test_large_func_survives_the_loss_of_the_workers_that_hold_it(external):
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
