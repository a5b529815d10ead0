"""The policy rule by rule, and on a simulated batch system whose jobs may do anything."""

from __future__ import annotations

import pytest
from helpers.scaling_simulation import GOOD, Behavior, World
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.clusters.scaling_policy import (
    ABSENCE_SECONDS,
    CONNECT_SECONDS,
    MAX_FAILURES,
    MAX_PAUSE_SECONDS,
    SHORT_JOB_SECONDS,
    JobLoad,
    ScalingPolicy,
    WorkerJob,
)
from psweep_dask.hpc.slurm import JobState

PENDING, RUNNING, FAILED = JobState("PENDING"), JobState("RUNNING"), JobState("FAILED")
BUSY, IDLE, DRAINED = JobLoad(), JobLoad(idle=True), JobLoad(leaving=True)

FAILS = Behavior(connects=None, life=2.0)
MUTE = Behavior(connects=None, life=10 * CONNECT_SECONDS)
REFUSED = Behavior(refused=True)


class Run:
    """A policy with jobs that were submitted at 100 s."""

    def __init__(self, jobs=1, max_jobs=10, slots=1):
        self.policy = ScalingPolicy(max_jobs, slots)
        for number in range(jobs):
            self.submit(f"j{number}", 100.0)

    def submit(self, name, now):
        self.policy.add_submitted(WorkerJob(name, name, now))

    def look(self, now, left, states, loads=()):
        return self.policy.decide(now, left, states, dict(loads))

    @property
    def names(self):
        return [job.name for job in self.policy.jobs]


def names(jobs):
    return [job.name for job in jobs]


@pytest.mark.parametrize(
    ("max_jobs", "slots", "left", "jobs"),
    [(10, 4, 9, 3), (10, 4, 8, 2), (2, 4, 100, 2), (10, 4, 1, 1), (10, 1, 0, 0)],
)
def test_submit_no_more_jobs_than_psets_fill_or_the_user_allows(max_jobs, slots, left, jobs):
    assert ScalingPolicy(max_jobs, slots).decide(100.0, left, {}, {}).submit == jobs


def test_pending_job_is_waited_for():
    run = Run()
    for now in (101.0, 1e4, 1e6):
        actions = run.look(now, 1, {"j0": PENDING})
        assert (actions.submit, actions.cancel) == (0, [])
    assert run.names == ["j0"]


@pytest.mark.parametrize("states", [{"j0": JobState("NODE_FAIL")}, {}], ids=["ended", "forgotten"])
def test_ended_job_is_replaced_at_once_if_it_ran_for_long(states):
    run = Run()
    run.look(101.0, 1, {"j0": RUNNING}, {"j0": BUSY})
    assert run.look(101.0 + 2 * SHORT_JOB_SECONDS, 1, states).submit == 1
    assert run.names == []


def test_ended_job_counts_as_long_as_its_workers_are_connected():
    run = Run()
    run.look(101.0, 1, {"j0": RUNNING}, {"j0": BUSY})
    assert run.look(200.0, 1, {}, {"j0": BUSY}).submit == 0
    assert run.look(201.0, 1, {}).submit == 1


def test_leaving_job_is_replaced_before_it_ends():
    run = Run(max_jobs=2)
    assert run.look(101.0, 5, {"j0": RUNNING}, {"j0": BUSY}).submit == 1
    run.submit("j1", 101.0)
    both = {"j0": RUNNING, "j1": RUNNING}
    assert run.look(102.0, 5, both, {"j0": DRAINED, "j1": BUSY}).submit == 0  # never more than 2
    assert run.look(103.0, 5, {"j1": RUNNING}, {"j1": BUSY}).submit == 1


def test_silent_controller_ends_no_job():
    run = Run(jobs=2)
    run.look(101.0, 2, {"j0": RUNNING, "j1": PENDING}, {"j0": BUSY})
    for now in range(102, 102 + int(3 * ABSENCE_SECONDS)):
        assert run.look(float(now), 2, None).submit == 0
    assert run.names == ["j0", "j1"]


def test_without_queue_a_job_has_ended_when_its_workers_stay_away():
    run = Run(jobs=2)
    run.look(101.0, 2, None, {"j0": BUSY})
    run.look(101.0 + ABSENCE_SECONDS, 2, None)
    assert run.names == ["j0", "j1"]
    run.look(102.0 + ABSENCE_SECONDS, 2, None)
    assert run.names == ["j1"]  # which may be in the queue for days


def test_running_job_is_cancelled_if_its_workers_never_connect():
    run = Run()
    assert run.look(500.0, 1, {"j0": RUNNING}).cancel == []
    assert run.look(500.0 + CONNECT_SECONDS, 1, {"j0": RUNNING}).cancel == []
    actions = run.look(501.0 + CONNECT_SECONDS, 1, {"j0": RUNNING})
    assert names(actions.cancel) == ["j0"]
    assert run.look(502.0 + CONNECT_SECONDS, 1, {"j0": RUNNING}).cancel == []  # once is enough
    run.look(503.0 + CONNECT_SECONDS, 1, {"j0": JobState("CANCELLED")})
    assert names(run.policy.without_worker) == ["j0"]


