"""The policy rule by rule, and against a simulated batch system in which jobs meet any fate."""

from __future__ import annotations

import pytest
from helpers.scaling_simulation import GOOD, Fate, World
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.clusters.scaling_policy import (
    CONNECT,
    GIVE_UP,
    LONGEST_PAUSE,
    SHORT_LIFE,
    SILENCE,
    Present,
    ScalingPolicy,
    WorkerJob,
)
from psweep_dask.hpc.slurm import JobState

PENDING, RUNNING, FAILED = JobState("PENDING"), JobState("RUNNING"), JobState("FAILED")
BUSY, IDLE, DRAINED = Present(), Present(idle=True), Present(leaving=True)

FAILS = Fate(connects=None, life=2.0)
MUTE = Fate(connects=None, life=10 * CONNECT)
REFUSED = Fate(refused=True)


class Run:
    """A policy with jobs that were submitted at 100 s."""

    def __init__(self, jobs=1, most=10, slots=1):
        self.policy = ScalingPolicy(most, slots)
        for number in range(jobs):
            self.submit(f"j{number}", 100.0)

    def submit(self, name, now):
        self.policy.submitted(WorkerJob(name, name, now))

    def look(self, now, left, states, present=()):
        return self.policy.orders(now, left, states, dict(present))

    @property
    def names(self):
        return [job.name for job in self.policy.jobs]


def names(jobs):
    return [job.name for job in jobs]


@pytest.mark.parametrize(
    ("most", "slots", "left", "jobs"),
    [(10, 4, 9, 3), (10, 4, 8, 2), (2, 4, 100, 2), (10, 4, 1, 1), (10, 1, 0, 0)],
)
def test_no_more_jobs_than_work_nor_than_allowed(most, slots, left, jobs):
    assert ScalingPolicy(most, slots).orders(100.0, left, {}, {}).submit == jobs


def test_a_job_that_waits_is_waited_for():
    run = Run()
    for now in (101.0, 1e4, 1e6):
        orders = run.look(now, 1, {"j0": PENDING})
        assert (orders.submit, orders.cancel) == (0, [])
    assert run.names == ["j0"]


@pytest.mark.parametrize("states", [{"j0": JobState("NODE_FAIL")}, {}], ids=["ended", "forgotten"])
def test_a_job_that_has_ended_after_a_long_life_is_replaced_at_once(states):
    run = Run()
    run.look(101.0, 1, {"j0": RUNNING}, {"j0": BUSY})
    assert run.look(101.0 + 2 * SHORT_LIFE, 1, states).submit == 1
    assert run.names == []


def test_a_job_that_has_ended_is_there_as_long_as_its_workers_are():
    run = Run()
    run.look(101.0, 1, {"j0": RUNNING}, {"j0": BUSY})
    assert run.look(200.0, 1, {}, {"j0": BUSY}).submit == 0
    assert run.look(201.0, 1, {}).submit == 1


def test_a_job_whose_workers_take_nothing_more_is_replaced_before_it_ends():
    run = Run(most=2)
    assert run.look(101.0, 5, {"j0": RUNNING}, {"j0": BUSY}).submit == 1
    run.submit("j1", 101.0)
    both = {"j0": RUNNING, "j1": RUNNING}
    assert run.look(102.0, 5, both, {"j0": DRAINED, "j1": BUSY}).submit == 0  # never more than 2
    assert run.look(103.0, 5, {"j1": RUNNING}, {"j1": BUSY}).submit == 1


def test_a_controller_that_does_not_answer_tells_nothing():
    run = Run(jobs=2)
    run.look(101.0, 2, {"j0": RUNNING, "j1": PENDING}, {"j0": BUSY})
    for now in range(102, 102 + int(3 * SILENCE)):
        assert run.look(float(now), 2, None).submit == 0
    assert run.names == ["j0", "j1"]


def test_where_no_queue_can_be_asked_a_job_has_ended_when_its_workers_stay_away():
    run = Run(jobs=2)
    run.look(101.0, 2, None, {"j0": BUSY})
    run.look(101.0 + SILENCE, 2, None)
    assert run.names == ["j0", "j1"]
    run.look(102.0 + SILENCE, 2, None)
    assert run.names == ["j1"]  # which may be in the queue for days


def test_workers_that_never_connect_cost_their_job_its_place():
    run = Run()
    assert run.look(500.0, 1, {"j0": RUNNING}).cancel == []
    assert run.look(500.0 + CONNECT, 1, {"j0": RUNNING}).cancel == []
    orders = run.look(501.0 + CONNECT, 1, {"j0": RUNNING})
    assert names(orders.cancel) == ["j0"]
    assert run.look(502.0 + CONNECT, 1, {"j0": RUNNING}).cancel == []  # once is enough
    run.look(503.0 + CONNECT, 1, {"j0": JobState("CANCELLED")})
    assert names(run.policy.without_workers) == ["j0"]


