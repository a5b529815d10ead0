from __future__ import annotations

import os
import pickle
import threading
import time
import uuid

import pytest
from distributed import Client, LocalCluster
from helpers.run_slice import load_of

from psweep_dask.clusters import plugins
from psweep_dask.clusters.dask_executor import INLINE_WORK, DaskExecutor
from psweep_dask.clusters.executor import Executor, ExecutorError, InlineExecutor, LostSlice, Slice
from psweep_dask.clusters.workers import ExternalPool
from psweep_dask.storage.record import HEADER, dumps, unpack
from psweep_dask.study.stop import Stop, Stopper
from psweep_dask.worker.failures import Running
from psweep_dask.worker.work import Work


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def work(func):
    return dumps(Work(str(uuid.uuid4()), 0, "calc", dumps(func)))


def dask_executor(client, packed_work, name="func"):
    return DaskExecutor(client, packed_work, name, ExternalPool(client, True, {}))


def packed(*values):
    return load_of([{"a": value} for value in values]).pack()


def drain(executor):
    results = {}
    while executor.in_flight:
        for one, result in executor.finished(30.0):
            (block,) = unpack(result.frame[HEADER.size :])
            results[tuple(one.places)] = dict(zip(*block, strict=True))
    return results


@pytest.fixture(params=["inline", "dask"])
def make(request, client):
    def executor(func):
        if request.param == "inline":
            return InlineExecutor(work(func), Stopper())
        return dask_executor(client, work(func))

    return executor


def test_slices_come_back_with_their_results(make):
    executor: Executor = make(lambda pset: {"y": pset["a"] * 10})
    executor.start([(Slice([0, 1], 9.0), packed(1, 2)), (Slice([2], 9.0), packed(3))])
    assert executor.in_flight == 2
    results = drain(executor)
    assert results[0, 1]["y"] == [10, 20]
    assert results[(2,)]["y"] == [30]
    assert executor.in_flight == 0


def test_slots_are_the_threads_there_are(make):
    assert make(lambda pset: {}).slots_hoped in (1, 2)


def test_a_large_func_travels_apart_from_the_tasks(client):
    ballast = os.urandom(INLINE_WORK)
    executor = dask_executor(client, work(lambda pset: {"y": len(ballast)}))
    executor.start([(Slice([n], 9.0), packed(n)) for n in range(4)])
    assert executor._scattered is not None
    assert [one["y"] for one in drain(executor).values()] == [[INLINE_WORK]] * 4


def test_waiting_ends_when_the_timeout_is_over(client):
    executor = dask_executor(client, work(lambda pset: time.sleep(1) or {}))
    executor.start([(Slice([0], 9.0), packed(1))])
    assert executor.finished(0.01) == []
    assert executor.finished(0.0) == []
    assert len(executor.finished(30.0)) == 1


def test_what_is_fetched_is_forgotten_on_the_cluster(client):
    executor = dask_executor(client, work(lambda pset: {}), "forgetful")
    executor.start([(Slice([n], 9.0), packed(n)) for n in range(20)])
    drain(executor)
    deadline = time.monotonic() + 10
    while remembered := [key for key in client.who_has() if "forgetful" in str(key)]:
        assert time.monotonic() < deadline, remembered
        time.sleep(0.05)


def test_a_slice_that_dask_cannot_run_is_an_error_with_the_reason(client):
    executor = dask_executor(client, work(lambda pset: {}))
    executor.start([(Slice([0], 9.0), b"no pickle")])
    with pytest.raises(ExecutorError, match="UnpicklingError"):
        executor.finished(30.0)
    executor.cancel()


def test_cancelled_slices_come_back_as_lost(client):
    executor = dask_executor(client, work(lambda pset: time.sleep(0.2) or {}))
    executor.start([(Slice([n], 9.0), packed(n)) for n in range(4)])
    executor.cancel()
    lost = []
    while executor.in_flight:
        lost += executor.finished(30.0)
    assert sorted((one.places[0], loss) for one, loss in lost) == [
        (n, LostSlice()) for n in range(4)
    ]


def test_only_slices_that_wait_are_cancelled(client):
    executor = dask_executor(client, work(lambda pset: time.sleep(1) or {}))
    executor.start([(Slice([n], 9.0), packed(n)) for n in range(8)])
    time.sleep(0.3)
    executor.cancel_waiting()
    outcomes = []
    while executor.in_flight:
        outcomes += executor.finished(30.0)
    # By default dask has two tasks on each worker, of which one waits there.
    assert [isinstance(outcome, LostSlice) for _, outcome in outcomes].count(True) == 4


def test_a_wait_can_be_ended_from_another_thread(client):
    executor = dask_executor(client, work(lambda pset: {}))
    threading.Timer(0.1, executor.wake).start()
    started = time.monotonic()
    assert executor.finished(30.0) == []
    assert time.monotonic() - started < 10