def test_running_job_is_cancelled_if_its_workers_do_not_come_back():
    run = Run()
    run.look(101.0, 1, {"j0": RUNNING}, {"j0": BUSY})
    run.look(2000.0, 1, {"j0": RUNNING}, {"j0": BUSY})
    assert run.look(2000.0 + CONNECT_SECONDS, 1, {"j0": RUNNING}).cancel == []
    assert names(run.look(2001.0 + CONNECT_SECONDS, 1, {"j0": RUNNING}).cancel) == ["j0"]


def test_shrink_cancels_jobs_without_worker_the_newest_first():
    run = Run(jobs=4)
    states = {"j0": RUNNING, "j1": PENDING, "j2": PENDING, "j3": PENDING}
    actions = run.look(101.0, 2, states, {"j0": IDLE})
    assert names(actions.cancel) == ["j3", "j2"]
    assert actions.retire == []


def test_shrink_retires_idle_jobs_and_keeps_busy_ones():
    run = Run(jobs=4)
    states = dict.fromkeys(run.names, RUNNING)
    actions = run.look(101.0, 1, states, {"j0": BUSY, "j1": IDLE, "j2": BUSY, "j3": IDLE})
    assert names(actions.retire) == ["j1", "j3"]
    assert actions.cancel == []


def test_shrink_does_not_count_jobs_that_are_cancelled_since_they_hang():
    run = Run(jobs=5)
    states = dict.fromkeys(run.names, RUNNING)
    at_rest = {"j2": IDLE, "j3": IDLE, "j4": IDLE}
    run.look(101.0, 5, states, at_rest)
    actions = run.look(102.0 + CONNECT_SECONDS, 2, states, at_rest)
    assert names(actions.cancel) == ["j0", "j1"]
    assert len(actions.retire) == 1


def test_shrink_is_no_failure_of_the_cancelled_jobs():
    run = Run(jobs=5)
    assert len(run.look(101.0, 0, dict.fromkeys(run.names, PENDING)).cancel) == 5
    run.look(102.0, 0, {})
    assert (run.names, run.policy.without_worker, run.policy.given_up) == ([], [], False)


def test_give_up_after_some_jobs_in_a_row_without_worker():
    run = Run(jobs=MAX_FAILURES)
    states = dict.fromkeys(run.names, FAILED)
    run.look(101.0, 9, {**states, "j0": PENDING})
    assert not run.policy.given_up
    assert run.look(102.0, 9, states).submit == 0
    assert run.policy.given_up
    assert names(run.policy.without_worker) == ["j1", "j2", "j0"]
    assert run.look(1e6, 9, {}).submit == 0


def test_give_up_not_while_a_job_runs_that_had_a_worker():
    run = Run(jobs=MAX_FAILURES + 1)
    run.look(101.0, 9, dict.fromkeys(run.names, RUNNING), {"j0": BUSY})
    assert run.look(102.0, 9, {"j0": RUNNING}, {"j0": BUSY}).submit == 0
    assert len(run.policy.without_worker) == MAX_FAILURES
    assert not run.policy.given_up
    assert run.look(103.0 + MAX_PAUSE_SECONDS, 9, {"j0": RUNNING}).submit == 1
    run.look(104.0 + MAX_PAUSE_SECONDS, 9, {})
    assert run.policy.given_up


def test_give_up_counts_anew_when_a_worker_comes():
    run = Run(jobs=MAX_FAILURES)
    states = {"j0": RUNNING, "j1": FAILED, "j2": FAILED}
    run.look(101.0, 9, states)
    assert len(run.policy.without_worker) == MAX_FAILURES - 1
    run.look(110.0, 9, states, {"j0": BUSY})
    assert run.policy.without_worker == []
    run.look(111.0, 9, {})
    assert not run.policy.given_up


def test_refused_jobs_are_tried_again_more_and_more_slowly_then_no_more():
    policy = ScalingPolicy(max_jobs=1, slots_per_job=1)
    pauses = []
    asked = None
    for second in range(100, 300):
        if policy.decide(float(second), 1, {}, {}).submit:
            pauses.append(second - (asked or second))
            asked = second
            policy.add_refused(float(second), f"no {second}")
    assert pauses == [0, 2, 4]
    assert policy.given_up
    assert policy.refusals[-1] == "no 106"


def test_refused_jobs_are_counted_anew_when_one_is_taken():
    policy = ScalingPolicy(max_jobs=1, slots_per_job=1)
    for _ in range(MAX_FAILURES - 1):
        policy.add_refused(100.0, "no")
    policy.add_submitted(WorkerJob("j", "j", 101.0))
    policy.add_refused(102.0, "no")
    assert not policy.given_up


def test_failed_jobs_are_replaced_one_at_a_time():
    run = Run(jobs=1, max_jobs=8)
    assert run.look(101.0, 8, {"j0": FAILED}).submit == 0
    assert run.look(103.0, 8, {}).submit == 1


