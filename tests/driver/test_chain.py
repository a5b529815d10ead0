"""Scripts that run as a chain of jobs. Here each job is a `Chain` object in this process;
tests/integration/test_driver_jobs.py has real jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import psweep_dask as ps
from psweep_dask.driver import CHAIN_VARIABLE
from psweep_dask.driver import run as run_module
from psweep_dask.driver.chain import STOPPED, Chain
from psweep_dask.study import stop


@pytest.fixture
def job(monkeypatch):
    """Become the first, or the next, job of a chain."""

    def become_job(chain_id="chain-1"):
        monkeypatch.setattr(run_module, "start", Chain(chain_id).start)
        monkeypatch.setattr(stop, "_terminated", False)

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


def test_chain_call_that_an_earlier_job_has_finished_returns_the_database_at_once(job):
    first = ps.run(count, ps.plist("a", [1, 2]), cluster="sync")
    job()
    again = ps.run(count, ps.plist("a", [1, 2]), cluster="sync")
    assert begun() == [0, 1]
    assert again.equals(first)


def test_chain_job_that_is_stopped_exits_in_its_call_and_the_next_job_goes_on(job):
    params = ps.plist("a", range(5))
    with pytest.raises(SystemExit) as stopped:
        ps.run(terminate_at_2, params, cluster="sync")
    assert stopped.value.code == STOPPED
    job()
    df = ps.run(terminate_at_2, params, cluster="sync")
    assert begun() == [0, 1, 2, 3, 4]
    assert df.y.tolist() == [0, 2, 4, 6, 8]
    assert df._run_id.nunique() == 1


def test_chain_tells_calls_apart_by_their_psets_and_equal_ones_by_their_order(job):
    for _ in range(2):
        ps.run(count, ps.plist("a", [1]), cluster="sync")
    ps.run(count, ps.plist("a", [7]), cluster="sync")
    job()
    for a in (1, 7, 1, 1):
        df = ps.run(count, ps.plist("a", [a]), cluster="sync")
    assert begun() == [0, 1, 2, 3], "the third call with a=1 is new"
    assert df.a.tolist() == [1, 1, 7, 1]


def test_chain_with_another_id_begins_anew(job):
    ps.run(count, ps.plist("a", [1]), cluster="sync")
    job("chain-2")
    assert len(ps.run(count, ps.plist("a", [1]), cluster="sync")) == 2


def test_chain_takes_params_from_a_generator(job):
    df = ps.run(count, (pset for pset in ps.plist("a", [1, 2])), cluster="sync")
    job()
    again = ps.run(count, (pset for pset in ps.plist("a", [1, 2])), cluster="sync")
    assert again.equals(df)
    assert begun() == [0, 1]


def test_chain_runs_what_leaves_nothing_on_disk_in_each_job(job):
    for expected in (2, 4):
        df = ps.run(count, ps.plist("a", [1, 2]), cluster="sync", save=False)
        assert df.y.tolist() == [2, 4]
        assert len(begun()) == expected
        job()


def test_without_chain_a_stopped_run_is_left_to_resume(monkeypatch):
    monkeypatch.setattr(stop, "_terminated", False)
    df = ps.run(terminate_at_2, ps.plist("a", range(5)), cluster="sync")
    assert len(df) == 3
    assert "chain" not in ps.resume("calc", cluster="sync").columns


SCRIPT = """
import os, signal
import psweep_dask as ps

def func(pset):
    if pset["a"] == 2 and not os.path.exists("terminated"):
        open("terminated", "w").close()
        os.kill(os.getpid(), signal.SIGTERM)
    with open("begun", "a") as log:
        log.write(f"{pset['_pset_seq']}\\n")
    return {"inherited": os.environ.get("PSWEEP_DASK_CHAIN")}

if __name__ == "__main__":
    df = ps.run(func, ps.plist("a", range(5)), cluster="sync")
    print("all", len(df), set(df.inherited))
"""


def test_chain_variable_puts_a_script_into_its_chain_and_goes_no_further(study_folder):
    (study_folder / "study.py").write_text(SCRIPT)
    environment = {**os.environ, CHAIN_VARIABLE: "chain-1"}
    first, second, third = (
        subprocess.run(
            [sys.executable, "study.py"], env=environment, capture_output=True, text=True
        )
        for _ in range(3)
    )
    assert (first.returncode, first.stdout) == (STOPPED, ""), first.stderr
    for done in (second, third):
        assert (done.returncode, done.stdout) == (0, "all 5 {None}\n"), done.stderr
    assert begun() == [0, 1, 2, 3, 4]
