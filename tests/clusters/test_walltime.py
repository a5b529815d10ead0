"""Lives of workers, with a real scheduler and real workers in this process."""

from __future__ import annotations

import math
import os
import time

import pytest
from distributed import Status
from helpers.driver_process import wait_until
from helpers.inprocess_cluster import InProcess

from psweep_dask.clusters import walltime as walltime_module
from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.plugins import KEY_MARK
from psweep_dask.clusters.walltime import LATE, MARGIN, JobLifetime, WalltimePlugin
from psweep_dask.worker.failures import WalltimeLoss


class Jobs(InProcess):
    """Workers named as those of batch jobs, and tasks that run until they are let go."""

    def __init__(self, resources=None):
        self.lives = WalltimePlugin(resources or {})
        self.woken = 0

    def __enter__(self):
        super().__enter__()
        self.lives.watch(self.cluster, self.wake)
        return self

    def __exit__(self, *_):
        self.let_go()
        super().__exit__()

    def wake(self):
        self.woken += 1

    def end_in(self, seconds, job="r-0", walltime=3600.0):
        self.lives.jobs[job] = JobLifetime(time.monotonic() + seconds, walltime)

    def begin(self, number=0, mark=KEY_MARK):
        """Submit a task, and wait until it runs."""

        def func():
            open(f"begun{number}", "w").close()
            while not os.path.exists("gate"):
                time.sleep(0.01)
            return number

        future = self.client.submit(func, key=("func", number, mark))
        wait_until(lambda: os.path.exists(f"begun{number}"))
        return future

    def let_go(self):
        open("gate", "w").close()

    def status(self, address):
        return self.scheduler.workers[address].status

    def look(self):
        """Look at the workers now, where the scheduler does it."""

        async def look():
            self.lives._look()

        self.cluster.sync(look)


@pytest.fixture
def jobs():
    with Jobs() as jobs:
        yield jobs


@pytest.fixture
def aged(monkeypatch):
    """No worker counts as fresh."""
    monkeypatch.setattr(walltime_module, "FRESH", 0.0)


def test_a_worker_near_its_end_takes_nothing_more_finishes_what_it_has_and_leaves(jobs):
    old = jobs.start("r-0-0")
    first = jobs.begin(1)
    jobs.end_in(MARGIN / 2)
    wait_until(lambda: jobs.status(old) == Status.paused)
    assert jobs.lives.slots() == 0
    assert jobs.lives.workers_for(0.0) == []
    new = jobs.start("r-1-0")
    second = jobs.begin(2)
    assert [task.key[1] for task in jobs.scheduler.workers[new].processing] == [2]
    jobs.let_go()
    assert jobs.client.gather([first, second]) == [1, 2]
    time.sleep(2 * walltime_module.INTERVAL)  # in which it would leave
    assert old in jobs.scheduler.workers  # it has a result that is still asked for
    first.release()
    wait_until(lambda: old not in jobs.scheduler.workers)
    assert jobs.status(new) == Status.running


def test_the_one_worker_of_a_job_is_known_by_the_name_of_the_job(jobs):
    worker = jobs.start("r-7")
    jobs.lives.expect("r-7")
    assert [one.address for one in jobs.lives.workers_by_job()["r-7"]] == [worker]


def test_what_slices_take_decides_how_near_the_end_is(jobs, aged):
    worker = jobs.start("r-0-0")
    jobs.end_in(1000.0)
    for _ in range(9):
        jobs.lives.took(10.0)
    jobs.look()
    assert jobs.status(worker) == Status.running
    for _ in range(9):
        jobs.lives.took(2000.0)
    wait_until(lambda: worker not in jobs.scheduler.workers)


def test_one_long_slice_in_many_wastes_no_walltime(jobs, aged):
    worker = jobs.start("r-0-0")
    jobs.end_in(1000.0)
    for seconds in [10.0] * 19 + [5000.0]:
        jobs.lives.took(seconds)
    jobs.look()
    assert jobs.status(worker) == Status.running


def test_fresh_workers_are_spared_as_their_successors_would_be_no_better(jobs, monkeypatch):
    monkeypatch.setattr(walltime_module, "FRESH", math.inf)
    worker = jobs.start("r-0-0")
    jobs.end_in(1000.0)
    jobs.lives.took(5000.0)
    jobs.look()
    assert jobs.status(worker) == Status.running
    assert jobs.lives.workers_for(5000.0) == [worker]
    jobs.end_in(MARGIN / 2)
    wait_until(lambda: worker not in jobs.scheduler.workers)


def test_a_worker_whose_end_nobody_knows_lives_for_ever(jobs, aged):
    worker = jobs.start("r-0-0")
    jobs.lives.took(1e6)
    jobs.look()
    assert jobs.status(worker) == Status.running
    assert jobs.lives.workers_for(1e9) == [worker]


def test_who_lives_long_enough_is_named_if_it_is_free(jobs, aged):
    short, long, busy = (jobs.start(f"r-{number}-0") for number in range(3))
    jobs.end_in(100.0, "r-0")
    jobs.end_in(1000.0, "r-1")
    jobs.end_in(1000.0, "r-2")
    task = jobs.client.submit(time.sleep, 0, workers=[short])
    task.result()
    assert set(jobs.lives.workers_for(50.0)) == {short, long, busy}
    assert set(jobs.lives.workers_for(500.0)) == {long, busy}
    jobs.lose(short)
    jobs.lose(long)
    task = jobs.begin()  # kept: dask forgets what nobody waits for
    assert jobs.lives.busy()
    assert jobs.lives.workers_for(500.0) == []
    jobs.let_go()
    task.result()


