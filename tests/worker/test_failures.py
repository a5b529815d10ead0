from __future__ import annotations

import re
import signal

import pytest

from psweep_dask.worker.failures import (
    ALONE_AFTER,
    LOSSES,
    SUSPICIONS,
    WHOLE_LIFE,
    FailurePolicy,
    Running,
    WalltimeLoss,
    WorkerExit,
)


def death(exitcode=-11, running=(5,), run="r", **more):
    return WorkerExit(
        "tcp://w",
        "node1",
        exitcode,
        running=tuple(Running(run, seq, 1.5) for seq in running),
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
    verdict = FailurePolicy("r").verdict([4, 5, 6], death(exitcode))
    assert (verdict.charge.pset_seq, verdict.charge.status) == (5, "killed")
    assert (verdict.charge.host, verdict.charge.seconds) == ("node1", 1.5)
    assert not verdict.charge.final
    assert re.search(text, verdict.charge.text)


def test_too_much_memory_is_told_with_the_limit():
    report = death(-signal.SIGTERM, memory=(1980 * 2**20, 2 * 2**30))
    text = FailurePolicy("r").verdict([5], report).charge.text
    assert "held 1.93 GiB of memory and its limit is 2.00 GiB" in text


def test_where_func_was_is_told():
    text = (
        FailurePolicy("r").verdict([5], death(stack='  File "f.py", line 3 in func\n')).charge.text
    )
    assert text.endswith('It was here (most recent call last):\n  File "f.py", line 3 in func')


@pytest.mark.parametrize(
    "report",
    [
        None,
        death(closing=True),
        death(-signal.SIGTERM),
        death(running=()),
        death(running=(99,)),
        death(run="another run"),
    ],
)
def test_nobody_is_guilty_of_what_the_infrastructure_does(report):
    assert FailurePolicy("r").verdict([4, 5, 6], report).charge is None


def test_who_is_over_its_time_is_guilty_of_the_timeout():
    report = death(-9, running=(5, 9), condemned=Running("r", 5, 2.04))
    charge = FailurePolicy("r").verdict([5, 6], report).charge
    assert (charge.pset_seq, charge.status, charge.seconds) == (5, "timeout", 2.04)
    assert "ended after 2.0 s on node1" in charge.text


def test_a_neighbour_in_the_process_of_one_over_its_time_is_innocent():
    report = death(-9, running=(5, 9), condemned=Running("r", 5, 2.0))
    judge = FailurePolicy("r")
    assert all(judge.verdict([9, 10], report).charge is None for _ in range(20))


def test_one_of_several_suspects_is_guilty_only_when_it_happens_again_and_again():
    judge = FailurePolicy("r")
    charges = [judge.verdict([5, 6], death(running=(5, 90 + n))).charge for n in range(SUSPICIONS)]
    assert charges[:-1] == [None] * (SUSPICIONS - 1)
    assert charges[-1].pset_seq == 5


def test_who_loses_its_worker_again_and_again_travels_alone_and_then_is_a_row():
    judge = FailurePolicy("r")
    for number in range(1, ALONE_AFTER + 1):
        verdict = judge.verdict([5, 6], None)
        assert verdict.alone == (frozenset({5, 6}) if number == ALONE_AFTER else frozenset())
    for _ in range(LOSSES - ALONE_AFTER - 1):
        assert judge.verdict([5], None).charge is None
    charge = judge.verdict([5], None).charge
    assert (charge.status, charge.final) == ("killed", True)
    assert "walltime" in charge.text


def test_who_is_cut_off_among_others_travels_alone_to_any_worker():
    verdict = FailurePolicy("r").verdict(
        [5, 6], None, WalltimeLoss(ran=99.0, life=100.0, walltime=110.0)
    )
    assert (verdict.charge, verdict.alone, verdict.life) == (None, {5, 6}, 0.0)


def test_who_is_cut_off_alone_needs_a_worker_that_lives_longer_than_it_ran():
    cut = WalltimeLoss(ran=0.9 * WHOLE_LIFE * 100.0, life=100.0, walltime=110.0)
    verdict = FailurePolicy("r").verdict([5], None, cut)
    assert (verdict.charge, verdict.alone) == (None, {5})
    assert cut.ran < verdict.life < 2 * cut.ran


def test_who_had_a_whole_life_and_was_cut_off_does_not_fit_into_the_walltime():
    verdict = FailurePolicy("r").verdict(
        [5], None, WalltimeLoss(ran=95.0, life=100.0, walltime=110.0)
    )
    charge = verdict.charge
    assert (charge.pset_seq, charge.status, charge.seconds) == (5, "killed", 95.0)
    assert charge.final
    assert "walltime of its job, 110 s, ended the pset after 95 s" in charge.text
    assert "ps.retry(..., kind='killed', cluster=...)" in charge.text


def test_the_walltime_costs_no_attempt_however_often_it_cuts_off():
    judge = FailurePolicy("r")
    cut = WalltimeLoss(ran=10.0, life=100.0, walltime=110.0)
    assert all(judge.verdict([5], None, cut).charge is None for _ in range(2 * LOSSES))
    assert judge.verdict([5], None).charge is None  # nor is it a loss to the infrastructure


@pytest.mark.parametrize("report", [death(-signal.SIGTERM), death(-signal.SIGKILL)])
def test_what_the_end_of_a_job_kills_is_not_the_fault_of_who_ran(report):
    assert (
        FailurePolicy("r").verdict([4, 5, 6], report, WalltimeLoss(10.0, 100.0, 110.0)).charge
        is None
    )
