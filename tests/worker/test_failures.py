from __future__ import annotations

import re
import signal

import pytest

from psweep_dask.worker.failures import (
    ALONE_AFTER,
    LOST_WORKERS,
    SHARED_EXITS,
    WHOLE_LIFETIME_SHARE,
    FailurePolicy,
    RunningPset,
    WalltimeLoss,
    WorkerExit,
)


def worker_exit(exitcode=-11, running=(5,), run="r", **more):
    return WorkerExit(
        "tcp://w",
        "node1",
        exitcode,
        running=tuple(RunningPset(run, seq, 1.5) for seq in running),
        **more,
    )


@pytest.mark.parametrize(
    ("exitcode", "text"),
    [
        (-signal.SIGSEGV, r"killed by signal 11 \(SIGSEGV\) on node1"),
        (-signal.SIGKILL, r"signal 9 \(SIGKILL\) on node1 .* when memory runs out"),
        (3, "ended with exit status 3 on node1"),
        (0, "ended with exit status 0 on node1"),
        (-60, "killed by signal 60"),
    ],
)
def test_the_pset_that_was_running_is_guilty_and_its_neighbours_are_not(exitcode, text):
    decision = FailurePolicy("r").decide([4, 5, 6], worker_exit(exitcode))
    assert (decision.failed.pset_seq, decision.failed.status) == (5, "killed")
    assert (decision.failed.host, decision.failed.seconds) == ("node1", 1.5)
    assert not decision.failed.final
    assert re.search(text, decision.failed.text)


def test_too_much_memory_is_told_with_the_limit():
    report = worker_exit(-signal.SIGTERM, memory=(1980 * 2**20, 2 * 2**30))
    text = FailurePolicy("r").decide([5], report).failed.text
    assert "held 1.93 GiB of memory and its limit is 2.00 GiB" in text


def test_where_func_was_is_told():
    text = (
        FailurePolicy("r")
        .decide([5], worker_exit(stack='  File "f.py", line 3 in func\n'))
        .failed.text
    )
    assert text.endswith('It was here (most recent call last):\n  File "f.py", line 3 in func')


@pytest.mark.parametrize(
    "report",
    [
        None,
        worker_exit(closing=True),
        worker_exit(-signal.SIGTERM),
        worker_exit(running=()),
        worker_exit(running=(99,)),
        worker_exit(run="another run"),
    ],
)
def test_nobody_is_guilty_of_what_the_infrastructure_does(report):
    assert FailurePolicy("r").decide([4, 5, 6], report).failed is None


def test_who_is_over_its_time_is_guilty_of_the_timeout():
    report = worker_exit(-9, running=(5, 9), over_timeout=RunningPset("r", 5, 2.04))
    failed = FailurePolicy("r").decide([5, 6], report).failed
    assert (failed.pset_seq, failed.status, failed.seconds) == (5, "timeout", 2.04)
    assert "ended after 2.0 s on node1" in failed.text


def test_a_neighbour_in_the_process_of_one_over_its_time_is_innocent():
    report = worker_exit(-9, running=(5, 9), over_timeout=RunningPset("r", 5, 2.0))
    policy = FailurePolicy("r")
    assert all(policy.decide([9, 10], report).failed is None for _ in range(20))


def test_one_of_several_suspects_is_guilty_only_when_it_happens_again_and_again():
    policy = FailurePolicy("r")
    failures = [
        policy.decide([5, 6], worker_exit(running=(5, 90 + n))).failed for n in range(SHARED_EXITS)
    ]
    assert failures[:-1] == [None] * (SHARED_EXITS - 1)
    assert failures[-1].pset_seq == 5


def test_who_loses_its_worker_again_and_again_travels_alone_and_then_is_a_row():
    policy = FailurePolicy("r")
    for number in range(1, ALONE_AFTER + 1):
        decision = policy.decide([5, 6], None)
        assert decision.alone == (frozenset({5, 6}) if number == ALONE_AFTER else frozenset())
    for _ in range(LOST_WORKERS - ALONE_AFTER - 1):
        assert policy.decide([5], None).failed is None
    failed = policy.decide([5], None).failed
    assert (failed.status, failed.final) == ("killed", True)
    assert "walltime" in failed.text


def test_who_is_cut_off_among_others_travels_alone_to_any_worker():
    decision = FailurePolicy("r").decide(
        [5, 6], None, WalltimeLoss(ran=99.0, life=100.0, walltime=110.0)
    )
    assert (decision.failed, decision.alone, decision.life) == (None, {5, 6}, 0.0)


def test_who_is_cut_off_alone_needs_a_worker_that_lives_longer_than_it_ran():
    walltime_loss = WalltimeLoss(ran=0.9 * WHOLE_LIFETIME_SHARE * 100.0, life=100.0, walltime=110.0)
    decision = FailurePolicy("r").decide([5], None, walltime_loss)
    assert (decision.failed, decision.alone) == (None, {5})
    assert walltime_loss.ran < decision.life < 2 * walltime_loss.ran


def test_who_had_a_whole_life_and_was_cut_off_does_not_fit_into_the_walltime():
    decision = FailurePolicy("r").decide(
        [5], None, WalltimeLoss(ran=95.0, life=100.0, walltime=110.0)
    )
    failed = decision.failed
    assert (failed.pset_seq, failed.status, failed.seconds) == (5, "killed", 95.0)
    assert failed.final
    assert "walltime of its job, 110 s, ended the pset after 95 s" in failed.text
    assert "ps.retry(..., kind='killed', cluster=...)" in failed.text


def test_the_walltime_costs_no_attempt_however_often_it_cuts_off():
    policy = FailurePolicy("r")
    walltime_loss = WalltimeLoss(ran=10.0, life=100.0, walltime=110.0)
    assert all(
        policy.decide([5], None, walltime_loss).failed is None for _ in range(2 * LOST_WORKERS)
    )
    assert policy.decide([5], None).failed is None  # nor is it a loss to the infrastructure


@pytest.mark.parametrize("report", [worker_exit(-signal.SIGTERM), worker_exit(-signal.SIGKILL)])
def test_what_the_end_of_a_job_kills_is_not_the_fault_of_who_ran(report):
    assert (
        FailurePolicy("r").decide([4, 5, 6], report, WalltimeLoss(10.0, 100.0, 110.0)).failed
        is None
    )
