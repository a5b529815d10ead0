"""The states of runs, read from files: of runs that go on, that ended, and whose driver died."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.driver_process import start, wait_for_journal, wait_until
from helpers.offline_study import write_study

import psweep_dask as ps
from psweep_dask.monitoring.run_states import run_states
from psweep_dask.monitoring.status import status_lines
from psweep_dask.storage.layout import Layout


def func(pset):
    if pset["a"] % 3 == 0:
        raise ValueError(f"no {pset['a']}")
    return {"y": 1}


def text():
    return "\n".join(status_lines(run_states(Layout("calc"))))


def test_done_runs_are_counted_from_run_json_alone():
    ps.run(func, ps.plist("a", range(10)), cluster="sync")
    ps.run(func, [{"a": 1}], cluster="sync")
    Path("calc/database.pk").unlink()
    first, second = run_states(Layout("calc"))
    assert (first.state, first.total, first.done, first.failed, first.left) == (
        "done",
        10,
        10,
        4,
        0,
    )
    assert (second.run_seq, second.counts) == (1, {"ok": 1})
    assert first.func == "func"
    assert "10 of 10" in text()


def test_rate_is_that_of_the_summary_without_the_start_of_workers(study_folder):
    script = """
import time
import psweep_dask as ps
if __name__ == "__main__":
    ps.run(lambda pset: time.sleep(0.2) or {}, ps.plist("a", range(10)))
"""
    Path("script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], check=True, stderr=subprocess.PIPE)
    seconds = float(re.search(rb"10 of 10 psets in ([0-9.]+) s", done.stderr)[1])
    (state,) = run_states(Layout("calc"))
    assert 10 / state.rate == pytest.approx(seconds, abs=0.06)  # the summary has one decimal


def test_running_and_dead_drivers_are_told_apart(study_folder):
    driver = start(study_folder, count=500)
    with driver:
        wait_for_journal(study_folder)
        (alive,) = run_states(Layout("calc"))
        assert alive.state == "running"
        assert 0 < alive.done < 500
        assert alive.rate > 1
        assert alive.seconds_left == pytest.approx(alive.left / alive.rate)
        driver.send_signal(signal.SIGKILL)
    (dead,) = run_states(Layout("calc"))
    assert dead.state == "dead"
    assert dead.done == len(ps.load("calc")) >= alive.done
    assert dead.seconds_left is None
    assert f"has {dead.left} psets left: ps.resume('calc')" in text()
    ps.resume(cluster="sync")
    assert run_states(Layout("calc"))[0].counts == {"ok": 500}


def test_counts_rows_once_that_are_in_the_database_and_in_the_journal(study_folder):
    driver = start(study_folder, count=300)
    with driver:
        wait_for_journal(study_folder)
        driver.kill()
    (journal_path,) = Path("calc/runs").glob("*/journal")
    journal = journal_path.read_bytes()
    ps.run(func, [{"a": 1}], cluster="sync")  # merges the rows of the dead run
    merged = len(ps.load("calc")) - 1
    journal_path.write_bytes(journal)
    assert run_states(Layout("calc"))[0].done == merged


def test_advice_is_what_finishes_a_run():
    with pytest.raises(ps.PsetFailedError):
        ps.run(func, ps.plist("a", range(10)), cluster="sync", on_error="raise")
    write_study()
    ps.prep_batch(ps.plist("a", [1, 2]))
    given_up, prepared = run_states(Layout("calc"))
    assert (given_up.state, given_up.failed) == ("given up", 1)
    assert given_up.last_failures[0].why == "ValueError: no 0"
    assert (prepared.state, prepared.counts, prepared.done, prepared.left) == (
        "prepared",
        {"prepared": 2},
        0,
        2,
    )
    assert (
        "2 psets left: sh calc/run_local.sh submits what is not yet, ps.collect('calc') brings"
        in text()
    )


def test_running_driver_that_finishes_prepared_jobs_is_counted(study_folder):
    write_study()
    df = ps.prep_batch(ps.plist("a", [1, 2, 3]))
    body = """
import time
from pathlib import Path
import psweep_dask as ps

def func(pset):
    while pset["a"] == 3 and not Path("go_on").exists():
        time.sleep(0.05)
    return {}

if __name__ == "__main__":
    ps.resume(func=func, cluster="sync")
"""
    Path("driver.py").write_text(body)
    with subprocess.Popen([sys.executable, "driver.py"]) as driver:
        try:
            wait_until(lambda: run_states(Layout("calc"))[0].state == "running")
            wait_until(lambda: run_states(Layout("calc"))[0].done > 0)
            (state,) = run_states(Layout("calc"))
            assert state.done + state.counts.get("prepared", 0) == len(df)
        finally:
            Path("go_on").touch()
        assert driver.wait(30) == 0
    assert run_states(Layout("calc"))[0].counts == {"ok": 3}
