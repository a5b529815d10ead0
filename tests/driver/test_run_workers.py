"""The workers of a run: the LocalCluster that is kept, and clusters of the user."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
from distributed import Client, LocalCluster, default_client
from helpers.funcs import double

import psweep_dask as ps
from psweep_dask.clusters import local


def test_large_closure_is_sent_once_to_each_worker():
    class Counting:
        """Large, and counts how often it is unpickled on each worker."""

        def __init__(self):
            self.ballast = os.urandom(2**20)

        def __setstate__(self, state):
            self.__dict__ = state
            os.environ["LOADED"] = str(int(os.environ.get("LOADED", "0")) + 1)

    large = Counting()

    def func(pset):
        time.sleep(0.05)
        return {
            "size": len(large.ballast),
            "loaded": int(os.environ["LOADED"]),
            "pid": os.getpid(),
        }

    local.close_local()
    df = ps.run(func, ps.plist("a", range(60)), save=False)
    assert set(df["size"]) == {2**20}
    assert df["loaded"].nunique() == 1
    assert df["pid"].nunique() == local.CPU_COUNT


def test_local_cluster_is_kept_and_workers_follow_the_working_directory(study_folder, monkeypatch):
    pids = set(ps.run(lambda pset: {"pid": os.getpid()}, ps.plist("a", range(50)), save=False).pid)
    (study_folder / "sub").mkdir()
    monkeypatch.chdir(study_folder / "sub")
    df = ps.run(
        lambda pset: {"pid": os.getpid(), "cwd": os.getcwd()}, ps.plist("a", range(50)), save=False
    )
    assert set(df.pid) <= pids | set(df.pid)
    assert set(df.pid) & pids
    assert set(df.cwd) == {str(study_folder / "sub")}
    assert os.getpid() not in set(df.pid)


def test_working_directory_of_workers_may_be_gone(study_folder, monkeypatch):
    for name in ("one", "two"):
        folder = study_folder / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        df = ps.run(lambda pset: {"cwd": os.getcwd()}, ps.plist("a", range(9)), save=False)
        assert set(df.cwd) == {str(folder)}
        monkeypatch.chdir(study_folder)
        folder.rmdir()


def test_poolsize_is_the_number_of_workers():
    def func(pset):
        time.sleep(0.02)
        return {"pid": os.getpid()}

    assert ps.run_local(func, ps.plist("a", range(30)), poolsize=3, save=False).pid.nunique() == 3
    assert ps.run_local(func, ps.plist("a", range(10)), poolsize=1, save=False).pid.nunique() == 1


@pytest.mark.parametrize("poolsize", [None, np.int64(1)])
def test_run_local_is_a_loop_that_may_rewrite_one_file(study_folder, poolsize, caplog):
    def func(pset):
        (study_folder / "model.txt").write_text(str(pset["a"]))
        time.sleep(0.02)
        return {"read": int((study_folder / "model.txt").read_text()), "pid": os.getpid()}

    caplog.set_level("INFO", "psweep_dask")
    df = ps.run_local(func, ps.plist("a", range(50)), poolsize=poolsize)
    assert df.read.tolist() == df.a.tolist()
    assert df.pid.nunique() == 1
    assert df._time_utc.is_monotonic_increasing
    line = "one worker, psets one after the other as in psweep; poolsize=n runs n at a time"
    assert (line in caplog.text) is (poolsize is None)


def test_run_local_takes_the_name_that_psweep_had_for_func():
    df = ps.run_local(worker=double, params=ps.plist("a", [1, 2]), save=False)
    assert df.y.tolist() == [2, 4]


def test_default_client_is_never_one_of_ours():
    ps.run(double, ps.plist("a", [1]), save=False)
    with pytest.raises(ValueError, match="No clients found"):
        default_client()


def test_client_or_cluster_of_the_user_is_used_and_left_open(study_folder):
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        df = ps.run(lambda pset: {"pid": os.getpid()}, ps.plist("a", range(5)), cluster=cluster)
        assert set(df.pid) == {os.getpid()}
        with Client(cluster) as client:
            for choice in (client, None):  # None means the default client
                df = ps.run(lambda pset: {"pid": os.getpid()}, [{"a": 1}], cluster=choice)
                assert df.pid.iloc[-1] == os.getpid()
            assert client.submit(lambda: 1).result() == 1
            with pytest.raises(ps.PsweepError, match=r"capture_logs.*one thread.*these have 2"):
                ps.run(double, [{"a": 1}], cluster=client, capture_logs="db")
    assert len(ps.df_read("calc/database.pk")) == 7
    infos = (study_folder / "calc" / "runs").glob("*/run.json")
    kinds = sorted(json.loads(path.read_text())["cluster"]["kind"] for path in infos)
    assert kinds == ["Client", "Client", "LocalCluster"]


def test_dashboard_groups_tasks_by_the_name_of_func():
    ps.run(double, [{"a": 1}], save=False)
    scheduler = local._kept.cluster.scheduler
    assert "double" in scheduler.task_prefixes
