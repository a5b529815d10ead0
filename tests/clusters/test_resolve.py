"""Where a run goes, and what is asked of the workers there before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys

import dask.config
import pytest
from distributed import Client, LocalCluster
from helpers.executor_request import drain, executor_request, packed_psets
from helpers.machine_files import MINIMAL, machine

import psweep_dask as ps
from psweep_dask.clusters import resolve as resolve_module
from psweep_dask.clusters.config import ConfigError
from psweep_dask.clusters.executor import InlineExecutor, Slice
from psweep_dask.clusters.resolve import (
    ClusterError,
    describe,
    open_executor,
    resolve,
    shares_files,
)
from psweep_dask.hpc.allocation import SlurmAllocation
from psweep_dask.hpc.machine_schema import MachineError

ALLOCATION = SlurmAllocation("7", 1, 2, 1, None)


@pytest.fixture
def users_cluster():
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def users_client(users_cluster):
    with Client(users_cluster, set_as_default=False) as client:
        yield client


def test_resolve_knows_names_clients_and_clusters(users_client):
    assert resolve(None) == "local"
    assert resolve("sync") == "sync"
    assert resolve(users_client) is users_client
    assert resolve(users_client.cluster) is users_client.cluster


def test_resolve_takes_the_default_client_of_the_script_first(users_cluster):
    with dask.config.set({"psweep.cluster": "sync"}), Client(users_cluster) as client:
        assert resolve(None) is client


def test_resolve_takes_the_cluster_of_the_configuration_next(monkeypatch):
    monkeypatch.setattr(resolve_module, "current_allocation", lambda: ALLOCATION)
    with dask.config.set({"psweep.cluster": "sync"}):
        assert resolve(None) == "sync"
    assert resolve(None) is ALLOCATION
    assert resolve("local") == "local"


def test_resolve_reads_machines_and_checks_that_jobs_could_be_submitted(study_folder):
    described = machine(MINIMAL)
    assert resolve("big") == described
    machine("cluster: slurm\njobqueue: {cores: 1}")
    with pytest.raises(MachineError, match="You must specify .*memory"):
        resolve("big")


@pytest.mark.parametrize("cluster", ["moon", "", 7, True, ["local"], {"a": 1}])
def test_resolve_refuses_anything_else_with_what_there_is(cluster):
    with pytest.raises(ClusterError, match="local|allowed are"):
        resolve(cluster)


def test_resolve_lists_machines_among_what_there_is(study_folder):
    machine(MINIMAL)
    with pytest.raises(ClusterError, match="there are 'local', 'allocation', 'sync', 'big', a"):
        resolve("moon")


def test_resolve_refuses_an_allocation_outside_of_one():
    with pytest.raises(ClusterError, match="not in a SLURM allocation; start it inside salloc"):
        resolve("allocation")


def test_resolve_refuses_an_unknown_key_of_the_configuration():
    with dask.config.set({"psweep": {"clustr": "sync"}}), pytest.raises(ConfigError):
        resolve(None)


def test_resolve_refuses_a_client_or_cluster_that_is_closed_or_whose_cluster_is(study_folder):
    options = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        assert resolve(client) is client
    for closed, kind in ((client, "Client"), (cluster, "LocalCluster")):
        with pytest.raises(ClusterError, match=f"{kind} that cluster= has is closed; make a new"):
            ps.run(lambda pset: {}, [{"a": 1}], cluster=closed)
    assert not list(study_folder.iterdir())
    with LocalCluster(**options) as cluster:
        client = Client(cluster, set_as_default=False)
    try:
        with pytest.raises(ps.PsweepError, match="closed|gone|no scheduler"):
            ps.run(lambda pset: {}, [{"a": 1}], cluster=client)
    finally:
        client.close(timeout=1)


def test_describe_names_what_a_run_was_on(users_cluster, study_folder):
    assert describe("sync") == {"kind": "sync"}
    assert describe(ALLOCATION) == {"kind": "allocation", "job": "7"}
    assert describe(machine(MINIMAL)) == {"kind": "slurm", "machine": "big"}
    assert describe(users_cluster) == {"kind": "LocalCluster"}


def test_shares_files_where_the_workers_are_ours(users_client, study_folder):
    assert shares_files("local")
    assert shares_files(ALLOCATION)
    assert shares_files(machine(MINIMAL))
    assert not shares_files(users_client)
    assert not shares_files(users_client.cluster)


def test_sync_runs_in_this_process_without_timeout(caplog):
    with open_executor("sync", executor_request(timeout=1.0)) as executor:
        assert isinstance(executor, InlineExecutor)
    assert "timeout= is not enforced in this process" in caplog.text


@pytest.mark.parametrize("where", ["cluster", "client"])
def test_cluster_of_the_user_runs_slices_and_stays_open(users_client, where):
    cluster = users_client.cluster if where == "cluster" else users_client
    request = executor_request(lambda pset: {"y": pset["a"]})
    with open_executor(cluster, request) as executor:
        assert executor.dashboard_link == users_client.dashboard_link
        executor.start([(Slice([0], 9.0), packed_psets(5))])
        assert drain(executor)[(0,)]["y"] == [5]
    assert users_client.submit(abs, -1).result() == 1


def test_timeout_needs_workers_with_a_nanny(users_client):
    with (
        pytest.raises(ClusterError, match="timeout= needs workers with a nanny"),
        open_executor(users_client, executor_request(timeout=1.0)),
    ):
        pass


def test_capture_logs_needs_workers_with_one_thread(users_client):
    with (
        pytest.raises(ClusterError, match="these have 2: start them with threads_per_worker=1"),
        open_executor(users_client, executor_request(single_threaded=True)),
    ):
        pass


def test_workers_that_lack_the_package_are_an_error_before_anything_runs(study_folder):
    (study_folder / "psweep_dask").mkdir()
    (study_folder / "psweep_dask" / "__init__.py").write_text("raise ImportError('none here')")
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1"]
    with LocalCluster(n_workers=0, dashboard_address=":0", host="127.0.0.1") as cluster:
        address = cluster.scheduler_address
        with subprocess.Popen(
            [*worker, "--no-dashboard", "--no-nanny", address],
            env={**os.environ, "PYTHONPATH": str(study_folder)},
            stderr=subprocess.DEVNULL,
        ) as process:
            with Client(cluster, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=30)
                with (
                    pytest.raises(ClusterError, match="1 of 1 workers cannot import.*none here"),
                    open_executor(client, executor_request()),
                ):
                    pass
            process.terminate()