@pytest.mark.parametrize("life", [0, 5, 25])
def test_failed_jobs_are_replaced_slowly_if_all_fail(life):
    survivor = Behavior(connects=0.0, life=1e6)
    fails = Behavior(connects=None, life=float(life))
    world = World(max_jobs=50, slots=1, psets=10**6, behaviors=[survivor] + [fails] * 10**4)
    while world.looks < 3600:
        world.look()
    late = [at for at in world.submissions if at > world.now - 1800]
    # At first all 50 are there, then one by one until the pauses have grown to a minute.
    assert 1800 / (MAX_PAUSE_SECONDS + life + 3) <= len(late) <= 1800 / MAX_PAUSE_SECONDS + 1


def test_short_jobs_are_replaced_slowly_also_if_they_had_workers():
    crashes = Behavior(connects=1.0, life=4.0, drained=False)
    world = World(max_jobs=1, slots=1, psets=10**6, seconds=9.0, behaviors=[crashes] * 10**4)
    while world.looks < 1800:
        world.look()
    assert (
        len([at for at in world.submissions if at > world.now - 600]) <= 600 / MAX_PAUSE_SECONDS + 1
    )


def test_ended_jobs_that_were_old_do_not_delay_their_successors():
    run = Run(jobs=30, max_jobs=30)
    states = dict.fromkeys(run.names, RUNNING)
    loads = dict.fromkeys(run.names[:24], BUSY)
    run.look(101.0, 99, states, loads)
    for name in run.names[24:]:
        del states[name]
    run.look(1000.0, 99, states, loads)  # from now on it waits for a minute
    assert len(run.policy.without_worker) == 6
    submitted = 0
    for number in range(24):
        del states[f"j{number}"], loads[f"j{number}"]
        submitted += run.look(1030.0 + 30 * number, 99, states, loads).submit
    assert submitted > 20


def test_walltime_of_jobs_costs_little_time():
    world = World(
        max_jobs=2, slots=2, psets=600, seconds=5.0, behaviors=[Behavior(life=63.0)] * 1000
    )
    world.run()
    assert not world.policy.given_up
    assert all(job.came for job in world.jobs)
    ideal = 600 * 5.0 / (2 * 2)
    assert world.looks <= 1.25 * ideal  # in each job 5 of 63 s pass unused before its end


def test_give_up_soon_where_all_jobs_fail():
    world = World(max_jobs=1, slots=4, psets=100, behaviors=[FAILS] * 10**4)
    world.run()
    assert world.policy.given_up
    assert len(world.jobs) == MAX_FAILURES
    assert world.looks <= 3 * (FAILS.life + 8)


def test_give_up_where_all_jobs_start_and_no_worker_comes():
    world = World(max_jobs=1, slots=4, psets=100, behaviors=[MUTE] * 10**4)
    world.run()
    assert world.policy.given_up
    assert world.alive == []
    assert len(world.jobs) == MAX_FAILURES


def test_refused_jobs_now_and_then_cost_only_time():
    world = World(
        max_jobs=1, slots=1, psets=50, behaviors=[REFUSED, REFUSED, GOOD, REFUSED, REFUSED]
    )
    world.run()
    assert world.left == 0


seconds = st.integers(0, 90).map(float)
works = st.builds(Behavior, pending=seconds, connects=st.integers(0, 9).map(float), life=seconds)
fails = st.builds(Behavior, pending=seconds, connects=st.none(), life=seconds)
crashes = st.builds(
    Behavior,
    pending=seconds,
    connects=st.integers(0, 9).map(float),
    life=st.integers(1, 200).map(float),
    drained=st.just(False),
)
queues_long = st.builds(Behavior, pending=st.integers(300, 3000).map(float))
behaviors = st.one_of(
    st.just(GOOD), works, fails, crashes, queues_long, st.just(MUTE), st.just(REFUSED)
)


@given(
    max_jobs=st.integers(1, 6),
    slots=st.integers(1, 4),
    psets=st.integers(0, 120),
    duration=st.integers(1, 20).map(float),
    behaviors=st.lists(behaviors, max_size=25),
    silent=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 400)), max_size=3),
)
def test_simulation_runs_all_psets_or_gives_up_whatever_jobs_do(
    max_jobs, slots, psets, duration, behaviors, silent
):
    """`World` checks the rest at each look."""
    world = World(max_jobs, slots, psets, duration, behaviors, silent)
    world.run()
    assert world.left == 0 or world.policy.given_up


@given(
    behaviors=st.lists(st.one_of(st.just(GOOD), works, crashes, queues_long), max_size=25),
    silent=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 400)), max_size=3),
)
def test_simulation_runs_all_psets_if_each_job_has_workers(behaviors, silent):
    long_enough = [
        behavior if behavior.life > (behavior.connects or 0) else Behavior(behavior.pending)
        for behavior in behaviors
    ]
    world = World(3, 2, 100, 5.0, long_enough, silent)
    world.run()
    assert world.left == 0
