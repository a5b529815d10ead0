"""Recorded environments of SLURM 22.05, and a Step whose srun is a shell script."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from psweep_dask import allocation
from psweep_dask.allocation import (
    MIB,
    WORKER_MARK,
    Allocation,
    AllocationError,
    Step,
    inside,
    scheduler_host,
    srun_command,
    step_environment,
    worker_memory,
)

FOUR = Allocation("7", 2, 4, 1, 1024 * MIB, True)


def command(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def environment(folder, text, told=None):
    """Make an environment in which scontrol gives a recorded answer, or fails."""
    command(folder, "scontrol", "exit 1" if told is None else f"cat <<'END'\n{told}\nEND")
    variables = dict(word.split("=", 1) for word in text.split())
    path = f"{folder}:/usr/bin:/bin"
    return {"SLURM_JOB_ID": "7", "PATH": path} | {f"SLURM_{k}": v for k, v in variables.items()}


def job(nodes, cpus, tasks, each, memory="MinMemoryCPU=1G", total="2G"):
    return (
        "JobId=7 JobName=a NtasksPerN:B:S:C=0:0:*:* Socks/Node=* ReqB:S:C:T=0:0:*:* "
        f"NumNodes={nodes} NumCPUs={cpus} NumTasks={tasks} CPUs/Task={each} "
        f"TRES=cpu={cpus},mem={total},node={nodes},billing={cpus} MinCPUsNode=1 {memory} Power="
    )


INTERACTIVE = "STEP_ID=4294967290 STEP_NUM_TASKS=1 PTY_PORT=33781 PROCID=0"
IN_TASK = "STEP_ID=0 STEP_NUM_TASKS=1 PTY_PORT=33781 PROCID=0"
RECORDED = {  # the environment, the answer of scontrol; nodes, tasks, cpus, MiB, explicit
    "salloc -n4": (
        "JOB_CPUS_PER_NODE=4 NTASKS=4 TASKS_PER_NODE=4",
        job(1, 4, 4, 1),
        (1, 4, 1, 1024, True),
    ),
    "salloc -n10": (
        "JOB_CPUS_PER_NODE=4(x2),2 NTASKS=10 TASKS_PER_NODE=4(x2),2",
        job(3, 10, 10, 1),
        (3, 10, 1, 1024, True),
    ),
    "salloc -n5 --mem-per-cpu=300": (
        "JOB_CPUS_PER_NODE=4,1 NTASKS=5 MEM_PER_CPU=300",
        job(2, 5, 5, 1, "MinMemoryCPU=300M"),
        (2, 5, 1, 300, True),
    ),
    "salloc -N2": (
        "JOB_CPUS_PER_NODE=1(x2) TASKS_PER_NODE=1(x2)",
        job(2, 2, 2, 1),
        (2, 2, 1, 1024, False),
    ),
    "salloc -N2 --exclusive": (
        "JOB_CPUS_PER_NODE=4(x2) TASKS_PER_NODE=4(x2)",
        job(2, 8, 2, 1),
        (2, 8, 1, 1024, False),
    ),
    "salloc -N2 -n2 --exclusive": (
        "JOB_CPUS_PER_NODE=4(x2) NTASKS=2",
        job(2, 8, 2, 1),
        (2, 2, 1, 4096, True),
    ),
    "salloc -N2 --mem=0": (
        "JOB_CPUS_PER_NODE=1(x2)",
        job(2, 2, 2, 1, "MinMemoryNode=0", "8G"),
        (2, 2, 1, 4096, False),
    ),
    "salloc -n2 -c2": (
        "JOB_CPUS_PER_NODE=4 NTASKS=2 CPUS_PER_TASK=2",
        job(1, 4, 2, 2),
        (1, 2, 2, 2048, True),
    ),
    "salloc -c3": (
        "JOB_CPUS_PER_NODE=3 CPUS_PER_TASK=3",
        job(1, 3, 1, 3),
        (1, 1, 3, 3072, False),
    ),
    "salloc -N1 -c2 --exclusive": (
        "JOB_CPUS_PER_NODE=4 CPUS_PER_TASK=2",
        job(1, 4, 1, 2),
        (1, 2, 2, 2048, False),
    ),
    "salloc -N2 --ntasks-per-node=2 -c2 --mem=1000": (
        "JOB_CPUS_PER_NODE=4(x2) NTASKS=4 NTASKS_PER_NODE=2 CPUS_PER_TASK=2 MEM_PER_NODE=1000",
        job(2, 8, 4, 2, "MinMemoryNode=1000M"),
        (2, 4, 2, 500, True),
    ),
    "salloc -n3, two threads a core": (
        "JOB_CPUS_PER_NODE=4 NTASKS=3",
        job(1, 4, 3, 1, "MinMemoryCPU=512M"),
        (1, 3, 1, 682, True),
    ),
    "salloc -n2 --overcommit": (
        "JOB_CPUS_PER_NODE=1 NTASKS=2",
        job(1, 1, 2, 1),
        (1, 2, 1, 512, True),
    ),
    "sbatch -n4": (
        "JOB_CPUS_PER_NODE=4 NTASKS=4 MEM_PER_CPU=1024 PROCID=0",
        job(1, 4, 4, 1),
        (1, 4, 1, 1024, True),
    ),
    "sbatch -N2": (
        "JOB_CPUS_PER_NODE=1(x2) MEM_PER_CPU=1024 PROCID=0",
        job(2, 2, 2, 1),
        (2, 2, 1, 1024, False),
    ),
    "the shell of salloc -N2 --exclusive": (
        f"JOB_CPUS_PER_NODE=4(x2) {INTERACTIVE}",
        job(2, 8, 2, 1),
        (2, 8, 1, 1024, False),
    ),
    "the shell of salloc -n2 -c2": (
        f"JOB_CPUS_PER_NODE=4 NTASKS=2 CPUS_PER_TASK=2 {INTERACTIVE}",
        job(1, 4, 2, 2),
        (1, 2, 2, 2048, True),
    ),
    "salloc -n4 srun -n1 --mem=100 --pty": (
        f"JOB_CPUS_PER_NODE=4 NTASKS=1 MEM_PER_NODE=100 {IN_TASK}",
        job(1, 4, 4, 1),
        (1, 4, 1, 1024, True),
    ),
    "salloc -N3 -n7 srun -n1 -N1 --pty": (
        f"JOB_CPUS_PER_NODE=4,2,1 JOB_NUM_NODES=3 NNODES=1 NTASKS=1 {IN_TASK}",
        job(3, 7, 7, 1),
        (3, 7, 1, 1024, True),
    ),
    "salloc -N2 --exclusive srun -n1 -N1 -c2 --pty": (
        f"JOB_CPUS_PER_NODE=4(x2) NTASKS=1 CPUS_PER_TASK=2 {IN_TASK}",
        job(2, 8, 2, 1),
        (2, 8, 1, 1024, False),
    ),
    "srun -n2 -c2 --pty bash": (
        "JOB_CPUS_PER_NODE=4 NTASKS=2 CPUS_PER_TASK=2 "
        "STEP_ID=0 STEP_NUM_TASKS=2 PTY_PORT=33781 PROCID=0",
        job(1, 4, 2, 2),
        (1, 2, 2, 2048, True),
    ),
    "sbatch -N2 from the shell of srun -n3 --pty": (  # it takes over what it should not
        "JOB_CPUS_PER_NODE=1(x2) NTASKS=3 CPUS_PER_TASK=1 MEM_PER_CPU=1024 "
        "STEP_ID=0 STEP_NUM_TASKS=3 PTY_PORT=45437 PROCID=0",
        job(2, 2, 2, 1),
        (2, 2, 1, 1024, False),
    ),
    "sbatch -n4 -c2 from the shell of salloc -n2": (
        f"JOB_CPUS_PER_NODE=4(x2) NTASKS=2 {INTERACTIVE}",
        job(2, 8, 4, 2),
        (2, 4, 2, 2048, True),
    ),
    "a login by ssh that SLURM adopted": ("", job(2, 8, 2, 1), (2, 8, 1, 1024, False)),
    "salloc -n2 -c2, no answer": (
        "JOB_CPUS_PER_NODE=4 NTASKS=2 CPUS_PER_TASK=2",
        None,
        (1, 2, 2, None, True),
    ),
    "sbatch -N2 --mem=1500, no answer": (
        "JOB_CPUS_PER_NODE=3,1 MEM_PER_NODE=1500 PROCID=0",
        None,
        (2, 4, 1, 500, False),
    ),
    "sbatch -n5 --mem-per-cpu=300, no answer": (
        "JOB_CPUS_PER_NODE=4,1 NTASKS=5 MEM_PER_CPU=300 PROCID=0",
        None,
        (2, 5, 1, 300, True),
    ),
    "salloc -N2 --exclusive srun -n1 -c4 --mem=100 --pty, no answer": (
        f"JOB_CPUS_PER_NODE=4(x2) NTASKS=1 CPUS_PER_TASK=4 {IN_TASK}",
        None,
        (2, 8, 1, None, False),
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_what_slurm_gave_is_read_from_recorded_environments(name, tmp_path):
    variables, told, (nodes, tasks, cpus, memory, explicit) = RECORDED[name]
    found = inside(environment(tmp_path, variables, told))
    in_mib = found.memory_per_task and found.memory_per_task // MIB
    assert (found.job_id, found.nodes, found.tasks, found.cpus) == ("7", nodes, tasks, cpus)
    assert (in_mib, found.explicit_tasks) == (memory, explicit)


def test_outside_of_slurm_and_in_our_own_workers_there_is_no_allocation(tmp_path):
    assert inside({}) is None
    environ = environment(tmp_path, "JOB_CPUS_PER_NODE=4 NTASKS=4")
    assert inside(environ | {WORKER_MARK: "1"}) is None
    assert (
        inside(environ | {WORKER_MARK: "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"})
        is None
    )


@pytest.mark.parametrize("terminal", ["", " PTY_PORT=33781 PROCID=1"])
def test_a_script_that_srun_started_several_times_is_told_to_start_once(tmp_path, terminal):
    text = "JOB_CPUS_PER_NODE=4 NTASKS=4 STEP_ID=0 STEP_NUM_TASKS=4" + terminal
    with pytest.raises(AllocationError, match="started this script 4 times; start it once"):
        inside(environment(tmp_path, text))


def test_an_allocation_of_which_nothing_is_known_is_an_error(tmp_path):
    with pytest.raises(AllocationError, match="SLURM_JOB_ID=7 .* cluster='local'"):
        inside(environment(tmp_path, ""))


def test_without_scontrol_and_when_it_hangs_the_environment_is_enough(tmp_path, monkeypatch):
    environ = environment(tmp_path, "JOB_CPUS_PER_NODE=4 NTASKS=4")
    command(tmp_path, "scontrol", "exec sleep 60")
    monkeypatch.setattr(allocation, "_ASK_TIMEOUT", 0.1)
    assert inside(environ).tasks == 4
    assert inside(environ | {"PATH": str(tmp_path / "none")}).tasks == 4


@pytest.mark.parametrize(
    ("told", "host"),
    [
        ("NodeName=n1 Gres=(null) NodeAddr=127.0.0.1 Port=1", "127.0.0.1"),
        ("NodeName=n0 NodeAddr=no.such.host.invalid\nNodeName=n1 NodeAddr=127.0.0.1", "127.0.0.1"),
        ("NodeName=n1 NodeAddr=no.such.host.invalid", None),
        (None, None),
    ],
)
def test_the_scheduler_listens_where_the_nodes_reach_it(tmp_path, told, host):
    environ = environment(tmp_path, "JOB_NODELIST=n[0-1]", told)
    assert scheduler_host(environ) == host
    assert scheduler_host(environ | {"SLURMD_NODENAME": "n1"}) == host


def test_a_worker_gets_less_than_slurm_would_kill_for():
    assert worker_memory(1000 * MIB) == 750 * MIB
    assert worker_memory(2048 * MIB) == 1792 * MIB
    assert worker_memory(100 * 1024 * MIB) == 95 * 1024 * MIB
    assert worker_memory(2048 * MIB, 4) == 448 * MIB


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
    monkeypatch.setattr(allocation, "_THREADS_GIVEN", frozenset({"MKL_NUM_THREADS"}))
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
        steps.append(Step(FOUR, "tls://10.0.0.1:8786", tmp_path / "log of workers", settings))
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
    monkeypatch.setattr(allocation, "_TERM_PATIENCE", 0.1)
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
        Step(FOUR, "tls://10.0.0.1:8786", tmp_path / "log", {})
