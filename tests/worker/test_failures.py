"""Which pset has failed when a worker is lost, and which run again."""

from __future__ import annotations

import re
import signal

import pytest
from helpers.run_slice import RUN_ID, records

from psweep_dask.worker.failures import (
    ALONE_AFTER_LOST_WORKERS,
    MAX_IDLE_EXITS,
    MAX_LOST_WORKERS,
    MAX_SHARED_EXITS,
    WHOLE_LIFETIME_SHARE,
    Decision,
    FailedAttempt,
    FailurePolicy,
    RunningPset,
    WalltimeLoss,
    WorkerExit,
)
from psweep_dask.worker.work import Work, WorkerProcess


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
def test_killed_is_the_pset_that_was_running_and_no_other(exitcode, text):
    decision = FailurePolicy("r").decide([4, 5, 6], worker_exit(exitcode))
    assert (decision.failed.pset_seq, decision.failed.status) == (5, "killed")
    assert (decision.failed.process.host, decision.failed.seconds) == ("node1", 1.5)
    assert not decision.failed.final
    assert re.search(text, decision.failed.text)


def test_killed_for_its_memory_is_told_with_the_limit():
    report = worker_exit(-signal.SIGTERM, memory=(1980 * 2**20, 2 * 2**30))
    text = FailurePolicy("r").decide([5], report).failed.text
    assert "held 1.93 GiB of memory and its limit is 2.00 GiB" in text


def test_killed_is_told_with_the_line_of_func():
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
def test_lost_worker_is_no_failure_of_a_pset(report):
    assert FailurePolicy("r").decide([4, 5, 6], report).failed is None


def test_timeout_is_a_failure_of_the_pset_that_was_over_it():
    report = worker_exit(-9, running=(5, 9), over_timeout=RunningPset("r", 5, 2.04))
    failed = FailurePolicy("r").decide([5, 6], report).failed
    assert (failed.pset_seq, failed.status, failed.seconds) == (5, "timeout", 2.04)
    assert "ended after 2.0 s on node1" in failed.text


def test_timeout_is_no_failure_of_other_psets_in_the_process():
    report = worker_exit(-9, running=(5, 9), over_timeout=RunningPset("r", 5, 2.0))
    policy = FailurePolicy("r")
    assert all(policy.decide([9, 10], report).failed is None for _ in range(20))


def test_killed_beside_other_psets_is_a_failure_only_after_several_exits():
    policy = FailurePolicy("r")
    failures = [
        policy.decide([5, 6], worker_exit(running=(5, 90 + n))).failed
        for n in range(MAX_SHARED_EXITS)
    ]
    assert failures[:-1] == [None] * (MAX_SHARED_EXITS - 1)
    assert failures[-1].pset_seq == 5


def test_lost_workers_again_and_again_make_a_pset_run_alone_and_then_fail():
    policy = FailurePolicy("r")
    for number in range(1, ALONE_AFTER_LOST_WORKERS + 1):
        decision = policy.decide([5, 6], None)
        assert decision.alone == (
            frozenset({5, 6}) if number == ALONE_AFTER_LOST_WORKERS else frozenset()
        )
    for _ in range(MAX_LOST_WORKERS - ALONE_AFTER_LOST_WORKERS - 1):
        assert policy.decide([5], None).failed is None
    failed = policy.decide([5], None).failed
    assert (failed.status, failed.final) == ("killed", True)
    assert "walltime" in failed.text


def test_walltime_of_a_slice_makes_its_psets_run_alone():
    decision = FailurePolicy("r").decide(
        [5, 6], None, WalltimeLoss(ran=99.0, life=100.0, walltime=110.0)
    )
    assert (decision.failed, decision.alone, decision.life) == (None, {5, 6}, 0.0)


def test_walltime_of_a_single_pset_makes_it_need_a_longer_lifetime():
    walltime_loss = WalltimeLoss(ran=0.9 * WHOLE_LIFETIME_SHARE * 100.0, life=100.0, walltime=110.0)
    decision = FailurePolicy("r").decide([5], None, walltime_loss)
    assert (decision.failed, decision.alone) == (None, {5})
    assert walltime_loss.ran < decision.life < 2 * walltime_loss.ran


def test_walltime_fails_a_pset_that_had_a_whole_lifetime():
    decision = FailurePolicy("r").decide(
        [5], None, WalltimeLoss(ran=95.0, life=100.0, walltime=110.0)
    )
    failed = decision.failed
    assert (failed.pset_seq, failed.status, failed.seconds) == (5, "killed", 95.0)
    assert failed.final
    assert "walltime of its job, 110 s, ended the pset after 95 s" in failed.text
    assert "ps.retry(..., kind='killed', cluster=...)" in failed.text


def test_walltime_costs_no_attempt_however_often_it_ends_a_pset():
    policy = FailurePolicy("r")
    walltime_loss = WalltimeLoss(ran=10.0, life=100.0, walltime=110.0)
    assert all(
        policy.decide([5], None, walltime_loss).failed is None for _ in range(2 * MAX_LOST_WORKERS)
    )
    assert policy.decide([5], None).failed is None  # nor is it a loss to the infrastructure


@pytest.mark.parametrize("report", [worker_exit(-signal.SIGTERM), worker_exit(-signal.SIGKILL)])
def test_walltime_is_no_failure_though_it_kills_the_process(report):
    assert (
        FailurePolicy("r").decide([4, 5, 6], report, WalltimeLoss(10.0, 100.0, 110.0)).failed
        is None
    )


def test_killed_pset_has_a_row_with_the_time_when_it_began():
    work = Work(RUN_ID, 3, "calc", b"")
    failed = FailedAttempt(
        5, "killed", "the worker process was killed\nIt was here", WorkerProcess("n1"), 2.0
    )
    result = failed.result(work, {"a": 1}, "ab", attempt=2)
    (row,) = records(result)
    (failure,) = result.examples
    assert (row["a"], row["_status"], row["_exc_txt"]) == (1, "killed", failed.text)
    assert (row["_exec_host"], row["_pset_runtime"], row["_attempt"]) == ("n1", 2.0, 2)
    assert work.fields_at_start(5, "ab")["_time_utc"] - row["_time_utc"] >= 2e9
    assert (failure.kind, failure.headline) == ("killed", "the worker process was killed")
    assert (result.failed, result.rows, result.seqs()) == ({"killed": 1}, 1, {5})


def test_process_that_ends_between_psets_is_charged_to_a_pset_that_was_alone_with_it():
    policy = FailurePolicy("r")
    ended = WorkerExit("tcp://w", "node1", exitcode=1)
    assert policy.decide([4, 5], ended) == Decision(alone=frozenset({4, 5}))
    assert policy.decide([4], None).failed is None  # it has run on another worker
    for _ in range(MAX_IDLE_EXITS - 1):
        assert policy.decide([5], ended).failed is None
    failed = policy.decide([5], ended).failed
    assert (failed.pset_seq, failed.status, failed.final) == (5, "killed", True)
    assert "ended (exit status 1, on node1) just after it had run this pset" in failed.text
