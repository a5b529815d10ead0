"""The contract of executors, on both of them; and what the one in this process does with Ctrl-C."""

from __future__ import annotations

import os
import pickle
import time

import pytest
from helpers.executor_request import drain, executor_request, packed_psets, work_of

from psweep_dask.clusters.dask_executor import DaskExecutor
from psweep_dask.clusters.executor import Executor, InlineExecutor, Slice
from psweep_dask.clusters.workers import ExternalPool
from psweep_dask.study.stop import Stop, Stopper
from psweep_dask.worker.runner import Runner


@pytest.fixture(params=["inline", "dask"])
def make(request, client):
    def executor(func):
        if request.param == "inline":
            return InlineExecutor(Runner(work_of(func), func), Stopper())
        return DaskExecutor(client, executor_request(func), ExternalPool(client, {}))

    return executor


def test_executor_hands_slices_back_with_their_results(make):
    executor: Executor = make(lambda pset: {"y": pset["a"] * 10})
    executor.start([(Slice([0, 1], 9.0), packed_psets(1, 2)), (Slice([2], 9.0), packed_psets(3))])
    assert executor.in_flight == 2
    results = drain(executor)
    assert results[0, 1]["y"] == [10, 20]
    assert results[(2,)]["y"] == [30]
    assert executor.in_flight == 0


def test_executor_expects_as_many_slots_as_there_are_threads(make):
    executor = make(dict)
    assert (
        executor.expected_slots == executor.slots(left=9) == (1 if executor.client is None else 2)
    )


def test_executor_makes_a_row_of_a_keyboard_interrupt_in_func(make):
    def func(pset):
        raise KeyboardInterrupt

    executor = make(func)
    executor.start([(Slice([0], 9.0), packed_psets(1))])
    ((_, result),) = executor.finished(30.0)
    assert result.failed == {"KeyboardInterrupt": 1}
    assert not result.interrupted
    assert pickle.loads(result.examples[0].exception).__class__ is KeyboardInterrupt


def test_inline_executor_forgets_slices_that_wait_when_it_is_cancelled():
    executor = InlineExecutor(Runner(work_of(dict), dict), Stopper())
    executor.start([(Slice([0], 9.0), packed_psets(1))])
    executor.cancel_waiting()
    assert executor.in_flight == executor.stalled == 0
    assert executor.finished(0.0) == []


def test_inline_executor_lets_the_pset_finish_on_ctrl_c_and_ends_the_slice():
    def func(pset):
        if pset["a"] == 2:
            os.kill(os.getpid(), 2)
        return {}

    stopper = Stopper()
    executor = InlineExecutor(Runner(work_of(func), func), stopper)
    executor.start([(Slice([0, 1, 2, 3], 9.0), packed_psets(0, 1, 2, 3))])
    with stopper.catch_signals():
        ((_, result),) = executor.finished(0.0)
    assert (result.done, result.interrupted, stopper.level) == (3, False, Stop.SOON)


def test_inline_executor_drops_the_pset_on_a_second_ctrl_c_and_keeps_what_finished():
    def func(pset):
        if pset["a"] == 2:
            os.kill(os.getpid(), 2)
            os.kill(os.getpid(), 2)
            time.sleep(10)
        return {}

    stopper = Stopper()
    executor = InlineExecutor(Runner(work_of(func), func), stopper)
    executor.start([(Slice([0, 1, 2], 9.0), packed_psets(0, 1, 2))])
    with stopper.catch_signals():
        ((_, result),) = executor.finished(0.0)
    assert (result.done, result.interrupted, stopper.level) == (2, True, Stop.NOW)
