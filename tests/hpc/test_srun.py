"""Tests of the workers that srun starts in an allocation."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from helpers.fake_commands import command

from psweep_dask.hpc import srun as srun_module
from psweep_dask.hpc.allocation import Allocation, AllocationError
from psweep_dask.hpc.slurm import MIB, WORKER_MARK
from psweep_dask.hpc.srun import SrunStep, srun_command, step_environment

FOUR = Allocation("7", 2, 4, 1, 1024 * MIB, True)


def test_the_command_asks_for_the_whole_allocation_at_once():
    made = srun_command(FOUR, "tls://10.0.0.1:8786", "/opt/python")
    text = " ".join(made)
    srun, _, worker = text.partition(" /opt/python -m distributed.cli.dask_worker ")
    assert {"--overlap", "--nodes=2", "--ntasks=4", "--cpus-per-task=1"} < set(srun.split())
    assert {"--mem=0", "--export=ALL", "--kill-on-bad-exit=0", "--wait=0"} < set(srun.split())
    assert worker.startswith("tls://10.0.0.1:8786 --nthreads 1 --nworkers 1 --nanny")
    assert worker.endswith(f"--memory-limit {768 * MIB}")
    assert "--memory-limit" not in srun_command(Allocation("7", 1, 1, 1, None, True), "tls://x:1")


def test_dask_knows_the_options_of_the_command():
    made = srun_command(FOUR, "tls://10.0.0.1:8786")
    told = subprocess.run(
        [*made[made.index(sys.executable) :], "--help"], capture_output=True, text=True, check=True
    ).stdout
    options = [word for word in made[made.index(sys.executable) :] if word.startswith("--")]
    assert options
    assert all(option in told for option in options)


def test_options_of_the_drivers_own_step_do_not_reach_the_step_of_the_workers():
    given = (
        "CPU_BIND CPU_BIND_LIST CPU_BIND_TYPE CPU_BIND_VERBOSE MEM_PER_CPU MEM_PER_NODE "
        "NTASKS_PER_NODE DISTRIBUTION DIST_PLANESIZE"
    )
    environ = {f"SLURM_{name}": "1" for name in given.split()}
    kept = {"SLURM_JOB_ID": "7", "SLURM_CONF": "/etc/slurm.conf", "HOME": "/home/me"}
    made = step_environment(FOUR, {"DASK_A": "b"}, environ | kept)
    assert {name: made.pop(name) for name in ("DASK_A", WORKER_MARK)} == {
        "DASK_A": "b",
        WORKER_MARK: "1",
    }
    assert {name for name in made if not name.endswith("_NUM_THREADS")} == set(kept)


def test_threads_are_the_cpus_of_a_task_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setattr(srun_module, "_THREADS_GIVEN", frozenset({"MKL_NUM_THREADS"}))
    allocated = Allocation("7", 1, 2, 4, None, True)
    environ = {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"}
    made = step_environment(allocated, {}, environ)
    assert made["MKL_NUM_THREADS"] == "1"  # it was there when we were imported
    assert made["OMP_NUM_THREADS"] == "3"
    assert made["OPENBLAS_NUM_THREADS"] == "4"  # a 1 that came later is of dask's nannies


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a Step with a shell script in the place of srun."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    steps = []

    def start_step(text, **settings):
        command(tmp_path, "srun", text)
        steps.append(SrunStep(FOUR, "tls://10.0.0.1:8786", tmp_path / "log of workers", settings))
        return steps[-1]

    yield start_step
    for step in steps:
        step.close(0)


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def test_a_step_that_ends_by_itself_gives_its_exit_code(start, tmp_path):
    step = start(f"touch there; while [ ! -e {tmp_path}/end ]; do sleep 0.01; done")
    assert step.ended() is None
    (tmp_path / "end").touch()
    assert step.close() == 0
    assert step.ended() == "srun ended with exit code 0"
    assert step.close() == 0


def test_a_step_gets_arguments_variables_and_a_session_of_its_own(start):
    step = start('echo "$@"; echo $FOO $PSWEEP_DASK_WORKER $(ps -o sid= $$); cat >&2', FOO="bar x")
    assert step.close() == 0
    arguments, told = step.log_path.read_text().splitlines()
    assert arguments.split() == srun_command(FOUR, "tls://10.0.0.1:8786")[1:]
    assert re.fullmatch(r"bar x 1 \d+", told)
    assert int(told.split()[-1]) != os.getsid(0)


def test_the_end_of_a_step_is_told_in_slurms_words_if_it_has_any(start):
    step = start(
        "echo slurmstepd-n1: error: CANCELLED DUE TO TIME LIMIT; echo srun: error: n1: Killed; "
        "for i in 1 2 3 4; do echo distributed.nanny - INFO; done; exit 137"
    )
    step.close()
    assert step.ended() == (
        "srun ended with exit code 137: "
        "slurmstepd-n1: error: CANCELLED DUE TO TIME LIMIT | srun: error: n1: Killed"
    )


def test_else_the_last_lines_of_the_log_are_told(start):
    step = start(r"seq 9999; printf 'no \377 module'; exit 1")
    step.close()
    assert step.ended() == "srun ended with exit code 1: 9998 | 9999 | no � module"


def test_a_step_that_does_not_end_is_ended(start, tmp_path):
    step = start(f"touch {tmp_path}/there; exec sleep 60")
    wait_for(tmp_path / "there")
    assert step.close(patience=0.1) == -signal.SIGTERM
    assert step.ended() is not None


def test_a_step_that_ignores_sigterm_is_killed(start, tmp_path, monkeypatch):
    monkeypatch.setattr(srun_module, "_TERM_PATIENCE", 0.1)
    step = start(f"trap '' TERM; touch {tmp_path}/there; exec sleep 60")
    wait_for(tmp_path / "there")
    assert step.close(patience=0.1) == -signal.SIGKILL


def test_a_second_interrupt_leaves_no_step(start, tmp_path, monkeypatch):
    step = start(f"touch {tmp_path}/there; exec sleep 60")
    wait_for(tmp_path / "there")
    wait = subprocess.Popen.wait

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        step.close()
    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    assert step.close() == -signal.SIGKILL


def test_without_srun_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AllocationError, match="srun cannot be started.*cluster='local'"):
        SrunStep(FOUR, "tls://10.0.0.1:8786", tmp_path / "log", {})
