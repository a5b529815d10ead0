"""The commands for runs and machines, as they are installed."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.driver_process import start, wait_for_journal, wait_until
from helpers.fake_commands import command
from helpers.machine_files import MINIMAL, machine
from helpers.terminal import BIN_DIR, psweep_dask

import psweep_dask as ps
from psweep_dask.driver.driver_job import FOLLOWERS, LEAD


def func(pset):
    if pset["a"] % 3 == 0:
        raise ValueError(f"no {pset['a']}")
    return {"y": 2 * pset["a"]}


@pytest.fixture
def df(study_folder):
    return ps.run(func, ps.plist("a", range(10)), cluster="sync")


def test_resume_finishes_a_run_whose_driver_was_killed(study_folder):
    with start(study_folder, count=300) as driver:
        wait_for_journal(study_folder)
        driver.send_signal(signal.SIGKILL)
    (run,) = ps.status("calc").runs
    assert 0 < run.left < 300
    assert "no run has the number" in psweep_dask("resume", "--run-id", "7", code=1)
    assert "300 of 300" not in psweep_dask("status")
    psweep_dask("resume", "calc", "--run-id", "0", "--cluster", "sync")
    assert sorted(ps.load("calc").a) == list(range(300))


def test_retry_takes_the_kinds_asked_for(study_folder):
    ps.run(lambda pset: {"y": 1 / pset["a"]}, ps.plist("a", [0, 1]), cluster="sync")
    psweep_dask("retry", "calc", "--cluster", "sync", "--kind", "killed")
    assert len(ps.load("calc")) == 2
    psweep_dask("retry", "calc", "--cluster", "sync")
    assert ps.load("calc")._attempt.tolist() == [1, 1, 2]


def test_reproduce_prints_what_func_returns(df):
    assert psweep_dask("reproduce", "2", "calc") == "{'y': 4}\n"
    pset_id = df._pset_id.iloc[2]
    assert psweep_dask("reproduce", "calc", pset_id[:13]) == "{'y': 4}\n"  # the order it once had
    assert "no pset has an id that begins" in psweep_dask("reproduce", "149", code=1)


def test_stop_ends_a_driver_in_order(study_folder):
    with start(study_folder, nap=0.1) as driver:
        wait_for_journal(study_folder, size=1)
        (run,) = ps.status("calc").runs
        assert psweep_dask("stop", "calc") == f"run {run.run_id} is asked to stop\n"
        printed, _ = driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert 0 < int(printed) < 2000
    assert psweep_dask("stop", code=1) == "Error: no run in 'calc' is at work\n"


def test_status_prints_a_table_or_json(df):
    assert "10 of 10" in psweep_dask("status")
    assert "10 of 10" in psweep_dask("status", "--watch")
    (state,) = json.loads(psweep_dask("status", "--json"))
    assert state["counts"] == {"ok": 6, "error": 4}
    assert state["state"] == "done"
    output = psweep_dask("status", "no", code=1)
    assert output.startswith("Error: there is no study in 'no'")
    assert output.count("\n") == 1


STANDS_STILL = """
import time
from pathlib import Path
import psweep_dask as ps

def func(pset):
    while pset["a"] == 3 and not Path("go_on").exists():
        time.sleep(0.05)
    return {}

if __name__ == "__main__":
    ps.run(func, ps.plist("a", range(5)), cluster="sync")
"""


def test_status_watch_updates_until_the_run_ends(study_folder):
    with start(study_folder, script=STANDS_STILL) as driver:
        wait_until(lambda: list(Path("calc/runs").glob("*/run.json")))
        words = [BIN_DIR / "psweep-dask", "status", "--watch"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watch:
            try:
                assert any("running" in line for line in watch.stdout)
            finally:
                Path("go_on").touch()
            output, _ = watch.communicate(timeout=60)
        assert driver.wait(30) == 0
    assert "5 of 5" in output
    assert "running" not in output.splitlines()[-1]


def test_runs_lists_who_when_where_and_how_they_ended(df):
    with pytest.raises(ps.PsetFailedError):
        ps.run(func, ps.plist("a", [3, 4]), cluster="sync", on_error="raise")
    header, _, first, second = psweep_dask("runs").splitlines()
    assert header.split() == ["run", "begun", "by", "func", "psets", "where", "git", "ended"]
    assert first.split()[0] == df._run_id.iloc[0][:8]
    assert first.split()[3:] == [first.split()[3], "func", "10", "sync", "1", "done"]
    assert "@" in first.split()[3]
    assert second.endswith("given up")


def test_diff_shows_what_differs_between_two_runs(df):
    assert psweep_dask("diff", "0", df._run_id.iloc[0][:8]) == "no known difference\n"
    ps.run(func, [{"a": 1}], cluster="sync")
    assert psweep_dask("diff", "0", "1", "calc") == "psets: 10 -> 1\n"
    assert "no run has the number '7'" in psweep_dask("diff", "0", "7", code=1)


def test_machines_lists_them_or_shows_a_job_script(study_folder):
    assert "no machine in 'templates/machines'" in psweep_dask("machines", code=1)
    machine(MINIMAL)
    header, _, row = psweep_dask("machines").splitlines()
    assert header.split() == ["machine", "cluster", "jobs", "subcmd", "host"]
    assert row.split() == ["big", "slurm", "1", "big"]
    script = psweep_dask("machines", "big")
    assert script.startswith("#!")
    assert "#SBATCH" in script
    assert "other" in psweep_dask("machines", "other", code=1)


def test_submit_hands_the_script_and_its_arguments_to_sbatch(study_folder, bin_dir):
    machine(MINIMAL)
    Path("study.py").touch()
    words = ["submit", "--cluster", "big", "--walltime", "1:00:00", "study.py", "--fast", "x"]
    script = psweep_dask(*words, "--dry-run")
    assert "#SBATCH --time=1:00:00" in script
    assert script.rstrip().endswith("study.py --fast x")
    command(bin_dir, "sbatch", "cat >script; echo 43")
    assert psweep_dask(*words).splitlines() == [
        "the driver prints to driver-study-43.log; a follower waits until it is needed",
        "driver submitted as job 43",
    ]
    assert "study.py --fast x" in Path("script").read_text()


def test_submit_says_why_slurm_refuses(study_folder, bin_dir):
    machine(MINIMAL)
    Path("study.py").touch()
    command(bin_dir, "sbatch", "echo 'no such partition' >&2; exit 1")
    output = psweep_dask("submit", "--cluster", "big", "study.py", code=1)
    assert output == "Error: SLURM refuses the driver: no such partition\n"


def test_submit_help_has_the_defaults_that_hold():
    output = " ".join(psweep_dask("submit", "--help").split())
    assert f"the driver stops ({LEAD})" in output
    assert f"may follow ({FOLLOWERS})" in output


def test_doctor_shows_its_checks_and_exits_with_1_if_something_has_to_be_changed(
    study_folder, bin_dir
):
    machine(MINIMAL)
    for name in ("sbatch", "squeue", "sacct", "scancel"):
        command(bin_dir, name, "echo 'no such partition' >&2; exit 1")
    output = psweep_dask("doctor", "big", code=1)
    assert "!! a worker comes no" in " ".join(output.split())
    assert "a worker comes: the batch system takes no job: no such partition" in output
    assert "Traceback" not in output
    assert "'other'" in psweep_dask("doctor", "other", code=1)
