"""The command of srun, and a step whose srun is a shell script."""

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
from psweep_dask.hpc.slurm import MIB, WORKER_VARIABLE
from psweep_dask.hpc.srun import SrunStep, srun_command, step_environment

ADDRESS = "tls://10.0.0.1:8786"
COMMAND = srun_command(ADDRESS, 2, 4, 1, 1024 * MIB)


def test_srun_command_asks_for_the_whole_allocation_at_once():
    words = srun_command(ADDRESS, 2, 4, 1, 1024 * MIB, "/opt/python")
    srun, _, worker = " ".join(words).partition(" /opt/python -m distributed.cli.dask_worker ")
    assert {"--overlap", "--nodes=2", "--ntasks=4", "--cpus-per-task=1"} < set(srun.split())
    assert {"--mem=0", "--export=ALL", "--kill-on-bad-exit=0", "--wait=0"} < set(srun.split())
    assert worker.startswith(f"{ADDRESS} --nthreads 1 --nworkers 1 --nanny")
    assert worker.endswith(f"--memory-limit {768 * MIB}")
    assert "--memory-limit" not in srun_command(ADDRESS, 1, 1, 1, None)


def test_srun_command_has_options_that_dask_knows():
    worker = COMMAND[COMMAND.index(sys.executable) :]
    done = subprocess.run([*worker, "--help"], capture_output=True, text=True, check=True)
    options = [word for word in worker if word.startswith("--")]
    assert options
    assert all(option in done.stdout for option in options)


def test_step_environment_is_without_options_of_the_drivers_own_step():
    names = (
        "CPU_BIND CPU_BIND_LIST CPU_BIND_TYPE CPU_BIND_VERBOSE MEM_PER_CPU MEM_PER_NODE "
        "NTASKS_PER_NODE DISTRIBUTION DIST_PLANESIZE"
    )
    options = {f"SLURM_{name}": "1" for name in names.split()}
    kept = {"SLURM_JOB_ID": "7", "SLURM_CONF": "/etc/slurm.conf", "HOME": "/home/me"}
    variables = step_environment(1, {"DASK_A": "b"}, options | kept)
    ours = {name: variables.pop(name) for name in ("DASK_A", WORKER_VARIABLE)}
    assert ours == {"DASK_A": "b", WORKER_VARIABLE: "1"}
    assert {name for name in variables if not name.endswith("_NUM_THREADS")} == set(kept)


def test_threads_are_the_cpus_of_a_worker_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setattr(srun_module, "SET_BY_USER", frozenset({"MKL_NUM_THREADS"}))
    environ = {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"}
    variables = step_environment(4, {}, environ)
    assert variables["MKL_NUM_THREADS"] == "1"  # it was there when we were imported
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["OPENBLAS_NUM_THREADS"] == "4"  # a 1 that came later is of dask's nannies


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a step with a shell script in the place of srun."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    steps = []

    def start_step(script, **settings):
        command(tmp_path, "srun", script)
        environ = step_environment(1, settings)
        steps.append(SrunStep(COMMAND, environ, tmp_path / "log of workers"))
        return steps[-1]

    yield start_step
    for step in steps:
        step.close(0)


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def test_step_that_ends_by_itself_gives_its_exit_code(start, tmp_path):
    step = start(f"touch there; while [ ! -e {tmp_path}/end ]; do sleep 0.01; done")
    assert step.end_message() is None
    (tmp_path / "end").touch()
    assert step.close() == 0
    assert step.end_message() == "srun ended with exit code 0"
    assert step.close() == 0


def test_step_gets_arguments_variables_and_a_session_of_its_own(start):
    step = start('echo "$@"; echo $FOO $PSWEEP_DASK_WORKER $(ps -o sid= $$); cat >&2', FOO="bar x")
    assert step.close() == 0
    arguments, variables = step.log_path.read_text().splitlines()
    assert arguments.split() == COMMAND[1:]
    assert re.fullmatch(r"bar x 1 \d+", variables)
    assert int(variables.split()[-1]) != os.getsid(0)


def test_end_message_has_the_lines_of_slurm_if_there_are_any(start):
    step = start(
        "echo slurmstepd-n1: error: CANCELLED DUE TO TIME LIMIT; echo srun: error: n1: Killed; "
        "for i in 1 2 3 4; do echo distributed.nanny - INFO; done; exit 137"
    )
    step.close()
    assert step.end_message() == (
        "srun ended with exit code 137: "
        "slurmstepd-n1: error: CANCELLED DUE TO TIME LIMIT | srun: error: n1: Killed"
    )


def test_end_message_has_the_last_lines_of_the_log_otherwise(start):
    step = start(r"seq 9999; printf 'no \377 module'; exit 1")
    step.close()
    assert step.end_message() == "srun ended with exit code 1: 9998 | 9999 | no � module"


def test_step_that_does_not_end_is_terminated(start, tmp_path):
    step = start(f"touch {tmp_path}/there; exec sleep 60")
    wait_for(tmp_path / "there")
    assert step.close(patience=0.1) == -signal.SIGTERM
    assert step.end_message() is not None


def test_step_that_ignores_sigterm_is_killed(start, tmp_path, monkeypatch):
    monkeypatch.setattr(srun_module, "_TERMINATE_TIMEOUT_SECONDS", 0.1)
    step = start(f"trap '' TERM; touch {tmp_path}/there; exec sleep 60")
    wait_for(tmp_path / "there")
    assert step.close(patience=0.1) == -signal.SIGKILL


def test_step_is_killed_by_a_second_interrupt(start, tmp_path, monkeypatch):
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
