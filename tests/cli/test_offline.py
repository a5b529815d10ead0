"""The commands for batch jobs that were prepared; integration/test_transfer.py has real hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.fake_commands import command
from helpers.offline_study import folders, submit, write_study
from helpers.terminal import psweep_dask, run_command

import psweep_dask as ps


@pytest.fixture
def rsync_calls(study_folder, monkeypatch):
    """The words of each call of rsync, which does nothing."""
    folder = study_folder / "bin"
    folder.mkdir()
    command(folder, "rsync", 'for word in "$@"; do echo "$word"; done >>calls; echo == >>calls')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    write_study(name="cluster")
    ps.prep_batch(ps.plist("a", [1]))

    def calls():
        blocks = Path("calls").read_text().split("==\n")
        Path("calls").unlink()
        return [block.splitlines() for block in blocks if block]

    return calls


def test_init_writes_a_study_that_runs(study_folder):
    lines = psweep_dask("init", "my study").splitlines()
    assert "my study/10run.py" in lines
    assert all(Path(line).is_file() for line in lines[:-2])
    assert lines[-1] == "now: cd 'my study', read 10run.py, python 10run.py"
    subprocess.run([sys.executable, "10run.py"], cwd="my study", check=True, capture_output=True)
    assert len(ps.load("my study/calc")) > 0
    assert "exists; nothing was written" in psweep_dask("init", "my study", code=1)


def test_collect_brings_results_and_prep_rest_writes_jobs_for_the_lost_ones(study_folder):
    write_study(run_sh='#!/bin/sh\n[ $a = 1 ] && echo "{}" >result.json\n')
    df = ps.prep_batch(ps.plist("a", [1, 2]))
    submit()
    psweep_dask("collect")
    df = ps.load("calc")
    assert df._status.tolist()[0] == "ok"
    assert "--over" in psweep_dask("collect", "--help")
    (folders(df)[1] / "result.json").unlink(missing_ok=True)
    psweep_dask("prep-rest", "--run-id", df._run_id.iloc[0][:8])


def test_push_and_pull_hand_options_to_rsync(rsync_calls):
    run_command("psweep-push", "cluster", "-v", "--bwlimit=1m")
    *_, words = rsync_calls()
    assert {"-v", "--bwlimit=1m"} <= set(words)
    assert words[-1].startswith("cluster:")
    run_command("psweep-pull", "cluster", "--stats")
    *_, words = rsync_calls()
    assert "--stats" in words
    assert words[-2].startswith("cluster:")


@pytest.mark.parametrize("option", ["-n", "--dry-run"])
@pytest.mark.parametrize("name", ["push", "pull"])
def test_dry_run_of_push_and_pull_only_shows(rsync_calls, name, option):
    psweep_dask(name, "cluster", option)
    (words,) = rsync_calls()
    assert any(word.startswith("--dry-run") or word == "-n" for word in words)


def test_pull_takes_no_submit(study_folder):
    output = run_command("psweep-pull", "cluster", "-v", "--submit", code=2)
    assert "--submit is for psweep-push cluster" in output


@pytest.mark.parametrize("name", ["psweep-push", "psweep-pull"])
def test_push_and_pull_ask_for_the_machine_first(name, study_folder):
    assert "name the machine first, then -v" in run_command(name, "-v", "cluster", code=2)
    assert "Missing argument 'MACHINE'" in run_command(name, code=2)
