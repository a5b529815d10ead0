"""The policy by plain calls: a test is the clock, and says what each worker has to do."""

from __future__ import annotations

import pytest

from psweep_dask.clusters.walltime_policy import (
    FRESH_SECONDS,
    HEARTBEAT_SECONDS,
    LEAVE_SECONDS,
    LOSS_SECONDS,
    JobLifetime,
    WalltimePolicy,
    WorkerActions,
    WorkerLoad,
)
from psweep_dask.worker.failures import WalltimeLoss

BUSY, IDLE, FREE = WorkerLoad(), WorkerLoad(idle=True, free=True), WorkerLoad(free=True)
PAUSED = WorkerLoad(running=False)
PAUSED_IDLE = WorkerLoad(running=False, idle=True, free=True)

END = 1000.0
OLD = 2 * FRESH_SECONDS
"""A worker that connected at 0 s is not fresh at this time."""


def policy_with(**jobs):
    """A policy that knows the ends of jobs, and a worker of each, which came at 0 s."""
    policy = WalltimePolicy()
    for name, end in jobs.items():
        policy.jobs[name] = JobLifetime(end, walltime=3600.0)
        policy.add_worker(f"tcp://{name}", name, now=0.0)
    return policy


def test_walltime_timeline_of_a_worker():
    """The one in the docstring of `psweep_dask.clusters.walltime`."""
    policy = WalltimePolicy()
    policy.jobs["r-0"] = JobLifetime(end=60.0, walltime=60.0)
    policy.add_worker("w", "r-0", now=3.0)
    for _ in range(5):
        policy.record_duration(8.0)
    assert policy.decide(49.9, {"w": BUSY}) == WorkerActions()
    assert policy.decide(50.1, {"w": BUSY}) == WorkerActions(pause=["w"])
    assert policy.decide(55.0, {"w": PAUSED}) == WorkerActions()
    assert policy.decide(55.1, {"w": PAUSED_IDLE}) == WorkerActions(close=["w"])
    assert policy.decide(60.2, {"w": PAUSED}) == WorkerActions(take_back=["w"])


@pytest.mark.parametrize(
    ("durations", "needed"),
    [
        ([], 0.0),
        ([10.0], 10.0),
        ([10.0] * 19 + [500.0], 10.0),  # one long slice in many wastes no walltime
        ([10.0] * 9 + [500.0] * 9, 500.0),
        ([500.0] * 200 + [10.0] * 200, 10.0),  # the latest count
    ],
)
def test_walltime_needed_is_what_nine_of_ten_of_the_latest_slices_take(durations, needed):
    policy = policy_with(job=END)
    for seconds in durations:
        policy.record_duration(seconds)
    last = END - needed - LEAVE_SECONDS
    assert policy.decide(last - 0.1, {"tcp://job": BUSY}).pause == []
    assert policy.decide(last + 0.1, {"tcp://job": BUSY}).pause == ["tcp://job"]


def test_walltime_needed_is_never_longer_than_the_timeout_of_a_pset():
    policy = WalltimePolicy(timeout=10.0)
    policy.jobs[""] = JobLifetime(END, walltime=3600.0)
    policy.record_duration(5000.0)
    assert not policy.nearly_over(END - 10.0 - LEAVE_SECONDS - 0.1)
    assert policy.nearly_over(END - 10.0 - LEAVE_SECONDS + 0.1)


def test_fresh_worker_is_kept_since_its_successors_would_be_no_better():
    policy = policy_with(job=END)
    policy.record_duration(5000.0)
    just_fresh, no_more = FRESH_SECONDS - 0.1, FRESH_SECONDS + 0.1
    assert policy.decide(just_fresh, {"tcp://job": FREE}) == WorkerActions()
    assert policy.long_lived(5000.0, just_fresh, {"tcp://job": FREE}) == ["tcp://job"]
    assert policy.decide(no_more, {"tcp://job": FREE}).pause == ["tcp://job"]


def test_fresh_worker_is_not_kept_when_its_job_is_at_its_end():
    policy = policy_with(job=LEAVE_SECONDS)
    assert policy.decide(0.1, {"tcp://job": FREE}).pause == ["tcp://job"]


def test_worker_whose_end_is_not_known_is_kept():
    policy = WalltimePolicy()
    policy.add_worker("w", "r-0-0", now=0.0)
    policy.add_job("r-0")  # submitted, and nothing more is known
    policy.record_duration(1e6)
    assert policy.decide(1e9, {"w": IDLE}) == WorkerActions()
    assert policy.long_lived(1e9, 1e9, {"w": IDLE}) == ["w"]


def test_worker_that_is_just_connecting_gets_nothing():
    assert WalltimePolicy().long_lived(1.0, 0.0, {"unknown": FREE}) == []


def test_long_lived_workers_are_named_if_they_are_free_and_not_paused():
    policy = policy_with(short=100.0, long=END, busy=END, paused=END)
    loads = {"tcp://short": FREE, "tcp://long": FREE, "tcp://busy": BUSY, "tcp://paused": PAUSED}
    assert policy.long_lived(50.0, OLD, loads) == ["tcp://short", "tcp://long"]
    assert policy.long_lived(500.0, OLD, loads) == ["tcp://long"]
    assert policy.long_lived(5000.0, OLD, loads) == []


