"""Settings of the user's dask that would break a cluster of ours, tried on one, with restarts."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor

import dask.config
import pytest
from helpers.driver_process import wait_until

import psweep_dask as ps
from psweep_dask.clusters import local as local_module

BREAKING = {
    "distributed.scheduler.idle-timeout": "100ms",
    "distributed.scheduler.no-workers-timeout": "1ms",
    "distributed.scheduler.contact-address": "tcp://127.0.0.1:9",
    "distributed.scheduler.blocked-handlers": ["run_function", "register_worker_plugin"],
    "distributed.scheduler.active-memory-manager.policies": [{"class": "no.such.Policy"}],
    "distributed.scheduler.preload": ["raise RuntimeError('scheduler')"],
    "distributed.nanny.preload": ["raise RuntimeError('nanny')"],
    "distributed.worker.preload": ["raise RuntimeError('worker')"],
    "distributed.client.preload": ["raise RuntimeError('client')"],
    "distributed.worker.blocked-handlers": ["run", "plugin-add"],
    "distributed.worker.lifetime.duration": "200ms",
    "distributed.worker.lifetime.restart": True,
    "distributed.worker.daemon": True,
    "distributed.worker.multiprocessing-method": "fork",
    "distributed.deploy.lost-worker-timeout": None,
    "distributed.dashboard.link": "{port",
}


@pytest.fixture
def new_cluster():
    local_module.close_local()
    yield
    local_module.close_local()


def test_settings_of_the_user_break_no_cluster_of_ours(new_cluster, study_folder):
    def func(pset):
        if pset["a"] == 0 and not os.path.exists("died"):
            open("died", "w").close()
            os._exit(1)
        time.sleep(0.1)
        child = multiprocessing.get_context("spawn").Process(target=os.getpid)
        child.start()
        child.join()
        return {
            "pid": os.getpid(),
            "child": child.exitcode,
            "lifetime": dask.config.get("distributed.worker.lifetime.duration"),
            "spill": dask.config.get("distributed.worker.memory.spill"),
            "shown": dask.config.get("psweep_test", "not here"),
        }

    with ThreadPoolExecutor(1) as pool, dask.config.set({**BREAKING, "pool": pool}):
        df = ps.run(func, ps.plist("a", range(12)), cluster="local", retries=1)
        size = local_module.CPU_COUNT
        wait_until(lambda: len(local_module._kept.client.nthreads()) == size)
        workers = set(local_module._kept.client.run(os.getpid).values())
        time.sleep(0.5)  # longer than idle-timeout and lifetime
        again = ps.run(func, ps.plist("a", range(12)), cluster="local", save=False)
        cluster = local_module._kept.cluster
        cluster.sync(close_all, list(cluster.workers.values()))
        cluster.replace_nannies()
        wait_until(lambda: cluster.nannies == size, seconds=300)
        replaced = ps.run(func, ps.plist("a", range(12)), cluster="local", save=False)
        assert local_module._kept.cluster is cluster
        assert dask.config.get("distributed.worker.daemon") is True
        assert dask.config.get("pool") is pool
    rows = [row for table in (df, again, replaced) for row in table.to_dict("records")]
    assert [row["_status"] for row in rows] == ["ok"] * 60
    assert {row["child"] for row in rows} == {0}
    assert {row["lifetime"] for row in rows} == {None}
    assert {row["spill"] for row in rows} == {False}
    assert set(again.pid.iloc[12:]) <= workers


async def close_all(nannies):
    for nanny in nannies:
        await nanny.close(timeout=5)


def test_settings_of_the_psweep_section_win_also_in_workers_that_start_again(new_cluster):
    def func(pset):
        if pset["a"] == 0 and not os.path.exists("died"):
            open("died", "w").close()
            os._exit(1)
        return {"mark": dask.config.get("distributed.worker.profile.enabled")}

    section = {"distributed": {"worker": {"profile": {"enabled": True}}}}
    with dask.config.set({"psweep.dask": section}):
        df = ps.run_local(func, ps.plist("a", range(4)), poolsize=1, retries=1)
    assert df.mark.tolist() == [True] * 4
    assert df._attempt.tolist()[0] == 2
