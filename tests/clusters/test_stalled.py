"""What waits for a report or for a worker: plain calls, without clock and cluster."""

from __future__ import annotations

from psweep_dask.clusters.executor import Slice
from psweep_dask.clusters.stalled import REPORT_PATIENCE_SECONDS, HeldSlices, LostTasks
from psweep_dask.worker.failures import WorkerExit

KILLED = WorkerExit("tcp://w1", "node1", exitcode=-9)


def test_lost_task_waits_for_the_report_of_its_own_worker():
    lost = LostTasks()
    lost.add("task-1", "tcp://w1", now=0.0)
    lost.add("task-2", "tcp://w2", now=0.0)
    assert lost.pop_settled({}, now=1.0) == []
    assert len(lost) == 2
    assert lost.pop_settled({"tcp://w1": KILLED}, now=1.1) == [("task-1", "tcp://w1", KILLED)]
    assert len(lost) == 1


def test_lost_tasks_of_one_worker_share_its_report():
    lost = LostTasks()
    for key in ("task-1", "task-2"):
        lost.add(key, "tcp://w1", now=0.0)
    settled = lost.pop_settled({"tcp://w1": KILLED}, now=0.1)
    assert settled == [("task-1", "tcp://w1", KILLED), ("task-2", "tcp://w1", KILLED)]


def test_lost_task_is_settled_without_a_report_when_the_patience_is_over():
    lost = LostTasks()
    lost.add("early", "tcp://w1", now=10.0)
    lost.add("late", "tcp://w1", now=11.0)
    assert lost.pop_settled({}, now=10.0 + REPORT_PATIENCE_SECONDS) == []
    settled = lost.pop_settled({}, now=10.5 + REPORT_PATIENCE_SECONDS)
    assert settled == [("early", "tcp://w1", None)]


def test_lost_task_is_settled_once():
    lost = LostTasks()
    lost.add("task-1", "tcp://w1", now=0.0)
    assert len(lost.pop_settled({"tcp://w1": KILLED}, now=0.1)) == 1
    assert lost.pop_settled({"tcp://w1": KILLED}, now=99.0) == []
    assert len(lost) == 0


def test_held_slice_is_released_once_and_may_be_held_again():
    held = HeldSlices()
    slice_ = Slice([3], 1.0, life=150.0)
    held.hold(slice_, b"psets")
    assert (len(held), held.waiting) == (1, 1)
    assert held.release() == [(slice_, b"psets")]
    assert (len(held), held.release()) == (0, [])
    held.hold(slice_, b"psets")
    assert held.waiting == 1


def test_held_slices_that_are_dropped_are_in_flight_until_they_are_handed_back():
    held = HeldSlices()
    first, second = Slice([3], 1.0, life=150.0), Slice([4], 1.0, life=150.0)
    held.hold(first, b"")
    held.drop()
    held.hold(second, b"")
    assert (len(held), held.waiting) == (2, 1)
    assert held.release() == [(second, b"")]
    assert held.pop_dropped() == [first]
    assert (len(held), held.pop_dropped()) == (0, [])
