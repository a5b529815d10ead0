from __future__ import annotations

import pytest
from helpers.inprocess_cluster import InProcess

from psweep_dask.clusters import workers
from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.workers import ExternalPool, slots_of, total_slots


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(workers, "INTERVAL", 0.0)  # ask each time
    with InProcess() as cluster:
        yield cluster


def any_workers(cluster, resources=None, waits_for_none=False):
    return ExternalPool(cluster.client, waits_for_none, resources or {})


def test_each_thread_of_each_worker_runs_a_pset(cluster):
    one = any_workers(cluster)
    cluster.start("a", nthreads=3)
    assert one.slots(left=100) == 3
    cluster.start("b", nthreads=2)
    assert one.slots(left=100) == one.slots_hoped == 5


@pytest.mark.parametrize(("waits_for_none", "slots"), [(True, 1), (False, 0)])
def test_without_workers_a_slice_is_sent_only_where_it_brings_them(cluster, waits_for_none, slots):
    one = any_workers(cluster, waits_for_none=waits_for_none)
    assert one.slots(left=100) == slots
    assert one.slots_hoped == 1


def test_resources_decide_how_many_psets_run_at_the_same_time(cluster):
    cluster.start("a", nthreads=8, resources={"GPU": 2})
    cluster.start("b", nthreads=8)
    assert any_workers(cluster, {"GPU": 1}).slots(left=100) == 2
    assert any_workers(cluster, {"GPU": 2}).slots(left=100) == 1


def test_where_no_worker_has_the_resources_it_says_what_to_do(cluster):
    cluster.start("a", resources={"GPU": 1})
    with pytest.raises(ExecutorError, match="none of the 1 workers .*--resources"):
        any_workers(cluster, {"GPU": 2}).slots(left=1)


def test_the_user_is_told_once_that_all_workers_are_gone_and_when_they_are_back(
    cluster, caplog, monkeypatch
):
    monkeypatch.setattr(workers, "LONELY", -1.0)  # at once
    one = any_workers(cluster)
    address = cluster.start("a")
    one.slots(left=1)
    assert caplog.messages == []
    cluster.stop(address)
    for _ in range(3):
        assert one.slots(left=1) == 0
    assert [line.split(":")[0] for line in caplog.messages] == ["all workers are gone"]
    cluster.start("b")
    for _ in range(3):
        assert one.slots(left=1) == 1
    assert caplog.messages[1:] == ["there are workers again, the run goes on"]


def test_of_workers_of_others_no_walltime_is_known(cluster):
    one = any_workers(cluster)
    one.took(1e6)
    assert one.workers_for(1e6) is None
    assert one.cut("key") is None


@pytest.mark.parametrize(
    ("threads", "has", "asked", "slots"),
    [
        (4, {}, {}, 4),
        (4, {"GPU": 2}, {}, 4),
        (4, {"GPU": 9}, {"GPU": 1}, 4),
        (4, {"GPU": 2, "MEM": 8}, {"GPU": 1, "MEM": 8}, 1),
        (4, {"GPU": 1}, {"GPU": 0.25}, 4),
        (4, {"GPU": 1}, {"GPU": 2}, 0),
    ],
)
def test_slots_of(threads, has, asked, slots):
    assert slots_of(threads, has, asked) == slots


def test_no_workers_at_all_are_no_error():
    assert total_slots([], {"GPU": 1}) == 0
