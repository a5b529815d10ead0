"""Worker processes that really end, psets over their timeout, nannies without a scheduler."""

from __future__ import annotations

import _thread
import asyncio
import ctypes
import os
import signal
import subprocess
import time

import dask.config
import psutil
import pytest
from distributed import Client, LocalCluster, Nanny, Scheduler

import psweep_dask as ps
from psweep_dask.clusters import plugins
from psweep_dask.clusters.users_plugins import installed_plugins


def by_a(df):
    return df.set_index("a")


def test_worker_exit_is_a_row_of_the_pset_that_caused_it_and_of_no_other(caplog):
    def func(pset):
        time.sleep(0.01)
        if pset["a"] == 10:
            ctypes.string_at(0)
        if pset["a"] == 20:
            os._exit(0)
        if pset["a"] == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        if pset["a"] == 39:
            os.abort()
        return {"y": pset["a"]}

    df = by_a(ps.run(func, ps.plist("a", range(40))))
    killed = df[df._status == "killed"]
    assert killed.index.tolist() == [10, 20, 30, 39]
    texts = killed._exc_txt.tolist()
    assert "signal 11 (SIGSEGV)" in texts[0]
    assert "in func" in texts[0]
    assert "exit status 0" in texts[1]
    assert "signal 9 (SIGKILL)" in texts[2]
    assert "signal 6 (SIGABRT)" in texts[3]
    rest = df.drop(killed.index)
    assert (rest._status == "ok").all()
    assert (rest.y == rest.index).all()
    assert "36 ok, 4 failed (4 killed); 4 workers were lost" in caplog.text


@pytest.mark.parametrize("send", ["kill", "raise_signal", "interrupt_main"])
def test_ctrl_c_that_func_sends_to_its_own_process_ends_no_worker(send, study_folder):
    def func(pset):
        if send == "kill":
            os.kill(os.getpid(), signal.SIGINT)
        elif send == "raise_signal":
            signal.raise_signal(signal.SIGINT)
        else:
            _thread.interrupt_main()
        time.sleep(0.05)
        return {"worker": os.getpid()}

    df = ps.run(func, ps.plist("a", range(6)), cluster="local")
    assert (df._status == "ok").all()
    assert set(df._attempt) == {1}


def test_retries_repeat_each_kind_of_failure(study_folder):
    def func(pset):
        mark = study_folder / f"{pset['a']}-{os.getpid()}-{time.monotonic_ns()}"
        mark.touch()
        tries = len(list(study_folder.glob(f"{pset['a']}-*")))
        if pset["a"] == "dies" and tries < 3:
            os._exit(1)
        if pset["a"] == "hangs" and tries < 3:
            time.sleep(60)
        if pset["a"] == "raises" and tries < 3:
            raise ValueError
        if pset["a"] == "always":
            raise ValueError
        return {"tries": tries}

    params = ps.plist("a", ["dies", "hangs", "raises", "always", "good"])
    df = by_a(ps.run(func, params, retries=2, timeout=0.5, save=False))
    assert df._status.to_dict() == {
        "dies": "ok", "hangs": "ok", "raises": "ok", "always": "error", "good": "ok",
    }  # fmt: skip
    # A pset whose process ends because of another pset runs again, under the same number.
    attempts = df._attempt.to_dict()
    assert (attempts["dies"], attempts["always"], attempts["good"]) == (3, 3, 1)
    assert {attempts["hangs"], attempts["raises"]} <= {1, 2, 3}
    assert min(df.tries.dropna()[["dies", "hangs", "raises"]]) >= 3


def test_timeout_ends_sleep_and_c_code_alike_and_all_that_was_started(study_folder):
    def func(pset):
        if pset["a"] == "sleep":
            time.sleep(600)
        if pset["a"] == "gil":
            ctypes.PyDLL(None).sleep(600)
        if pset["a"] == "children":
            subprocess.run(["sh", "-c", "sleep 601; true"], check=False)
        return {"pid": os.getpid()}

    params = ps.plist("a", ["sleep", "gil", "children", *range(10)])
    started = time.monotonic()
    df = by_a(ps.run(func, params, timeout=1.0, save=False))
    assert time.monotonic() - started < 30
    late = df.loc[["sleep", "gil", "children"]]
    assert late._status.tolist() == ["timeout"] * 3
    assert late._pset_runtime.between(1.0, 3.0).all()
    assert all("longer than timeout=" in text for text in late._exc_txt)
    assert "in func" in late._exc_txt["gil"]
    assert (df._status == "ok").sum() == 10
    commands = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", "601"] not in commands


