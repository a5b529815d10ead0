"""Workers of a cluster that we did not start: a real scheduler and real workers in this process."""

from __future__ import annotations

import dask.config
import pytest
from distributed import Client, LocalCluster
from helpers.driver_process import wait_until
from helpers.inprocess_cluster import InProcess

import psweep_dask as ps
from psweep_dask.clusters import workers
from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.workers import ExternalPool, slots_of, total_slots


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(workers, "WORKER_POLL_SECONDS", 0.0)  # ask each time
    with InProcess() as cluster:
        yield cluster


def external_pool(cluster, resources=None):
    return ExternalPool(cluster.client, resources or {})


def test_slots_are_the_threads_of_all_workers(cluster):
    pool = external_pool(cluster)
    cluster.start("a", nthreads=3)
    assert pool.slots(left=100) == 3
    cluster.start("b", nthreads=2)
    assert pool.slots(left=100) == pool.expected_slots == 5


def test_slots_are_zero_without_workers_and_one_is_expected(cluster):
    pool = external_pool(cluster)
    assert pool.slots(left=100) == 0
    assert pool.expected_slots == 1


def test_slots_are_asked_for_now_and_then_only(cluster, monkeypatch):
    monkeypatch.setattr(workers, "WORKER_POLL_SECONDS", 1000.0)
    pool = external_pool(cluster)
    cluster.start("a")
    assert pool.slots(left=100) == 1
    cluster.start("b")
    assert pool.slots(left=100) == 1


def test_resources_decide_how_many_psets_run_at_the_same_time(cluster):
    cluster.start("a", nthreads=8, resources={"GPU": 2})
    cluster.start("b", nthreads=8)
    assert external_pool(cluster, {"GPU": 1}).slots(left=100) == 2
    assert external_pool(cluster, {"GPU": 2}).slots(left=100) == 1


def test_resources_that_no_worker_has_are_an_error_with_the_remedy(cluster):
    cluster.start("a", resources={"GPU": 1})
    with pytest.raises(ExecutorError, match="none of the 1 workers .*--resources"):
        external_pool(cluster, {"GPU": 2}).slots(left=1)


def test_workers_all_gone_are_warned_of_once_and_again_when_they_are_back(
    cluster, caplog, monkeypatch
):
    monkeypatch.setattr(ExternalPool, "_warn_after", -1.0)  # at once
    pool = external_pool(cluster)
    address = cluster.start("a")
    pool.slots(left=1)
    assert caplog.messages == []
    cluster.stop(address)
    for _ in range(3):
        assert pool.slots(left=1) == 0
    assert [line.split(":")[0] for line in caplog.messages] == ["all workers are gone"]
    cluster.start("b")
    for _ in range(3):
        assert pool.slots(left=1) == 1
    assert caplog.messages[1:] == ["there are workers again, the run goes on"]


def test_walltime_of_external_workers_is_not_known(cluster):
    pool = external_pool(cluster)
    pool.record_duration(1e6)
    assert pool.workers_for(1e6) is None
    assert pool.walltime_loss("key") is None


@pytest.mark.parametrize(
    ("threads", "available", "needed", "slots"),
    [
        (4, {}, {}, 4),
        (4, {"GPU": 2}, {}, 4),
        (4, {"GPU": 9}, {"GPU": 1}, 4),
        (4, {"GPU": 2, "MEM": 8}, {"GPU": 1, "MEM": 8}, 1),
        (4, {"GPU": 1}, {"GPU": 0.25}, 4),
        (4, {"GPU": 1}, {"GPU": 2}, 0),
    ],
)
def test_slots_of_a_worker(threads, available, needed, slots):
    assert slots_of(threads, available, needed) == slots


def test_total_slots_of_no_workers_is_no_error():
    assert total_slots([], {"GPU": 1}) == 0


def test_workers_that_are_all_paused_for_their_memory_are_named_with_what_to_do(
    study_folder, caplog
):
    full = {  # a worker holds more than 5 % of its memory from the start
        "distributed.worker.memory.pause": 0.05,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.terminate": False,
    }
    with (
        dask.config.set(full),
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="1GiB", dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        sweep = ps.submit(lambda pset: {"y": 1}, ps.plist("a", range(4)), cluster=client)
        wait_until(lambda: "dask has paused all workers" in caplog.text, seconds=300)
        client.run(unpause)
        assert sweep.result().y.tolist() == [1] * 4
    (warning,) = [line for line in caplog.messages if "dask has paused" in line]
    assert "of 1.00 GiB), 1 on 127.0.0.1 (" in warning or "), 0 on 127.0.0.1 (" in warning
    assert "memory_limit" in warning


def unpause(dask_worker):
    """Let a worker hold nearly all of its memory."""
    dask_worker.memory_manager.memory_pause_fraction = 0.99