def test_where_nobody_lives_long_enough_the_idle_leave_to_be_replaced(jobs, aged):
    first = jobs.start("r-0-0")
    task = jobs.begin()
    second = jobs.start("r-1-0")
    jobs.end_in(100.0, "r-0")
    jobs.end_in(100.0, "r-1")
    assert jobs.lives.workers_for(500.0) == []
    wait_until(lambda: second not in jobs.scheduler.workers)
    assert jobs.status(first) == Status.running  # it has something to do
    third = jobs.start("r-2-0")
    jobs.end_in(1000.0, "r-2")
    assert jobs.lives.workers_for(500.0) == [third]
    jobs.let_go()
    task.result()
    task.release()
    jobs.look()
    assert jobs.status(first) == Status.running  # nobody needs it to leave any more


def test_all_workers_of_a_job_share_its_end(jobs):
    leaving = {jobs.start("r-0-0"), jobs.start("r-0-1")}
    other = jobs.start("r-1-0")
    jobs.end_in(0.0, "r-0")
    wait_until(lambda: set(jobs.scheduler.workers) == {other})
    assert leaving.isdisjoint(jobs.scheduler.workers)


def test_a_job_that_is_retired_finishes_what_it_has_and_leaves(jobs):
    worker = jobs.start("r-0-0")
    task = jobs.begin(7)
    jobs.lives.retire("r-0")
    wait_until(lambda: jobs.status(worker) == Status.paused)
    jobs.let_go()
    assert task.result() == 7
    task.release()
    wait_until(lambda: not jobs.scheduler.workers)


def test_workers_are_found_by_their_job(jobs):
    jobs.end_in(1000.0, "r-2")
    for name in ("r-0-0", "r-0-1", "r-1-0", "r-2"):
        jobs.start(name)
    found = jobs.lives.workers_by_job()
    assert {job: sorted(str(one.name) for one in ones) for job, ones in found.items()} == {
        "r-0": ["r-0-0", "r-0-1"],
        "r-1": ["r-1-0"],
        "r-2": ["r-2"],  # where a job has one worker, that is named as the job
    }


def test_in_an_allocation_all_workers_end_with_it(jobs, aged):
    for name in ("0", "1"):
        jobs.start(name)
    jobs.end_in(1000.0, "")
    assert list(jobs.lives.workers_by_job()) == [""]
    assert not jobs.lives.nearly_over()
    jobs.lives.took(5000.0)
    assert jobs.lives.nearly_over()
    wait_until(lambda: not jobs.scheduler.workers)


def test_no_slice_takes_longer_than_its_timeout(jobs):
    lives = WalltimePlugin({}, timeout=10.0)
    lives.jobs[""] = JobLifetime(time.monotonic() + 1000.0, 3600.0)
    lives.took(5000.0)
    assert not lives.nearly_over()


def test_slots_are_what_the_workers_resources_allow():
    with Jobs({"GPU": 1}) as jobs:
        assert jobs.lives.slots() == 0
        jobs.start("r-0-0", nthreads=4)
        with pytest.raises(ExecutorError, match="none of the 1 workers has .*{'GPU': 1}"):
            jobs.lives.slots()
        jobs.start("r-1-0", nthreads=4, resources={"GPU": 2})
        assert jobs.lives.slots() == 2


def test_who_waits_is_woken_when_a_worker_comes_or_goes(jobs):
    address = jobs.start("r-0-0")
    assert jobs.woken == 1
    jobs.stop(address)
    assert jobs.woken == 2


def test_a_loss_at_the_end_of_a_job_is_put_down_to_its_walltime(jobs):
    worker = jobs.start("r-0-0")
    task = jobs.begin()
    jobs.end_in(LATE / 2, walltime=60.0)
    jobs.lose(worker)
    cut = jobs.lives.cut(task.key)
    assert isinstance(cut, WalltimeLoss)
    assert cut.walltime == 60.0
    assert 0 < cut.ran <= cut.life
    assert jobs.lives.cut(task.key) is None  # each loss is told once


@pytest.mark.parametrize("seconds", [1000.0, None], ids=["long before", "no walltime"])
def test_another_loss_is_not_put_down_to_the_walltime(jobs, seconds):
    worker = jobs.start("r-0-0")
    task = jobs.begin()
    if seconds:
        jobs.end_in(seconds)
    jobs.lose(worker)
    assert jobs.lives.cut(task.key) is None


def test_tasks_of_others_and_those_that_have_finished_were_not_cut_off(jobs):
    worker = jobs.start("r-0-0", nthreads=2)
    ours, foreign = jobs.begin(1), jobs.begin(2, mark="theirs")
    jobs.let_go()
    jobs.client.gather([ours, foreign])
    jobs.end_in(LATE / 2)
    jobs.lose(worker)
    assert jobs.lives.cut(ours.key) is None
    assert jobs.lives.cut(foreign.key) is None
    assert jobs.lives.cut(("never", 0, KEY_MARK)) is None