def test_timeout_counts_for_each_pset_and_not_for_a_slice():
    df = ps.run(lambda pset: time.sleep(0.05) or {}, [{"a": 1}] * 60, timeout=0.6, save=False)
    assert (df._status == "ok").all()


def test_on_error_counts_killed_psets_too():
    with pytest.raises(ps.PsetFailedError, match="exit status 7"):
        ps.run(lambda pset: os._exit(7), [{"a": 1}], on_error="raise", save=False)


@pytest.fixture
def users_client(request, monkeypatch):
    # dask would close the nanny of a worker that is restarting so long after an earlier loss
    monkeypatch.setitem(dask.config.config["distributed"]["deploy"], "lost-worker-timeout", "1h")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        LocalCluster(**options | request.param) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("users_client", [{"memory_limit": "400MiB"}], indirect=True)
def test_memory_limit_is_told_by_the_row_of_a_pset_that_needs_more(users_client):
    def func(pset):
        if pset["a"] == 3:
            hoard = []
            while True:
                hoard.append(bytearray(os.urandom(2**20) * 10))
                time.sleep(0.02)
        return {"y": pset["a"]}

    df = by_a(ps.run(func, ps.plist("a", range(6)), cluster=users_client, save=False))
    assert df._status.tolist() == ["ok"] * 3 + ["killed"] + ["ok"] * 2
    assert "its limit is 0.39 GiB" in df._exc_txt[3]


@pytest.mark.parametrize("users_client", [{"threads_per_worker": 2}], indirect=True)
def test_worker_exit_with_several_threads_finds_the_pset_that_caused_it_in_the_end(users_client):
    def func(pset):
        if pset["a"] == 2:
            time.sleep(0.25)  # so that the pset that began at the same time has finished
            os._exit(1)
        time.sleep(0.15)
        return {"y": pset["a"]}

    df = by_a(ps.run(func, ps.plist("a", range(16)), cluster=users_client, save=False))
    assert df[df._status == "killed"].index.tolist() == [2]
    assert (df._status == "ok").sum() == 15


@pytest.mark.parametrize("users_client", [{"processes": False}], indirect=True)
def test_timeout_is_refused_where_nobody_can_enforce_it(users_client, caplog):
    with pytest.raises(ps.PsweepError, match="timeout= needs workers with a nanny"):
        ps.run(lambda pset: {}, [{"a": 1}], cluster=users_client, timeout=1.0)
    df = ps.run(lambda pset: {}, [{"a": 1}], cluster="sync", timeout=1.0, save=False)
    assert df._status.tolist() == ["ok"]
    assert "timeout= is not enforced in this process" in caplog.text


@pytest.mark.parametrize("users_client", [{}], indirect=True)
def test_nanny_reports_how_its_worker_has_ended(users_client):
    with installed_plugins(users_client, "a run"):
        (address,) = users_client.nthreads()
        (pid,) = users_client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while not (exits := plugins.worker_exits(users_client)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert exits[address].exitcode == -9
    assert exits[address].running == ()
    assert not exits[address].closing


@pytest.mark.parametrize("gone", [True, False])
def test_nanny_leaves_when_its_scheduler_is_gone_and_not_before(monkeypatch, gone):
    monkeypatch.setattr(plugins, "SCHEDULER_POLL_SECONDS", 0.2)
    monkeypatch.setattr(plugins, "UNREACHABLE_SECONDS", 1.0)
    ended = asyncio.run(leaves(gone))
    assert ended == gone


async def leaves(gone):
    """Whether a nanny has ended its worker and left, some time after its scheduler has.

    A real nanny; with a func that holds the GIL it was tried by hand.
    """
    ended = []
    async with Scheduler(dashboard_address=":0", port=0, host="127.0.0.1") as scheduler:
        nanny = await Nanny(scheduler.address, nthreads=1, memory_limit=0)
        try:
            leaving = asyncio.create_task(
                plugins.leave_without_scheduler(nanny, lambda: ended.append(True))
            )
            if gone:
                await scheduler.close()
                await asyncio.wait_for(leaving, 30)
            else:
                await asyncio.wait([leaving], timeout=2.5)
                leaving.cancel()
        finally:
            await nanny.close(timeout=5)
    return bool(ended)