def test_a_worker_that_dies_is_told_with_what_its_nanny_has_seen():
    def deadly(pset):
        os.kill(os.getpid(), 9)

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        plugins.install(client, ours=False)  # dask would try three times more
        executor = dask_executor(client, work(deadly))
        executor.start([(Slice([0, 1], 9.0), packed(1, 2))])
        outcomes = []
        while executor.in_flight:
            outcomes += executor.finished(30.0)
    ((one, loss),) = outcomes
    assert one.places == [0, 1]
    assert loss.worker == loss.death.worker
    assert loss.death.exitcode == -9
    (running,) = loss.death.running
    assert isinstance(running, Running)
    assert running.pset_seq == 10


class Chosen(ExternalPool):
    """Names the workers that a test chooses for slices that need a long life."""

    def __init__(self, client):
        super().__init__(client, waits_for_none=False, resources={})
        self.workers: list[str] = []
        self.asked: list[float] = []
        self.left = 0

    def slots(self, left):
        self.left = left
        return super().slots(left)

    def workers_for(self, seconds):
        self.asked.append(seconds)
        return self.workers


@pytest.fixture
def chosen(client):
    return Chosen(client)


def where(client, chosen):
    def func(pset):
        from distributed import get_worker

        return {"y": get_worker().address}

    return DaskExecutor(client, work(func), "where", chosen)


def test_a_slice_that_needs_a_long_life_is_held_until_a_worker_has_it(client, chosen):
    executor = where(client, chosen)
    executor.start([(Slice([0], 9.0, life=100.0), packed(0)), (Slice([1], 9.0), packed(1))])
    ((one, _),) = executor.finished(30.0)
    assert one.places == [1]  # the other holds up nobody
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
        executor.start([(Slice([0], 9.0, life=100.0), packed(0))])
        assert executor.stalled == 1


def test_a_stop_gives_held_slices_back(client, chosen):
    executor = where(client, chosen)
    executor.start([(Slice([0], 9.0, life=100.0), packed(0))])
    executor.cancel_waiting()
    assert executor.finished(0.0) == [(Slice([0], 9.0, life=100.0), LostSlice())]
    assert executor.in_flight == 0


def test_a_worker_that_was_chosen_and_is_gone_holds_up_nobody(client, chosen):
    executor = where(client, chosen)
    chosen.workers = ["tcp://127.0.0.1:1"]
    executor.start([(Slice([0], 9.0, life=100.0), packed(0))])
    assert drain(executor)[(0,)]["y"][0] in client.scheduler_info()["workers"]


def test_no_more_psets_run_at_once_than_resources_allow(study_folder):
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
        asks = {"GPU": 1}
        supply = ExternalPool(client, False, asks)
        executor = DaskExecutor(client, work(func), "func", supply, asks)
        assert executor.slots(left=8) == 1
        executor.start([(Slice([n], 9.0), packed(n)) for n in range(8)])
        statuses = []
        while executor.in_flight:
            statuses += [result.statuses for _, result in executor.finished(30.0)]
    assert statuses == [{"ok": 1}] * 8


def test_ctrl_c_lets_the_pset_finish_and_ends_the_slice():
    def func(pset):
        if pset["a"] == 2:
            os.kill(os.getpid(), 2)
        return {}

    stopper = Stopper()
    executor = InlineExecutor(work(func), stopper)
    executor.start([(Slice([0, 1, 2, 3], 9.0), packed(0, 1, 2, 3))])
    with stopper.catch_signals():
        ((_, result),) = executor.finished(0.0)
    assert (result.done, result.interrupted, stopper.level) == (3, False, Stop.SOON)


def test_a_second_ctrl_c_drops_the_pset_and_keeps_what_finished():
    def func(pset):
        if pset["a"] == 2:
            os.kill(os.getpid(), 2)
            os.kill(os.getpid(), 2)
            time.sleep(10)
        return {}

    stopper = Stopper()
    executor = InlineExecutor(work(func), stopper)
    executor.start([(Slice([0, 1, 2], 9.0), packed(0, 1, 2))])
    with stopper.catch_signals():
        ((_, result),) = executor.finished(0.0)
    assert (result.done, result.interrupted, stopper.level) == (2, True, Stop.NOW)


def test_a_keyboard_interrupt_of_func_is_its_failure(make):
    def func(pset):
        raise KeyboardInterrupt

    executor = make(func)
    executor.start([(Slice([0], 9.0), packed(1))])
    ((_, result),) = executor.finished(30.0)
    assert result.failed == {"KeyboardInterrupt": 1}
    assert not result.interrupted
    assert pickle.loads(result.examples[0].exception).__class__ is KeyboardInterrupt
