"""However a run on a machine ends: no job of it stays in the queue."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack

import pytest
from helpers import slurm_lab
from helpers.driver_process import wait_for_journal, wait_until

import psweep_dask as ps

RESUME = """
import psweep_dask as ps

if __name__ == "__main__":
    ps.resume("calc", cluster="lab")
"""


def assert_nothing_left(folder):
    """No job waits or runs, and no credentials are there."""
    name = slurm_lab.jobs_of(folder)
    wait_until(lambda: not slurm_lab.jobs(name), seconds=10)
    (run_dir,) = folder.glob("calc/runs/*")
    assert not (run_dir / "jobs").exists()
    assert not list(run_dir.glob(".psweep_dask-*"))


def ended(folder):
    """How run.json says that the run ended."""
    return json.loads(next(folder.glob("calc/runs/*/run.json")).read_text())["ended"]


@pytest.mark.slow
def test_signal_or_error_leaves_no_job(study_folder):
    """Four runs side by side, one job each."""
    folders = {
        name: slurm_lab.folder_for(study_folder, name, {"jobs": 1})
        for name in ("raise", "SIGINT", "SIGTERM", "twice")
    }
    nap = "    time.sleep(0.2)"
    failing = "    if seq == 5:\n        raise ValueError('five is too much')"
    on_error = "cluster='lab', on_error='raise'"
    scripts = {
        "raise": {"body": failing, "options": on_error},
        "SIGINT": {"body": nap},
        "SIGTERM": {"body": nap},
        "twice": {"body": "    wait_for('go')"},
    }
    with ExitStack() as stack:
        drivers = {
            name: stack.enter_context(slurm_lab.driving(folder, count=1000, **scripts[name]))
            for name, folder in folders.items()
        }

        def has_begun(name):
            slurm_lab.wait_with(drivers[name], lambda: slurm_lab.begun(folders[name]))

        for name, number in [("SIGINT", signal.SIGINT), ("SIGTERM", signal.SIGTERM)]:
            has_begun(name)
            drivers[name].send_signal(number)
        has_begun("twice")
        drivers["twice"].send_signal(signal.SIGINT)
        slurm_lab.wait_with(
            drivers["twice"], lambda: "stopping: " in slurm_lab.said(folders["twice"])
        )
        drivers["twice"].send_signal(signal.SIGINT)
        assert {name: driver.wait(30) for name, driver in drivers.items()} == {
            "raise": 1,
            "SIGINT": 0,
            "SIGTERM": 0,
            "twice": 0,
        }
    for folder in folders.values():
        assert_nothing_left(folder)
    assert "ValueError: five is too much" in slurm_lab.said(folders["raise"])
    assert 5 in set(slurm_lab.rows(folders["raise"])._pset_seq)
    for name in ("SIGINT", "SIGTERM"):
        assert ended(folders[name]) == "stopped"
        finished = slurm_lab.rows(folders[name])._pset_seq
        assert sorted(slurm_lab.begun(folders[name])) == sorted(finished)
        left = 1000 - len(finished)
        call = "ps.resume('calc', cluster='lab')"
        assert f"stopped, {call} runs the {left} left" in slurm_lab.said(folders[name])
    assert ended(folders["twice"]) == "stopped"


@pytest.mark.slow
def test_driver_that_is_killed_leaves_no_job(study_folder):
    """Its workers leave by themselves; or resume cancels their jobs, and finishes."""
    alone = slurm_lab.folder_for(study_folder, "alone", {"jobs": 1})
    resumed = slurm_lab.folder_for(study_folder, "resumed", {"jobs": 3})
    nap = "    time.sleep(0.2)"
    slurm_lab.occupy("-n1")
    with ExitStack() as stack:
        first = stack.enter_context(slurm_lab.driving(alone, body=nap, count=1000))
        slurm_lab.wait_with(first, lambda: slurm_lab.begun(alone))
        second = stack.enter_context(slurm_lab.driving(resumed, body=nap, count=60))
        name = slurm_lab.jobs_of(resumed)
        slurm_lab.wait_with(
            second, lambda: slurm_lab.states(name) == ["PENDING", "RUNNING", "RUNNING"]
        )
        wait_for_journal(resumed, size=1000)
        first.kill()
        second.kill()
        second.wait()
    before = slurm_lab.jobs(name)
    (pending,) = [job_id for job_id, (state, _) in before.items() if state == "PENDING"]
    recorded = ps.load(resumed / "calc")._pset_seq.tolist()
    with slurm_lab.driving(resumed, script=RESUME) as driver:
        slurm_lab.wait_with(driver, lambda: not set(before) & set(slurm_lab.jobs(name)))
        assert driver.wait(60) == 0
    assert slurm_lab.jobs(states="all")[pending][0] == "CANCELLED"
    slurm_lab.assert_all_ok(resumed, 60)
    assert 0 < len(recorded) < 60
    assert [slurm_lab.begun(resumed).count(seq) for seq in recorded] == [1] * len(recorded)
    assert set(slurm_lab.begun(resumed)) == set(range(60))
    assert_nothing_left(resumed)
    name = slurm_lab.jobs_of(alone)
    wait_until(lambda: not slurm_lab.jobs(name), seconds=60)
    slurm_lab.clear()  # the one that was in the way
