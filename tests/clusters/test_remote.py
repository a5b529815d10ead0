"""Clusters in batch jobs and allocations, by fake commands of SLURM and real worker processes."""

from __future__ import annotations

import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from distributed import Client, Security
from helpers.driver_process import wait_until
from helpers.executor_request import executor_request
from helpers.fake_commands import command
from helpers.inprocess_cluster import InProcess
from helpers.machine_files import machine

from psweep_dask.clusters import remote
from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.remote import (
    AllocationPool,
    open_allocation_cluster,
    open_job_cluster,
)
from psweep_dask.hpc.allocation import Allocation, AllocationError, SlurmAllocation
from psweep_dask.hpc.machine_schema import MachineError
from psweep_dask.study.stop import Stop

MACHINE = """
cluster: slurm
jobs: 2
jobqueue: {cores: 1, memory: 1GiB, interface: lo, walltime: "5"}
"""

SRUN = """
for word in "$@"; do case $word in --ntasks=*) tasks=${word#--ntasks=} ;; esac; done
while case $1 in --*) true ;; *) false ;; esac; do shift; done
for task in $(seq $tasks); do "$@" & done
wait
"""


@pytest.fixture
def lines():
    """What is logged. The handler of caplog has its level raised when dask starts a cluster."""
    lines = []

    class Handler(logging.Handler):
        def emit(self, entry):
            lines.append(entry.getMessage())

    handler, level = Handler(), remote.log.level
    remote.log.addHandler(handler)
    remote.log.setLevel("INFO")
    yield lines
    remote.log.setLevel(level)
    remote.log.removeHandler(handler)


def workers_of(address):
    """The processes that were told to connect to a scheduler."""
    command_lines = {one: one.info["cmdline"] or () for one in psutil.process_iter(["cmdline"])}
    return [process for process, words in command_lines.items() if address in words]


@pytest.mark.slow
def test_job_cluster_submits_jobs_whose_workers_connect_and_cancels_them(slurm, tmp_path):
    (tmp_path / "logs").mkdir()
    slurm.run_jobs(tmp_path / "logs")
    request = executor_request(log_dir=tmp_path / "logs", jobs_path=tmp_path / "jobs")
    with open_job_cluster(machine(MACHINE), request) as (client, pool):
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert pool.expected_slots == 2
        wait_until(lambda: pool.slots(left=1) == 1)
        assert client.submit(os.getenv, "PSWEEP_DASK_WORKER").result() == "1"
        assert Path("jobs").read_text() == "1 psweep-bb32aade\n"
        assert len(workers_of(address)) > 0
        with pytest.raises(OSError, match="TLS certificate does not match"):
            Client(address, security=Security.temporary(), timeout=2, set_as_default=False)
    assert slurm.cancelled == [f"--user={os.getuid()} --name=psweep-bb32aade"]
    wait_until(lambda: not workers_of(address))
    assert not Path("jobs").exists()
    assert list(tmp_path.glob(".psweep_dask-*")) == []  # no credentials are left


def test_job_cluster_tells_where_scheduler_and_dashboard_are(slurm, lines):
    with open_job_cluster(machine(MACHINE), executor_request()) as (client, _):
        dashboard = re.escape(client.dashboard_link.rpartition(":")[2].partition("/")[0])
    (message,) = [line for line in lines if line.startswith("at most")]
    assert re.fullmatch(
        r"at most 2 jobs of 1 worker on big, scheduler: tls://127\.0\.0\.1:\d+ \(interface lo\), "
        rf"dashboard: http://127\.0\.0\.1:{dashboard}/psweep",
        message,
    )


