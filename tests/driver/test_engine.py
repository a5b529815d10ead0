"""The loop between the plan and an executor, on an executor that fails on purpose."""

from __future__ import annotations

import random

import pytest

from psweep_dask.clusters.executor import ExecutorError, LostSlice
from psweep_dask.driver.engine import Engine
from psweep_dask.params.pset import check_params
from psweep_dask.storage.plan import Plan
from psweep_dask.storage.record import HEADER, pack, to_frame, unpack
from psweep_dask.study.stop import Stop, Stopper
from psweep_dask.worker.early_rows import early_path
from psweep_dask.worker.failures import MAX_LOST_WORKERS, RunningPset, WorkerExit
from psweep_dask.worker.work import SliceResult, Work


def plan_of(count):
    psets = check_params([{"a": number} for number in range(count)])
    return Plan("run", 0, range(100, 100 + count), *psets)


def engine_of(count, executor, stopper=None, **options):
    work = Work("run", 0, "calc", b"", **options)
    return Engine(plan_of(count), work, executor, stopper or Stopper())


class FakeExecutor:
    """Gives slices back in a random order, each cut at a random place, at once."""

    def __init__(self, seed, slots=3):
        self.random = random.Random(seed)
        self.expected_slots = slots
        self.waiting = []
        self.ran = []
        self.cancelled = False
        self.most_in_flight = 0

    def slots(self, left):
        return self.expected_slots

    @property
    def in_flight(self):
        return len(self.waiting)

    stalled = 0

    def start(self, slices):
        self.waiting += slices
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def finished(self, timeout):
        if timeout == 0.0:
            return []
        slice_, packed = self.waiting.pop(self.random.randrange(self.in_flight))
        assert isinstance(packed, bytes)
        done = self.random.randint(1, len(slice_.places))
        self.ran += slice_.places[:done]
        result = SliceResult(frame=b"x", done=done, seconds=done * 0.001)
        result.statuses["ok"] = done
        return [(slice_, result)]

    def wake(self):
        self.woken = True

    def cancel_waiting(self):
        pass

    def cancel(self):
        self.cancelled = True


@pytest.mark.parametrize("seed", range(20))
def test_engine_runs_each_pset_once_in_whatever_order_slices_come_back(seed):
    executor = FakeExecutor(seed)
    results = list(engine_of(500, executor).results())
    assert sorted(executor.ran) == list(range(500))
    assert sum(result.done for result in results) == 500
    assert executor.most_in_flight <= 6


def test_give_up_sends_no_new_slice():
    executor = FakeExecutor(0)
    engine = engine_of(500, executor)
    results = engine.results()
    next(results)
    left = executor.in_flight
    engine.give_up()
    assert len(list(results)) == left
    assert executor.cancelled


def test_give_up_waits_for_slices_in_flight_for_a_while_only(monkeypatch):
    monkeypatch.setattr("psweep_dask.driver.engine.GIVE_UP_SECONDS", 0.0)
    executor = FakeExecutor(0)
    engine = engine_of(500, executor)
    results = engine.results()
    next(results)
    engine.give_up()
    assert list(results) == []
    assert executor.cancelled


def test_cancel_of_slices_in_flight_when_the_caller_asks_for_no_more_results():
    executor = FakeExecutor(0)
    results = engine_of(500, executor).results()
    next(results)
    results.close()
    assert executor.cancelled


def test_stop_soon_lets_slices_in_flight_finish():
    executor, stopper = FakeExecutor(0), Stopper()
    results = engine_of(500, executor, stopper).results()
    next(results)
    stopper.request(Stop.SOON)
    assert executor.woken
    left = executor.in_flight
    assert len(list(results)) <= left + 1
    assert len(executor.ran) < 500


def test_stop_now_waits_for_nothing():
    executor, stopper = FakeExecutor(0), Stopper()
    results = engine_of(500, executor, stopper).results()
    next(results)
    stopper.request(Stop.NOW)
    assert list(results) == []
    assert executor.cancelled


class LosingExecutor(FakeExecutor):
    """Loses each slice that has the fatal pset: its worker ends each time."""

    def __init__(self, fatal, worker_exit):
        super().__init__(0)
        self.fatal = fatal
        self.worker_exit = worker_exit
        self.lost = 0

    def finished(self, timeout):
        fatal = [pair for pair in self.waiting if self.fatal in pair[0].places]
        if not fatal:
            return super().finished(timeout)
        self.waiting.remove(fatal[0])
        self.lost += 1
        address = f"tcp://worker-{self.lost}"
        return [(fatal[0][0], LostSlice(address, self.worker_exit(self.fatal + 100)))]


