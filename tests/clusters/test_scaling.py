"""The jobs of a run on a fake SLURM: real scheduler and workers, a test is the batch system."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from helpers.driver_process import wait_until
from helpers.executor_request import RUN_ID, executor_request
from helpers.inprocess_cluster import InProcessWorkers
from helpers.machine_files import machine

from psweep_dask.clusters import scaling, scaling_policy
from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.jobqueue import JobQueue
from psweep_dask.clusters.scaling import JobPool
from psweep_dask.clusters.scaling_policy import MAX_FAILURES, ScalingPolicy
from psweep_dask.clusters.tls import temporary_credentials

MACHINE = """
cluster: slurm
jobs: 3
jobqueue: {cores: 1, memory: 1GiB, interface: lo, walltime: "5"}
"""

NAME = "psweep-bb32aade"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("QUEUE_POLL_SECONDS", "CALM_QUEUE_POLL_SECONDS", "MIN_QUEUE_POLL_SECONDS"):
        monkeypatch.setattr(scaling, name, 0.02)
    monkeypatch.setattr(scaling_policy, "MAX_PAUSE_SECONDS", 0.02)


@pytest.fixture
def waits():
    """What the run was said to wait for."""
    return []


@pytest.fixture
def queue(slurm, tmp_path, caplog):
    with temporary_credentials(tmp_path) as credentials:
        log_dir = tmp_path / "logs"
        log_dir.mkdir()
        queue = JobQueue(machine(MACHINE), credentials, RUN_ID, log_dir)
        caplog.handler.setLevel(0)  # dask-jobqueue raises the level of all handlers of dask
        yield queue
        queue.cluster.close()


@pytest.fixture
def pool(queue, waits):
    pool = JobPool(
        queue, ScalingPolicy(3, 1), executor_request(show_wait=waits.append), Path("jobs.txt")
    )
    yield pool
    pool.close()


@pytest.fixture
def workers(queue, pool):
    """Close workers before the pool, which is closed before the scheduler."""
    workers = InProcessWorkers(queue.cluster)
    yield workers
    workers.close()


def connect(slurm, workers, number):
    """Let the job with this number, from 0, run, and its worker connect."""
    slurm.set_state(slurm.jobs[number], "RUNNING")
    return workers.start(f"bb32aade-{number}")


def wait_for_jobs(slurm, count):
    wait_until(lambda: len(slurm.jobs) == count)


def test_submit_as_many_jobs_as_psets_fill_and_note_their_ids(slurm, pool):
    assert pool.expected_slots == 3
    assert slurm.submissions == 0  # nobody has asked for slots
    assert pool.slots(left=2) == 0
    wait_for_jobs(slurm, 2)
    wait_until(lambda: Path("jobs.txt").read_text() == f"1 {NAME}\n2 {NAME}\n")
    pool.slots(left=99)
    wait_for_jobs(slurm, 3)
    time.sleep(0.2)
    assert slurm.submissions == 3  # as many as the machine allows


def test_slots_are_those_of_the_workers_that_are_connected(slurm, pool, workers, waits):
    pool.slots(left=2)
    wait_for_jobs(slurm, 2)
    connect(slurm, workers, 0)
    wait_until(lambda: pool.slots(left=2) == 1)
    connect(slurm, workers, 1)
    wait_until(lambda: pool.slots(left=2) == 2)
    wait_until(lambda: waits[-1] == "")


def test_wait_for_jobs_is_shown_with_states_and_reason(slurm, pool, waits):
    pool.slots(left=3)
    wait_until(lambda: waits[-1:] == ["waiting for jobs: 3 pending (Resources)"])
    slurm.set_state(1, "RUNNING")
    wait_until(lambda: waits[-1] == "waiting for jobs: 2 pending (Resources), 1 starting")


def test_ended_job_is_replaced_under_another_name(slurm, pool, workers, tmp_path):
    pool.slots(left=1)
    wait_for_jobs(slurm, 1)
    address = connect(slurm, workers, 0)
    wait_until(lambda: pool._policy.jobs[0].had_worker)
    workers.stop(address)
    slurm.set_state(1, "NODE_FAIL")
    wait_for_jobs(slurm, 2)
    script = (tmp_path / "the queue" / "2.sh").read_text()
    assert "--name bb32aade-1 " in script
    connect(slurm, workers, 1)
    wait_until(lambda: pool.slots(left=1) == 1)


def test_cancelled_pending_job_is_replaced(slurm, pool):
    pool.slots(left=1)
    wait_for_jobs(slurm, 1)
    slurm.set_state(1, "CANCELLED")
    wait_for_jobs(slurm, 2)
    pool.slots(left=1)


def test_give_up_after_three_jobs_without_a_worker_and_quote_the_last(slurm, pool, tmp_path):
    for number in range(1, MAX_FAILURES + 1):
        (tmp_path / "logs" / f"{number}.log").write_text(f"no python in job {number}\n")
    pool.slots(left=9)
    wait_for_jobs(slurm, 3)
    for job in slurm.jobs:
        slurm.set_state(job, "FAILED", "NonZeroExitCode")
    wait_until(lambda: pool._policy.given_up)
    with pytest.raises(ExecutorError) as caught:
        pool.slots(left=9)
    text = str(caught.value)
    assert "3 jobs in a row have ended without a worker of theirs" in text
    last = re.search(r"the last, job ([123]), as FAILED \(NonZeroExitCode\)", text)[1]
    assert "should reach the scheduler at tls://127.0.0.1:" in text
    assert text.endswith(f"the output of that job ends with\n    no python in job {last}")
    submissions = slurm.submissions
    time.sleep(0.2)
    assert slurm.submissions == submissions == MAX_FAILURES


def test_give_up_says_so_if_the_last_job_has_printed_nothing(slurm, pool):
    pool.slots(left=9)
    wait_for_jobs(slurm, 3)
    for job in slurm.jobs:
        slurm.set_state(job, "FAILED")
    wait_until(lambda: pool._policy.given_up)
    with pytest.raises(ExecutorError, match="that job has printed nothing"):
        pool.slots(left=9)


def test_refused_jobs_are_tried_again_and_then_an_error_with_the_reason(slurm, pool, waits):
    slurm.refuse("sbatch: error: invalid partition specified: nowhere\n")
    pool.slots(left=1)
    wait_until(lambda: waits[-1:] != [] and "refused: sbatch: error: invalid" in waits[-1])
    wait_until(lambda: pool._policy.given_up)
    with pytest.raises(ExecutorError) as caught:
        pool.slots(left=1)
    assert str(caught.value) == (
        "the batch system takes no job: sbatch: error: invalid partition specified: nowhere; "
        "correct queue: below jobqueue: in info.yaml"
    )
    assert slurm.submissions == MAX_FAILURES


def test_refused_job_that_is_taken_later_costs_only_time(slurm, pool, monkeypatch):
    monkeypatch.setattr(scaling_policy, "MAX_PAUSE_SECONDS", 1.0)
    slurm.refuse("sbatch: error: try later\n")
    pool.slots(left=1)
    wait_until(lambda: slurm.submissions == 1)
    slurm.accept()
    wait_for_jobs(slurm, 1)
    assert pool.slots(left=1) == 0


def test_silent_controller_ends_no_job_and_brings_no_new_ones(slurm, pool, workers):
    pool.slots(left=2)
    wait_for_jobs(slurm, 2)
    address = connect(slurm, workers, 0)
    wait_until(lambda: pool._policy.jobs[0].had_worker)
    slurm.be_silent()
    workers.lose(address)  # one that says that it leaves is replaced
    time.sleep(0.3)
    assert pool.slots(left=2) == 0
    assert [job.job_id for job in pool._policy.jobs] == ["1", "2"]
    slurm.set_state(1, "FAILED")
    slurm.be_silent(False)
    wait_for_jobs(slurm, 3)


def test_less_work_cancels_pending_jobs_and_retires_idle_ones(slurm, pool, workers):
    pool.slots(left=3)
    wait_for_jobs(slurm, 3)
    connect(slurm, workers, 0)
    connect(slurm, workers, 1)
    wait_until(lambda: pool._policy.jobs[1].had_worker)
    pool.slots(left=1)
    wait_until(lambda: slurm.cancelled == ["3"])
    wait_until(lambda: len(queue_workers(workers)) == 1)  # an idle one has left
    assert slurm.submissions == 3


def queue_workers(workers):
    return list(workers.scheduler.workers)


def test_cancel_that_fails_is_warned_of(slurm, pool, workers, caplog):
    pool.slots(left=2)
    wait_for_jobs(slurm, 2)
    connect(slurm, workers, 0)
    wait_until(lambda: pool._policy.jobs[0].had_worker)
    slurm.be_silent()
    pool.slots(left=1)
    wait_until(lambda: "jobs could not be cancelled: Unable to contact" in caplog.text)


def test_close_cancels_all_jobs_by_name_and_forgets_their_ids(slurm, queue, waits):
    request = executor_request(show_wait=waits.append)
    pool = JobPool(queue, ScalingPolicy(3, 1), request, Path("ids"))
    pool.slots(left=2)
    wait_for_jobs(slurm, 2)
    pool.close()
    assert slurm.cancelled == [f"--user={os.getuid()} --name={NAME}"]
    assert not Path("ids").exists()
    assert waits[-1] == ""
    time.sleep(0.2)
    assert slurm.submissions == 2


def test_close_without_any_job_cancels_none(slurm, queue):
    JobPool(queue, ScalingPolicy(3, 1), executor_request(), Path("ids")).close()
    assert slurm.cancelled == []


def test_close_keeps_the_ids_of_jobs_that_could_not_be_cancelled(slurm, queue, caplog):
    pool = JobPool(queue, ScalingPolicy(3, 1), executor_request(), Path("ids"))
    pool.slots(left=2)
    wait_for_jobs(slurm, 2)
    wait_until(lambda: len(Path("ids").read_text().splitlines()) == 2)
    slurm.be_silent()
    pool.close()
    assert (
        "jobs 1 2 could not be cancelled (Unable to contact slurm controller); they are in ids"
        in (caplog.text)
    )
    assert Path("ids").read_text() == f"1 {NAME}\n2 {NAME}\n"


def test_blocked_jobs_are_warned_of_once_with_what_to_change(slurm, pool, waits, caplog):
    pool.slots(left=1)
    wait_for_jobs(slurm, 1)
    slurm.set_state(1, "PENDING", "PartitionTimeLimit")
    wait_until(lambda: waits[-1:] == ["waiting for jobs: 1 pending (PartitionTimeLimit)"])
    time.sleep(0.2)
    (message,) = caplog.messages
    assert message.startswith("jobs wait with the reason PartitionTimeLimit, and will do so")
    assert "correct queue: or walltime: below jobqueue: in info.yaml" in message


def test_walltime_of_jobs_is_known_from_the_queue(slurm, pool, workers):
    pool.slots(left=1)
    wait_for_jobs(slurm, 1)
    jobs = pool.walltimes.jobs
    wait_until(lambda: "bb32aade-0" in jobs)
    assert jobs["bb32aade-0"].walltime == float("inf")  # while it is pending
    connect(slurm, workers, 0)
    wait_until(lambda: jobs["bb32aade-0"].walltime == 300.0)
    assert 200 < pool.walltimes.jobs["bb32aade-0"].end - time.monotonic() <= 240


def test_worker_that_connects_wakes_the_run(slurm, queue, pool, workers):
    woken = []
    pool._request.stopper.wake = lambda: woken.append(True)
    pool.slots(left=1)
    wait_for_jobs(slurm, 1)
    assert woken == []
    connect(slurm, workers, 0)
    assert woken == [True]


def test_error_in_the_thread_of_the_jobs_ends_the_run(slurm, queue, pool):
    def fail():
        raise ZeroDivisionError("a mistake of ours")

    queue.states = fail
    pool.slots(left=1)
    wait_until(lambda: pool._error is not None)
    with pytest.raises(ExecutorError, match="can no longer be looked after: .*a mistake of ours"):
        pool.slots(left=1)


def test_stderr_of_the_batch_system_is_taken_out_of_the_report_of_dask_jobqueue():
    report = "Command exited with non-zero exit code.\nstdout:\n\nstderr:\nsbatch: error: no\n\n"
    assert scaling._stderr_of(report) == "sbatch: error: no"
    assert scaling._stderr_of("[Errno 2] no sbatch") == "[Errno 2] no sbatch"
