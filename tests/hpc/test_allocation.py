"""Recorded environments of SLURM 22.05, and a Step whose srun is a shell script."""

from __future__ import annotations

import pytest
from helpers.fake_commands import command

from psweep_dask.hpc import allocation
from psweep_dask.hpc.allocation import AllocationError, inside, scheduler_host
from psweep_dask.hpc.slurm import MIB, WORKER_MARK


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