def segfault(seq):
    return WorkerExit("tcp://w", "node7", -11, running=(RunningPset("run", seq, 2.5),))


def rows(results):
    return [
        dict(zip(names, values, strict=True))
        for result in results
        if result.frame != b"x"
        for names, columns in unpack(result.frame[HEADER.size :])
        for values in zip(*columns, strict=True)
    ]


@pytest.mark.parametrize("retries", [0, 2])
def test_killed_pset_is_a_row_after_its_attempts(retries):
    executor = LosingExecutor(7, segfault)
    engine = engine_of(50, executor, retries=retries)
    (row,) = rows(engine.results())
    assert (row["a"], row["_pset_seq"], row["_status"]) == (7, 107, "killed")
    assert row["_attempt"] == engine.workers_lost == retries + 1
    assert row["_exec_host"] == "node7"
    assert row["_pset_runtime"] == 2.5
    assert "signal 11 (SIGSEGV)" in row["_exc_txt"]
    assert sorted({*executor.ran} | {7}) == list(range(50))
    assert executor.ran.count(7) == 0


def test_lost_slice_keeps_the_rows_that_its_worker_has_written_early(study_folder):
    executor = LosingExecutor(7, segfault)
    engine = engine_of(50, executor, cwd=str(study_folder))
    finished = executor.finished

    def write_early_rows(timeout):
        """Before the first loss, the worker has written the rows before the fatal pset."""
        for slice_, _ in executor.waiting:
            if 7 in slice_.places and not executor.lost:
                before = slice_.places[: slice_.places.index(7)]
                executor.early = [100 + place for place in before]
                frame = pack([{"a": seq - 100, "_pset_seq": seq} for seq in executor.early])
                path = early_path(engine._work, 100 + slice_.places[0])
                path.parent.mkdir(parents=True)
                path.write_bytes(to_frame(SliceResult(frame=frame, done=len(before)).pack()))
        return finished(timeout)

    executor.finished = write_early_rows
    *early, killed = rows(engine.results())
    assert [row["_pset_seq"] for row in early] == executor.early != []
    assert (killed["_pset_seq"], killed["_status"]) == (107, "killed")
    assert sorted([*executor.ran, 7, *(row["a"] for row in early)]) == list(range(50))
    assert list(engine.early_rows()) == [], "the file is gone"


def test_lost_workers_of_one_pset_become_its_row_in_the_end_which_says_why():
    executor = LosingExecutor(7, lambda seq: None)
    (row,) = rows(engine_of(50, executor).results())
    assert (row["_status"], row["_attempt"], executor.lost) == ("killed", 1, MAX_LOST_WORKERS)
    assert "was lost 10 times" in row["_exc_txt"]
    assert sorted(executor.ran) == [place for place in range(50) if place != 7]


def test_lost_slices_that_never_ran_are_sent_again():
    executor = FakeExecutor(0)
    give = executor.finished
    losses = iter([True] * 5)
    executor.finished = lambda timeout: (
        [(executor.waiting.pop()[0], LostSlice())] if next(losses, False) else give(timeout)
    )
    engine = engine_of(500, executor)
    list(engine.results())
    assert sorted(executor.ran) == list(range(500))
    assert engine.workers_lost == 0


def test_retries_repeat_failed_attempts():
    executor = FakeExecutor(0)
    give = executor.finished

    def fail_once(timeout):
        ((slice_, result),) = give(timeout)
        ran = slice_.places[: result.done]
        result.again = [n for n, place in enumerate(ran) if executor.ran.count(place) == 1]
        return [(slice_, result)]

    executor.finished = fail_once
    engine = engine_of(100, executor, retries=1)
    list(engine.results())
    assert sorted(executor.ran) == sorted([*range(100)] * 2)
    assert engine.attempts_repeated == 100


def test_trouble_on_a_worker_ends_the_run_after_the_rows_that_came_with_it():
    executor = FakeExecutor(0)
    executor.finished = lambda timeout: [
        (executor.waiting.pop()[0], SliceResult(frame=b"x", done=1, trouble="disk full"))
    ]
    results = engine_of(500, executor).results()
    assert next(results).frame == b"x"
    with pytest.raises(ExecutorError, match="disk full"):
        next(results)
    assert executor.cancelled