def test_idle_workers_leave_while_nobody_lives_long_enough():
    policy = policy_with(idle=100.0, busy=100.0)
    loads = {"tcp://idle": IDLE, "tcp://busy": BUSY}
    assert policy.long_lived(500.0, OLD, loads) == []
    assert policy.decide(OLD, loads).pause == ["tcp://idle"]
    loads["tcp://idle"] = PAUSED_IDLE
    assert policy.decide(OLD, loads).close == ["tcp://idle"]
    del loads["tcp://idle"]
    policy.jobs["new"] = JobLifetime(END, walltime=END)
    policy.add_worker("tcp://new", "new", now=OLD)
    loads |= {"tcp://new": BUSY, "tcp://busy": IDLE}
    assert policy.long_lived(500.0, OLD, loads) == []  # the new one is busy now, but it will do
    assert policy.decide(OLD, loads) == WorkerActions()


def test_idle_workers_stay_where_a_busy_worker_lives_long_enough():
    policy = policy_with(idle=100.0, busy=END)
    loads = {"tcp://idle": IDLE, "tcp://busy": BUSY}
    assert policy.long_lived(500.0, OLD, loads) == []
    assert policy.decide(OLD, loads) == WorkerActions()


def test_tasks_of_a_paused_worker_are_taken_back_when_its_heartbeats_have_told_which_run():
    policy = policy_with(job=END)
    policy.decide(END, {"tcp://job": BUSY})
    later = END + HEARTBEAT_SECONDS
    assert policy.decide(later - 0.1, {"tcp://job": PAUSED}).take_back == []
    assert policy.decide(later + 0.1, {"tcp://job": PAUSED}).take_back == ["tcp://job"]


def test_paused_worker_that_the_policy_has_not_paused_keeps_its_tasks():
    policy = policy_with(job=END)
    assert policy.decide(END + 2 * HEARTBEAT_SECONDS, {"tcp://job": PAUSED}) == WorkerActions()


def test_retired_job_has_its_workers_leave():
    policy = policy_with(job=END)
    policy.retire_job("job")
    assert policy.decide(1.0, {"tcp://job": BUSY}).pause == ["tcp://job"]
    assert policy.decide(2.0, {"tcp://job": PAUSED_IDLE}).close == ["tcp://job"]


def test_job_lifetime_that_is_known_is_not_forgotten_by_add_job():
    policy = policy_with(job=END)
    policy.add_job("job")
    assert policy.jobs["job"].end == END


@pytest.mark.parametrize(
    ("jobs", "worker", "job"),
    [
        (["r-2"], "r-2", "r-2"),  # the only worker of its job has the name of the job
        (["r-2"], "r-2-0", "r-2"),
        (["r-2"], "r-1-0", "r-1"),  # not known yet
        ([""], "17", ""),  # in an allocation all workers are in one job
    ],
)
def test_job_of_a_worker_is_found_by_its_name(jobs, worker, job):
    policy = WalltimePolicy()
    for name in jobs:
        policy.add_job(name)
    assert policy.job_of(worker) == job


def test_allocation_is_nearly_over_when_no_slice_fits_in():
    policy = policy_with()
    assert not policy.nearly_over(0.0)
    policy.jobs[""] = JobLifetime(END, walltime=END)
    policy.record_duration(100.0)
    assert not policy.nearly_over(END - 100.0 - LEAVE_SECONDS)
    assert policy.nearly_over(END - 100.0)


def test_walltime_loss_tells_how_long_slice_and_worker_were_there():
    policy = policy_with(job=60.0)
    policy.jobs["job"] = JobLifetime(end=60.0, walltime=50.0)
    policy.add_task("task", "tcp://job", now=20.0)
    policy.lose_worker("tcp://job", now=60.0)
    assert policy.pop_walltime_loss("task") == WalltimeLoss(ran=40.0, life=60.0, walltime=50.0)
    assert policy.pop_walltime_loss("task") is None  # once


@pytest.mark.parametrize(
    ("lost", "by_walltime"),
    [(60.0 - LOSS_SECONDS - 0.1, False), (60.0 - LOSS_SECONDS + 0.1, True), (90.0, True)],
)
def test_walltime_loss_is_one_at_the_end_of_the_job_or_later(lost, by_walltime):
    policy = policy_with(job=60.0)
    policy.add_task("task", "tcp://job", now=20.0)
    policy.lose_worker("tcp://job", lost)
    assert (policy.pop_walltime_loss("task") is not None) == by_walltime


def test_walltime_loss_needs_a_task_a_worker_that_is_lost_and_a_job_with_an_end():
    policy = policy_with(job=60.0)
    policy.add_worker("tcp://other", "other-0", now=0.0)
    assert policy.pop_walltime_loss("never begun") is None
    policy.add_task("finished", "tcp://job", now=20.0)
    policy.drop_task("finished")
    policy.add_task("no end", "tcp://other", now=20.0)
    policy.lose_worker("tcp://other", now=60.0)
    assert policy.pop_walltime_loss("no end") is None
    policy.add_task("lives", "tcp://job", now=20.0)
    assert policy.pop_walltime_loss("lives") is None
    policy.lose_worker("tcp://job", now=60.0)
    assert policy.pop_walltime_loss("finished") is None


def test_worker_that_nobody_knows_may_be_lost():
    policy = WalltimePolicy()
    policy.lose_worker("tcp://unknown", now=1.0)
    assert policy.pop_walltime_loss("task") is None