def test_workers_that_do_not_come_back_cost_their_job_its_place():
    run = Run()
    run.look(101.0, 1, {"j0": RUNNING}, {"j0": BUSY})
    run.look(2000.0, 1, {"j0": RUNNING}, {"j0": BUSY})
    assert run.look(2000.0 + CONNECT, 1, {"j0": RUNNING}).cancel == []
    assert names(run.look(2001.0 + CONNECT, 1, {"j0": RUNNING}).cancel) == ["j0"]


def test_with_less_work_what_has_not_begun_is_cancelled_the_newest_first():
    run = Run(jobs=4)
    states = {"j0": RUNNING, "j1": PENDING, "j2": PENDING, "j3": PENDING}
    orders = run.look(101.0, 2, states, {"j0": IDLE})
    assert names(orders.cancel) == ["j3", "j2"]
    assert orders.retire == []


def test_with_less_work_who_has_nothing_to_do_leaves_and_who_works_stays():
    run = Run(jobs=4)
    states = dict.fromkeys(run.names, RUNNING)
    orders = run.look(101.0, 1, states, {"j0": BUSY, "j1": IDLE, "j2": BUSY, "j3": IDLE})
    assert names(orders.retire) == ["j1", "j3"]
    assert orders.cancel == []


def test_a_job_that_hangs_does_not_count_as_one_that_was_let_go():
    run = Run(jobs=5)
    states = dict.fromkeys(run.names, RUNNING)
    at_rest = {"j2": IDLE, "j3": IDLE, "j4": IDLE}
    run.look(101.0, 5, states, at_rest)
    orders = run.look(102.0 + CONNECT, 2, states, at_rest)
    assert names(orders.cancel) == ["j0", "j1"]
    assert len(orders.retire) == 1


def test_surplus_jobs_that_were_cancelled_are_nobodys_failure():
    run = Run(jobs=5)
    assert len(run.look(101.0, 0, dict.fromkeys(run.names, PENDING)).cancel) == 5
    run.look(102.0, 0, {})
    assert (run.names, run.policy.without_workers, run.policy.given_up) == ([], [], False)


def test_it_gives_up_after_some_jobs_in_a_row_that_brought_nothing():
    run = Run(jobs=GIVE_UP)
    states = dict.fromkeys(run.names, FAILED)
    run.look(101.0, 9, {**states, "j0": PENDING})
    assert not run.policy.given_up
    assert run.look(102.0, 9, states).submit == 0
    assert run.policy.given_up
    assert names(run.policy.without_workers) == ["j1", "j2", "j0"]
    assert run.look(1e6, 9, {}).submit == 0


def test_it_does_not_give_up_while_a_job_lives_that_has_brought_workers():
    run = Run(jobs=GIVE_UP + 1)
    run.look(101.0, 9, dict.fromkeys(run.names, RUNNING), {"j0": BUSY})
    assert run.look(102.0, 9, {"j0": RUNNING}, {"j0": BUSY}).submit == 0
    assert len(run.policy.without_workers) == GIVE_UP
    assert not run.policy.given_up
    assert run.look(103.0 + LONGEST_PAUSE, 9, {"j0": RUNNING}).submit == 1
    run.look(104.0 + LONGEST_PAUSE, 9, {})
    assert run.policy.given_up


def test_a_worker_that_comes_ends_the_row_of_failures():
    run = Run(jobs=GIVE_UP)
    states = {"j0": RUNNING, "j1": FAILED, "j2": FAILED}
    run.look(101.0, 9, states)
    assert len(run.policy.without_workers) == GIVE_UP - 1
    run.look(110.0, 9, states, {"j0": BUSY})
    assert run.policy.without_workers == []
    run.look(111.0, 9, {})
    assert not run.policy.given_up


def test_a_batch_system_that_takes_no_job_is_asked_more_and_more_slowly_then_no_more():
    policy = ScalingPolicy(most=1, slots=1)
    pauses = []
    asked = None
    for second in range(100, 300):
        if policy.orders(float(second), 1, {}, {}).submit:
            pauses.append(second - (asked or second))
            asked = second
            policy.refused(float(second), f"no {second}")
    assert pauses == [0, 2, 4]
    assert policy.given_up
    assert policy.refusals[-1] == "no 106"


def test_one_job_that_is_taken_ends_the_row_of_refusals():
    policy = ScalingPolicy(most=1, slots=1)
    for _ in range(GIVE_UP - 1):
        policy.refused(100.0, "no")
    policy.submitted(WorkerJob("j", "j", 101.0))
    policy.refused(102.0, "no")
    assert not policy.given_up


def test_after_failures_one_job_at_a_time_is_tried():
    run = Run(jobs=1, most=8)
    assert run.look(101.0, 8, {"j0": FAILED}).submit == 0
    assert run.look(103.0, 8, {}).submit == 1


