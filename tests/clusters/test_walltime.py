"""What the policy decides is carried out: a real scheduler and real workers in this process.

What it decides is tested by plain calls in test_walltime_policy.py.
"""

from __future__ import annotations

import os
import time

import pytest
from distributed import Status
from helpers.driver_process import wait_until
from helpers.inprocess_cluster import InProcess

from psweep_dask.clusters import walltime_policy
from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.plugins import KEY_MARK
from psweep_dask.clusters.walltime import LOOK_SECONDS, WalltimePool
from psweep_dask.clusters.walltime_policy import LEAVE_SECONDS, LOSS_SECONDS, JobLifetime
from psweep_dask.worker.failures import WalltimeLoss


class Jobs(InProcess):
    """Workers named as those of batch jobs, and tasks that run until they are let go."""

    def __init__(self, resources=None):
        self.pool = WalltimePool(resources or {})
        self.woken = 0

    def __enter__(self):
        super().__enter__()
        self.pool.plugin.attach(self.cluster, self.wake)
        return self

    def __exit__(self, *_):
        self.let_go()
        super().__exit__()

    def wake(self):
        self.woken += 1

    def end_in(self, seconds, job="r-0", walltime=3600.0):
        self.pool.walltimes.jobs[job] = JobLifetime(time.monotonic() + seconds, walltime)

    def submit(self, number=0, mark=KEY_MARK, **options):
        """Submit a task that notes that it runs."""

        def func():
            open(f"begun{number}", "w").close()
            while not os.path.exists("gate"):
                time.sleep(0.01)
            return number

        return self.client.submit(func, key=("func", number, mark), **options)

    def begin(self, number=0, mark=KEY_MARK):
        """Submit a task, and wait until it runs."""
        future = self.submit(number, mark)
        wait_until(lambda: os.path.exists(f"begun{number}"))
        return future

    def let_go(self):
        open("gate", "w").close()

    def status(self, address):
        return self.scheduler.workers[address].status

    def look(self):
        """Look at the workers now, in the thread of the scheduler."""

        async def look():
            self.pool.plugin._look()

        self.cluster.sync(look)


@pytest.fixture
def jobs():
    with Jobs() as jobs:
        yield jobs


@pytest.fixture
def _aged(monkeypatch):
    """No worker counts as fresh."""
    monkeypatch.setattr(walltime_policy, "FRESH_SECONDS", 0.0)


def test_walltime_near_its_end_a_worker_takes_nothing_more_finishes_what_it_has_and_leaves(jobs):
    old = jobs.start("r-0-0")
    first = jobs.begin(1)
    jobs.end_in(LEAVE_SECONDS / 2)
    wait_until(lambda: jobs.status(old) == Status.paused)
    assert jobs.pool.usable_slots() == 0
    assert jobs.pool.workers_for(0.0) == []
    new = jobs.start("r-1-0")
    second = jobs.begin(2)
    assert [task.key[1] for task in jobs.scheduler.workers[new].processing] == [2]
    jobs.let_go()
    assert jobs.client.gather([first, second]) == [1, 2]
    time.sleep(2 * LOOK_SECONDS)  # in which it would leave
    assert old in jobs.scheduler.workers  # it has a result that is still asked for
    first.release()
    wait_until(lambda: old not in jobs.scheduler.workers)
    assert jobs.status(new) == Status.running


def test_walltime_near_its_end_tasks_that_have_not_begun_go_to_other_workers(jobs, monkeypatch):
    monkeypatch.setattr(walltime_policy, "HEARTBEAT_SECONDS", 2.0)
    jobs.cluster.sync(jobs.scheduler.extensions["stealing"].stop)  # which would do it as well
    old = jobs.start("r-0-0")
    first = jobs.begin(1)
    second = jobs.submit(2, workers=[old], allow_other_workers=True)
    wait_until(lambda: len(jobs.scheduler.workers[old].processing) == 2)
    jobs.end_in(LEAVE_SECONDS / 2)
    jobs.start("r-1-0")
    wait_until(lambda: os.path.exists("begun2"))
    assert [task.key[1] for task in jobs.scheduler.workers[old].processing] == [1]
    jobs.let_go()
    assert jobs.client.gather([first, second]) == [1, 2]


@pytest.mark.usefixtures("_aged")
def test_walltime_needed_follows_the_durations_of_slices(jobs):
    worker = jobs.start("r-0-0")
    jobs.end_in(1000.0)
    for _ in range(9):
        jobs.pool.record_duration(10.0)
    jobs.look()
    assert jobs.status(worker) == Status.running
    for _ in range(9):
        jobs.pool.record_duration(2000.0)
    wait_until(lambda: worker not in jobs.scheduler.workers)


def test_walltime_is_that_of_all_workers_of_a_job(jobs):
    leaving = {jobs.start("r-0-0"), jobs.start("r-0-1")}
    other = jobs.start("r-1-0")
    jobs.end_in(0.0, "r-0")
    wait_until(lambda: set(jobs.scheduler.workers) == {other})
    assert leaving.isdisjoint(jobs.scheduler.workers)


