"""Tests of scripts that run as a chain of jobs, without the jobs: each job is a chain in dask's
configuration, and a fresh count of calls."""

from __future__ import annotations

import os
import signal

import dask.config
import pytest

import psweep_dask as ps
from psweep_dask.driver import chain as chain_module
from psweep_dask.study import stop


@pytest.fixture
def job(monkeypatch):
    """Become the first, or the next, job of a chain."""

    def become_job(chain="chain-1"):
        monkeypatch.setattr(chain_module, "_calls", type(chain_module._calls)())
        monkeypatch.setattr(stop, "_terminated", False)
        monkeypatch.setitem(dask.config.config, "psweep", {"chain": chain})

    become_job()
    return become_job


def count(pset):
    with open("begun", "a") as log:
        log.write(f"{pset['_pset_seq']}\n")
    return {"y": 2 * pset["a"]}


def terminate_at_2(pset):
    if pset["a"] == 2 and not os.path.exists("terminated"):
        open("terminated", "w").close()
        os.kill(os.getpid(), signal.SIGTERM)
    return count(pset)


def begun():
    with open("begun") as log:
        return [int(line) for line in log]


def test_a_call_that_an_earlier_job_has_finished_gives_the_database_at_once(job):
    first = ps.run(count, ps.plist("a", [1, 2]), cluster="sync")
    job()
    again = ps.run(count, ps.plist("a", [1, 2]), cluster="sync")
    assert begun() == [0, 1]
    assert again.equals(first)


def test_the_call_in_which_a_job_was_stopped_ends_it_and_the_next_job_goes_on(job):
    params = ps.plist("a", range(5))
    with pytest.raises(SystemExit) as stopped:
        ps.run(terminate_at_2, params, cluster="sync")
    assert stopped.value.code == chain_module.GO_ON
    job()
    df = ps.run(terminate_at_2, params, cluster="sync")
    assert begun() == [0, 1, 2, 3, 4]
    assert df.y.tolist() == [0, 2, 4, 6, 8]
    assert df._run_id.nunique() == 1


def test_calls_are_told_apart_by_their_psets_and_equal_ones_by_their_order(job):
    for _ in range(2):
        ps.run(count, ps.plist("a", [1]), cluster="sync")
    ps.run(count, ps.plist("a", [7]), cluster="sync")
    job()
    for a in (1, 7, 1, 1):
        df = ps.run(count, ps.plist("a", [a]), cluster="sync")
    assert begun() == [0, 1, 2, 3], "the third call with a=1 is new"
    assert df.a.tolist() == [1, 1, 7, 1]


def test_another_chain_begins_anew(job):
    ps.run(count, ps.plist("a", [1]), cluster="sync")
    job("chain-2")
    assert len(ps.run(count, ps.plist("a", [1]), cluster="sync")) == 2


def test_without_a_chain_a_stopped_run_is_left_to_resume(monkeypatch):
    monkeypatch.setattr(stop, "_terminated", False)
    df = ps.run(terminate_at_2, ps.plist("a", range(5)), cluster="sync")
    assert len(df) == 3
    assert "chain" not in ps.resume("calc", cluster="sync").columns