@pytest.mark.parametrize("life", [0, 5, 25])
def test_jobs_that_all_fail_are_replaced_slowly(life):
    survivor = Fate(connects=0.0, life=1e6)
    fails = Fate(connects=None, life=float(life))
    world = World(most=50, slots=1, psets=10**6, fates=[survivor] + [fails] * 10**4)
    while world.looks < 3600:
        world.look()
    late = [at for at in world.submissions if at > world.now - 1800]
    # At first all 50 are there, then one by one until the pauses have grown to a minute.
    assert 1800 / (LONGEST_PAUSE + life + 3) <= len(late) <= 1800 / LONGEST_PAUSE + 1


def test_jobs_that_end_soon_after_they_brought_workers_are_replaced_slowly():
    crashes = Fate(connects=1.0, life=4.0, drained=False)
    world = World(most=1, slots=1, psets=10**6, seconds=9.0, fates=[crashes] * 10**4)
    while world.looks < 1800:
        world.look()
    assert len([at for at in world.submissions if at > world.now - 600]) <= 600 / LONGEST_PAUSE + 1


def test_old_jobs_that_end_do_not_put_off_their_successors():
    run = Run(jobs=30, most=30)
    states = dict.fromkeys(run.names, RUNNING)
    present = dict.fromkeys(run.names[:24], BUSY)
    run.look(101.0, 99, states, present)
    for name in run.names[24:]:
        del states[name]
    run.look(1000.0, 99, states, present)  # from now on it waits for a minute
    assert len(run.policy.without_workers) == 6
    submitted = 0
    for number in range(24):
        del states[f"j{number}"], present[f"j{number}"]
        submitted += run.look(1030.0 + 30 * number, 99, states, present).submit
    assert submitted > 20


def test_jobs_that_end_by_their_walltime_are_replaced_at_once():
    world = World(most=2, slots=2, psets=600, seconds=5.0, fates=[Fate(life=63.0)] * 1000)
    world.run()
    assert not world.policy.given_up
    assert all(job.came for job in world.jobs)
    ideal = 600 * 5.0 / (2 * 2)
    assert world.looks <= 1.25 * ideal  # in each job 5 of 63 s pass unused before its end


def test_a_machine_where_nothing_works_is_given_up_soon():
    world = World(most=1, slots=4, psets=100, fates=[FAILS] * 10**4)
    world.run()
    assert world.policy.given_up
    assert len(world.jobs) == GIVE_UP
    assert world.looks <= 3 * (FAILS.life + 8)


def test_a_machine_where_jobs_start_and_no_worker_comes_is_given_up():
    world = World(most=1, slots=4, psets=100, fates=[MUTE] * 10**4)
    world.run()
    assert world.policy.given_up
    assert world.alive == []
    assert len(world.jobs) == GIVE_UP


def test_a_batch_system_that_refuses_now_and_then_costs_only_time():
    world = World(most=1, slots=1, psets=50, fates=[REFUSED, REFUSED, GOOD, REFUSED, REFUSED])
    world.run()
    assert world.left == 0


seconds = st.integers(0, 90).map(float)
works = st.builds(Fate, pending=seconds, connects=st.integers(0, 9).map(float), life=seconds)
fails = st.builds(Fate, pending=seconds, connects=st.none(), life=seconds)
crashes = st.builds(
    Fate,
    pending=seconds,
    connects=st.integers(0, 9).map(float),
    life=st.integers(1, 200).map(float),
    drained=st.just(False),
)
queues_long = st.builds(Fate, pending=st.integers(300, 3000).map(float))
fates = st.one_of(
    st.just(GOOD), works, fails, crashes, queues_long, st.just(MUTE), st.just(REFUSED)
)


@given(
    most=st.integers(1, 6),
    slots=st.integers(1, 4),
    psets=st.integers(0, 120),
    duration=st.integers(1, 20).map(float),
    fates=st.lists(fates, max_size=25),
    deaf=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 400)), max_size=3),
)
def test_whatever_becomes_of_jobs_all_psets_are_run_or_it_gives_up(
    most, slots, psets, duration, fates, deaf
):
    """`World` checks the rest at each look."""
    world = World(most, slots, psets, duration, fates, deaf)
    world.run()
    assert world.left == 0 or world.policy.given_up


@given(
    fates=st.lists(st.one_of(st.just(GOOD), works, crashes, queues_long), max_size=25),
    deaf=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 400)), max_size=3),
)
def test_where_every_job_brings_workers_all_psets_are_run(fates, deaf):
    long_enough = [
        fate if fate.life > (fate.connects or 0) else Fate(fate.pending) for fate in fates
    ]
    world = World(3, 2, 100, 5.0, long_enough, deaf)
    world.run()
    assert world.left == 0