def test_job_cluster_ends_in_order_when_the_run_fails(slurm):
    def run():
        with open_job_cluster(machine(MACHINE), executor_request()) as (_, pool):
            pool.slots(left=2)
            wait_until(lambda: len(slurm.jobs) == 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert slurm.cancelled == [f"--user={os.getuid()} --name=psweep-bb32aade"]


def test_job_cluster_without_the_resources_of_a_pset_is_refused(slurm):
    request = executor_request(resources={"GPU": 1})
    with (
        pytest.raises(MachineError, match="do not have the resources"),
        open_job_cluster(machine(MACHINE), request),
    ):
        pass
    assert slurm.submissions == 0


@pytest.mark.slow
def test_allocation_cluster_has_a_worker_for_each_task_and_leaves_none(slurm, bin_dir, lines):
    command(bin_dir, "srun", SRUN)
    slurm.set_state(7, "RUNNING", left="1:00:00", limit="2:00:00")
    allocation = SlurmAllocation("7", 1, 2, 1, None)
    waits = []
    request = executor_request(show_wait=waits.append, log_dir=Path("logs"))
    with open_allocation_cluster(allocation, request) as (client, pool):
        address = client.scheduler.address
        assert pool.expected_slots == 2
        wait_until(lambda: pool.slots(left=9) == 2)
        pids = client.run(os.getpid)
        assert len(set(pids.values())) == 2
        assert pool.workers_for(3000.0) != []
        (job,) = pool.walltimes.jobs.values()
        assert job.walltime == 7200.0
        assert 3000 < job.end - time.monotonic() <= 3600
        assert waits[0] == "waiting for workers: srun starts them"
    assert waits[-1] == ""
    assert workers_of(address) == []
    assert list(Path().glob(".psweep_dask-*")) == []
    (message,) = [line for line in lines if "allocation" in line]
    assert message.startswith("SLURM allocation 7: 2 workers on 1 node, 1 CPU for each pset")


def test_allocation_cluster_without_srun_says_what_to_do(slurm, monkeypatch, bin_dir):
    monkeypatch.setenv("PATH", str(bin_dir))
    with (
        pytest.raises(AllocationError, match="srun cannot be started .* or use cluster='local'"),
        open_allocation_cluster(SlurmAllocation("7", 1, 2, 1, None), executor_request()),
    ):
        pass


@dataclass(frozen=True)
class QuietAllocation(Allocation):
    """An allocation of a batch system that tests play: nothing starts by itself."""

    batch_system = "QUIET"
    left: float | None = None

    @classmethod
    def from_environment(cls, environ):
        return None

    def time_left(self):
        return None if self.left is None else (self.left, 3600.0)

    def scheduler_host(self):
        return "127.0.0.1"

    def start_workers(self, scheduler_address, log_path, settings):
        raise NotImplementedError


class QuietStep:
    """Workers that run until a test says how they have ended."""

    log_path = Path("logs/7.log")
    ended = None

    def end_message(self):
        return self.ended

    def close(self, patience):
        return 0


@pytest.fixture
def cluster():
    with InProcess() as cluster:
        yield cluster


class Waits(list):
    """What the run was said to wait for, without repetitions."""

    def append(self, text):
        if self[-1:] != [text]:
            super().append(text)


@pytest.fixture
def make(cluster):
    def make(left=None, **options):
        allocation = QuietAllocation("7", 1, 2, 1, None, left)
        request = executor_request(**options)
        return AllocationPool(allocation, QuietStep(), cluster.cluster, request)

    return make


def test_allocation_pool_waits_for_workers_and_counts_them(make, cluster):
    waits = Waits()
    pool = make(show_wait=waits.append)
    assert pool.expected_slots == 2
    assert pool.slots(left=9) == 0
    cluster.start("0")
    wait_until(lambda: pool.slots(left=9) == 1)
    cluster.start("1")
    wait_until(lambda: pool.slots(left=9) == 2)
    assert waits == ["waiting for workers: srun starts them", ""]


def test_allocation_pool_wakes_the_run_when_a_worker_comes(make, cluster):
    woken = []
    request = executor_request()
    request.stopper.wake = lambda: woken.append(True)
    make(stopper=request.stopper)
    cluster.start("0")
    assert woken == [True]


def test_allocation_pool_whose_step_has_ended_is_an_error(make):
    pool = make()
    pool._step.ended = "srun ended with exit code 1: no such partition"
    with pytest.raises(ExecutorError, match="allocation are gone: srun ended with exit code 1"):
        pool.slots(left=1)
    assert pool.slots(left=0) == 0  # nobody needs them


def test_allocation_pool_whose_workers_never_connect_is_an_error(make, monkeypatch):
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 0.2)
    pool = make()
    assert pool.slots(left=1) == 0
    time.sleep(0.3)
    with pytest.raises(ExecutorError, match=r"no worker has connected to inproc://.*logs/7.log"):
        pool.slots(left=1)


def test_allocation_pool_that_had_workers_waits_for_others(make, cluster, monkeypatch):
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 0.0)
    pool = make()
    address = cluster.start("0")
    wait_until(lambda: pool.slots(left=1) == 1)
    cluster.stop(address)
    assert pool.slots(left=1) == 0  # a nanny may start another


def test_allocation_that_is_nearly_over_stops_the_run(make, cluster, caplog):
    request = executor_request()
    pool = make(left=1000.0, stopper=request.stopper)
    cluster.start("0")
    wait_until(lambda: pool.slots(left=1) == 1)
    pool.walltimes.record_duration(2000.0)
    address = next(iter(cluster.workers))
    pool.walltimes._workers[address].began -= 100.0  # it is not fresh any more
    wait_until(lambda: pool.slots(left=1) == 0)
    wait_until(lambda: not cluster.scheduler.workers)
    assert pool.slots(left=1) == 0
    assert request.stopper.level == Stop.SOON
    assert caplog.messages == ["the allocation is nearly over: no pset that is left would fit in"]
