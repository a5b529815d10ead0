from __future__ import annotations

import os
import pickle
import time

import pytest
from distributed import Client, LocalCluster

from psweep_dask.executors import (
    INLINE_WORK,
    DaskExecutor,
    Executor,
    ExecutorError,
    InlineExecutor,
)
from psweep_dask.pset import check_params
from psweep_dask.record import HEADER, dumps, unpack
from psweep_dask.slices import Slice
from psweep_dask.task import Work, pack_slice


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def work(func):
    return dumps(Work(os.urandom(4).hex(), 0, "calc", dumps(func)))


def packed(*values):
    psets, digests = check_params([{"a": value} for value in values])
    return pack_slice(
        list(range(len(psets))), psets, [digests[20 * n : 20 * n + 20] for n in range(len(psets))]
    )


def drain(executor):
    results = {}
    while executor.in_flight:
        for one, result in executor.finished(None):
            (block,) = unpack(result.frame[HEADER.size :])
            results[tuple(one.places)] = dict(zip(*block, strict=True))
    return results


@pytest.fixture(params=["inline", "dask"])
def make(request, client):
    def executor(func):
        if request.param == "inline":
            return InlineExecutor(work(func))
        return DaskExecutor(client, work(func), "func")

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
    assert make(lambda pset: {}).slots in (1, 2)


def test_a_large_func_travels_apart_from_the_tasks(client):
    ballast = os.urandom(INLINE_WORK)
    executor = DaskExecutor(client, work(lambda pset: {"y": len(ballast)}), "func")
    assert not isinstance(executor._work, bytes)
    executor.start([(Slice([n], 9.0), packed(n)) for n in range(4)])
    assert [one["y"] for one in drain(executor).values()] == [[INLINE_WORK]] * 4


def test_waiting_ends_when_the_timeout_is_over(client):
    executor = DaskExecutor(client, work(lambda pset: time.sleep(1) or {}), "func")
    executor.start([(Slice([0], 9.0), packed(1))])
    assert executor.finished(0.01) == []
    assert executor.finished(0.0) == []
    assert len(executor.finished(None)) == 1


def test_what_is_fetched_is_forgotten_on_the_cluster(client):
    executor = DaskExecutor(client, work(lambda pset: {}), "forgetful")
    executor.start([(Slice([n], 9.0), packed(n)) for n in range(20)])
    drain(executor)
    deadline = time.monotonic() + 10
    while remembered := [key for key in client.who_has() if "forgetful" in str(key)]:
        assert time.monotonic() < deadline, remembered
        time.sleep(0.05)


def test_a_slice_that_dask_cannot_run_is_an_error_with_the_reason(client):
    executor = DaskExecutor(client, work(lambda pset: {}), "func")
    executor.start([(Slice([0], 9.0), b"no pickle")])
    with pytest.raises(ExecutorError, match="UnpicklingError"):
        executor.finished(None)
    executor.cancel()


def test_cancelled_slices_stay_in_flight(client):
    executor = DaskExecutor(client, work(lambda pset: time.sleep(0.2) or {}), "func")
    executor.start([(Slice([n], 9.0), packed(n)) for n in range(4)])
    executor.cancel()
    assert executor.in_flight == 4
    with pytest.raises(ExecutorError, match="cancelled"):
        executor.finished(10)


def test_ctrl_c_is_told_apart_from_a_keyboard_interrupt_of_func(make):
    def func(pset):
        raise KeyboardInterrupt

    executor = make(func)
    executor.start([(Slice([0], 9.0), packed(1))])
    ((_, result),) = executor.finished(None)
    assert result.failed == {"KeyboardInterrupt": 1}
    assert not result.interrupted
    assert pickle.loads(result.examples[0].exception).__class__ is KeyboardInterrupt


def test_ctrl_c_during_a_pset_ends_the_slice_and_keeps_what_finished():
    def func(pset):
        if pset["a"] == 2:
            os.kill(os.getpid(), 2)
            time.sleep(10)
        return {}

    executor = InlineExecutor(work(func))
    executor.start([(Slice([0, 1, 2], 9.0), packed(0, 1, 2))])
    ((_, result),) = executor.finished(None)
    assert result.interrupted
    assert result.done == 2