@pytest.mark.usefixtures("_aged")
def test_walltime_of_an_allocation_is_that_of_all_workers(jobs):
    for name in ("0", "1"):
        jobs.start(name)
    jobs.end_in(1000.0, "")
    assert not jobs.pool.walltimes.nearly_over(time.monotonic())
    jobs.pool.record_duration(5000.0)
    assert jobs.pool.walltimes.nearly_over(time.monotonic())
    wait_until(lambda: not jobs.scheduler.workers)


def test_retired_job_finishes_what_it_has_and_leaves(jobs):
    worker = jobs.start("r-0-0")
    task = jobs.begin(7)
    jobs.pool.walltimes.retire_job("r-0")
    wait_until(lambda: jobs.status(worker) == Status.paused)
    jobs.let_go()
    assert task.result() == 7
    task.release()
    wait_until(lambda: not jobs.scheduler.workers)


@pytest.mark.usefixtures("_aged")
def test_workers_for_names_those_that_are_free_and_live_long_enough(jobs):
    short, long, other = (jobs.start(f"r-{number}-0") for number in range(3))
    jobs.end_in(100.0, "r-0")
    jobs.end_in(1000.0, "r-1")
    jobs.end_in(1000.0, "r-2")
    assert set(jobs.pool.workers_for(50.0)) == {short, long, other}
    assert set(jobs.pool.workers_for(500.0)) == {long, other}
    jobs.lose(short)
    jobs.lose(long)
    task = jobs.begin()  # kept: dask forgets a task whose future is gone
    assert jobs.pool.busy()
    assert jobs.pool.workers_for(500.0) == []
    jobs.let_go()
    task.result()


@pytest.mark.usefixtures("_aged")
def test_workers_for_has_idle_workers_leave_where_none_lives_long_enough(jobs):
    first = jobs.start("r-0-0")
    task = jobs.begin()
    second = jobs.start("r-1-0")
    jobs.end_in(100.0, "r-0")
    jobs.end_in(100.0, "r-1")
    assert jobs.pool.workers_for(500.0) == []
    wait_until(lambda: second not in jobs.scheduler.workers)
    assert jobs.status(first) == Status.running  # it has something to do
    third = jobs.start("r-2-0")
    jobs.end_in(1000.0, "r-2")
    assert jobs.pool.workers_for(500.0) == [third]
    jobs.let_go()
    task.result()
    task.release()
    jobs.look()
    assert jobs.status(first) == Status.running  # it need not leave any more


def test_workers_that_were_there_before_the_plugin_are_known_to_it():
    with InProcess() as cluster:
        worker = cluster.start("r-0-0")
        pool = WalltimePool({})
        pool.plugin.attach(cluster.cluster, lambda: None)
        assert pool.workers_for(1.0) == [worker]


def test_slots_are_what_the_resources_of_workers_allow():
    with Jobs({"GPU": 1}) as jobs:
        assert jobs.pool.usable_slots() == 0
        jobs.start("r-0-0", nthreads=4)
        with pytest.raises(ExecutorError, match="none of the 1 workers has .*{'GPU': 1}"):
            jobs.pool.usable_slots()
        jobs.start("r-1-0", nthreads=4, resources={"GPU": 2})
        assert jobs.pool.usable_slots() == 2


def test_wake_is_called_when_a_worker_comes_or_goes(jobs):
    address = jobs.start("r-0-0")
    assert jobs.woken == 1
    jobs.stop(address)
    assert jobs.woken == 2


def test_walltime_loss_is_found_when_a_worker_is_lost_at_the_end_of_its_job(jobs):
    worker = jobs.start("r-0-0")
    task = jobs.begin()
    jobs.end_in(LOSS_SECONDS / 2, walltime=60.0)
    jobs.lose(worker)
    loss = jobs.pool.walltime_loss(task.key)
    assert isinstance(loss, WalltimeLoss)
    assert loss.walltime == 60.0
    assert 0 < loss.ran <= loss.life
    assert jobs.pool.walltime_loss(task.key) is None  # each loss is found once


@pytest.mark.parametrize("seconds", [1000.0, None], ids=["long before", "no walltime"])
def test_walltime_loss_is_none_when_a_worker_is_lost_otherwise(jobs, seconds):
    worker = jobs.start("r-0-0")
    task = jobs.begin()
    if seconds:
        jobs.end_in(seconds)
    jobs.lose(worker)
    assert jobs.pool.walltime_loss(task.key) is None


def test_walltime_loss_is_none_for_tasks_of_others_and_those_that_have_finished(jobs):
    worker = jobs.start("r-0-0", nthreads=2)
    ours, foreign = jobs.begin(1), jobs.begin(2, mark="theirs")
    jobs.let_go()
    jobs.client.gather([ours, foreign])
    jobs.end_in(LOSS_SECONDS / 2)
    jobs.lose(worker)
    assert jobs.pool.walltime_loss(ours.key) is None
    assert jobs.pool.walltime_loss(foreign.key) is None
    assert jobs.pool.walltime_loss(("never", 0, KEY_MARK)) is None
