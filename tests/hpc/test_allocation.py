"""Environments of SLURM 22.05 and answers of its scontrol, as they were recorded."""

from __future__ import annotations

import pytest
from helpers.fake_commands import command

from psweep_dask.hpc import allocation
from psweep_dask.hpc.allocation import AllocationError, SlurmAllocation, current_allocation
from psweep_dask.hpc.slurm import MIB, WORKER_VARIABLE


def environment(folder, text, answer=None):
    """Make an environment in which scontrol gives a recorded answer, or fails."""
    command(folder, "scontrol", "exit 1" if answer is None else f"cat <<'END'\n{answer}\nEND")
    variables = dict(word.split("=", 1) for word in text.split())
    path = f"{folder}:/usr/bin:/bin"
    return {"SLURM_JOB_ID": "7", "PATH": path} | {f"SLURM_{k}": v for k, v in variables.items()}


def job(nodes, cpus, tasks, cpus_per_task, memory="MinMemoryCPU=1G", total="2G"):
    return (
        "JobId=7 JobName=a NtasksPerN:B:S:C=0:0:*:* Socks/Node=* ReqB:S:C:T=0:0:*:* "
        f"NumNodes={nodes} NumCPUs={cpus} NumTasks={tasks} CPUs/Task={cpus_per_task} "
        f"TRES=cpu={cpus},mem={total},node={nodes},billing={cpus} MinCPUsNode=1 {memory} Power="
    )


INTERACTIVE = "STEP_ID=4294967290 STEP_NUM_TASKS=1 PTY_PORT=33781 PROCID=0"
IN_TASK = "STEP_ID=0 STEP_NUM_TASKS=1 PTY_PORT=33781 PROCID=0"
RECORDED = {  # the environment, the answer of scontrol; nodes, workers, CPUs and MiB for each
    "salloc -n4": (
        "JOB_CPUS_PER_NODE=4 NTASKS=4 TASKS_PER_NODE=4",
        job(1, 4, 4, 1),
        (1, 4, 1, 1024),
    ),
    "salloc -n10": (
        "JOB_CPUS_PER_NODE=4(x2),2 NTASKS=10 TASKS_PER_NODE=4(x2),2",
        job(3, 10, 10, 1),
        (3, 10, 1, 1024),
    ),
    "salloc -n5 --mem-per-cpu=300": (
        "JOB_CPUS_PER_NODE=4,1 NTASKS=5 MEM_PER_CPU=300",
        job(2, 5, 5, 1, "MinMemoryCPU=300M"),
        (2, 5, 1, 300),
    ),
    "salloc -N2": (
        "JOB_CPUS_PER_NODE=1(x2) TASKS_PER_NODE=1(x2)",
        job(2, 2, 2, 1),
        (2, 2, 1, 1024),
    ),
    "salloc -N2 --exclusive": (
        "JOB_CPUS_PER_NODE=4(x2) TASKS_PER_NODE=4(x2)",
        job(2, 8, 2, 1),
        (2, 8, 1, 1024),
    ),
    "salloc -N2 -n2 --exclusive": (
        "JOB_CPUS_PER_NODE=4(x2) NTASKS=2",
        job(2, 8, 2, 1),
        (2, 2, 1, 4096),
    ),
    "salloc -N2 --mem=0": (
        "JOB_CPUS_PER_NODE=1(x2)",
        job(2, 2, 2, 1, "MinMemoryNode=0", "8G"),
        (2, 2, 1, 4096),
    ),
    "salloc -n2 -c2": (
        "JOB_CPUS_PER_NODE=4 NTASKS=2 CPUS_PER_TASK=2",
        job(1, 4, 2, 2),
        (1, 2, 2, 2048),
    ),
    "salloc -c3": (
        "JOB_CPUS_PER_NODE=3 CPUS_PER_TASK=3",
        job(1, 3, 1, 3),
        (1, 1, 3, 3072),
    ),
    "salloc -N1 -c2 --exclusive": (
        "JOB_CPUS_PER_NODE=4 CPUS_PER_TASK=2",
        job(1, 4, 1, 2),
        (1, 2, 2, 2048),
    ),
    "salloc -N2 --ntasks-per-node=2 -c2 --mem=1000": (
        "JOB_CPUS_PER_NODE=4(x2) NTASKS=4 NTASKS_PER_NODE=2 CPUS_PER_TASK=2 MEM_PER_NODE=1000",
        job(2, 8, 4, 2, "MinMemoryNode=1000M"),
        (2, 4, 2, 500),
    ),
    "salloc -n3, two threads a core": (
        "JOB_CPUS_PER_NODE=4 NTASKS=3",
        job(1, 4, 3, 1, "MinMemoryCPU=512M"),
        (1, 3, 1, 682),
    ),
    "salloc -n2 --overcommit": (
        "JOB_CPUS_PER_NODE=1 NTASKS=2",
        job(1, 1, 2, 1),
        (1, 2, 1, 512),
    ),
    "sbatch -n4": (
        "JOB_CPUS_PER_NODE=4 NTASKS=4 MEM_PER_CPU=1024 PROCID=0",
        job(1, 4, 4, 1),
        (1, 4, 1, 1024),
    ),
    "sbatch -N2": (
        "JOB_CPUS_PER_NODE=1(x2) MEM_PER_CPU=1024 PROCID=0",
        job(2, 2, 2, 1),
        (2, 2, 1, 1024),
    ),
    "the shell of salloc -N2 --exclusive": (
        f"JOB_CPUS_PER_NODE=4(x2) {INTERACTIVE}",
        job(2, 8, 2, 1),
        (2, 8, 1, 1024),
    ),
    "the shell of salloc -n2 -c2": (
        f"JOB_CPUS_PER_NODE=4 NTASKS=2 CPUS_PER_TASK=2 {INTERACTIVE}",
        job(1, 4, 2, 2),
        (1, 2, 2, 2048),
    ),
    "salloc -n4 srun -n1 --mem=100 --pty": (
        f"JOB_CPUS_PER_NODE=4 NTASKS=1 MEM_PER_NODE=100 {IN_TASK}",
        job(1, 4, 4, 1),
        (1, 4, 1, 1024),
    ),
    "salloc -N3 -n7 srun -n1 -N1 --pty": (
        f"JOB_CPUS_PER_NODE=4,2,1 JOB_NUM_NODES=3 NNODES=1 NTASKS=1 {IN_TASK}",
        job(3, 7, 7, 1),
        (3, 7, 1, 1024),
    ),
    "salloc -N2 --exclusive srun -n1 -N1 -c2 --pty": (
        f"JOB_CPUS_PER_NODE=4(x2) NTASKS=1 CPUS_PER_TASK=2 {IN_TASK}",
        job(2, 8, 2, 1),
        (2, 8, 1, 1024),
    ),
    "srun -n2 -c2 --pty bash": (
        "JOB_CPUS_PER_NODE=4 NTASKS=2 CPUS_PER_TASK=2 "
        "STEP_ID=0 STEP_NUM_TASKS=2 PTY_PORT=33781 PROCID=0",
        job(1, 4, 2, 2),
        (1, 2, 2, 2048),
    ),
    "sbatch -N2 from the shell of srun -n3 --pty": (  # it takes over what it should not
        "JOB_CPUS_PER_NODE=1(x2) NTASKS=3 CPUS_PER_TASK=1 MEM_PER_CPU=1024 "
        "STEP_ID=0 STEP_NUM_TASKS=3 PTY_PORT=45437 PROCID=0",
        job(2, 2, 2, 1),
        (2, 2, 1, 1024),
    ),
    "sbatch -n4 -c2 from the shell of salloc -n2": (
        f"JOB_CPUS_PER_NODE=4(x2) NTASKS=2 {INTERACTIVE}",
        job(2, 8, 4, 2),
        (2, 4, 2, 2048),
    ),
    "a login by ssh that SLURM adopted": ("", job(2, 8, 2, 1), (2, 8, 1, 1024)),
    "salloc -n2 -c2, no answer": (
        "JOB_CPUS_PER_NODE=4 NTASKS=2 CPUS_PER_TASK=2",
        None,
        (1, 2, 2, None),
    ),
    "sbatch -N2 --mem=1500, no answer": (
        "JOB_CPUS_PER_NODE=3,1 MEM_PER_NODE=1500 PROCID=0",
        None,
        (2, 4, 1, 500),
    ),
    "sbatch -n5 --mem-per-cpu=300, no answer": (
        "JOB_CPUS_PER_NODE=4,1 NTASKS=5 MEM_PER_CPU=300 PROCID=0",
        None,
        (2, 5, 1, 300),
    ),
    "salloc -N2 --exclusive srun -n1 -c4 --mem=100 --pty, no answer": (
        f"JOB_CPUS_PER_NODE=4(x2) NTASKS=1 CPUS_PER_TASK=4 {IN_TASK}",
        None,
        (2, 8, 1, None),
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_allocation_is_read_from_recorded_environments(name, tmp_path):
    variables, answer, (nodes, workers, cpus, mib) = RECORDED[name]
    memory = None if mib is None else mib * MIB
    allocation = current_allocation(environment(tmp_path, variables, answer))
    rounded = allocation.memory_per_worker and allocation.memory_per_worker // MIB * MIB
    assert (allocation.batch_system, allocation.job_id) == ("SLURM", "7")
    assert (allocation.nodes, allocation.workers) == (nodes, workers)
    assert (allocation.cpus_per_worker, rounded) == (cpus, memory)


def test_allocation_is_none_outside_of_slurm_and_in_our_own_workers(tmp_path):
    assert current_allocation({}) is None
    worker = environment(tmp_path, "JOB_CPUS_PER_NODE=4 NTASKS=4") | {WORKER_VARIABLE: "1"}
    assert current_allocation(worker) is None
    in_task = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
    assert current_allocation(worker | in_task) is None


class PbsAllocation(SlurmAllocation):
    batch_system = "PBS"

    @classmethod
    def from_environment(cls, environ):
        return cls(environ["PBS_JOBID"], 1, 2, 1, None) if "PBS_JOBID" in environ else None


def test_allocation_of_another_batch_system_is_found_once_its_class_is_listed(monkeypatch):
    monkeypatch.setattr(allocation, "ALLOCATION_CLASSES", (SlurmAllocation, PbsAllocation))
    assert current_allocation({"PBS_JOBID": "8.server"}) == PbsAllocation("8.server", 1, 2, 1, None)
    assert current_allocation({}) is None


@pytest.mark.parametrize("terminal", ["", " PTY_PORT=33781 PROCID=1"])
def test_allocation_refuses_a_script_that_srun_started_several_times(tmp_path, terminal):
    text = "JOB_CPUS_PER_NODE=4 NTASKS=4 STEP_ID=0 STEP_NUM_TASKS=4" + terminal
    with pytest.raises(AllocationError, match="started this script 4 times; start it once"):
        current_allocation(environment(tmp_path, text))


def test_allocation_of_which_nothing_is_known_is_an_error(tmp_path):
    with pytest.raises(AllocationError, match="SLURM_JOB_ID=7 .* cluster='local'"):
        current_allocation(environment(tmp_path, ""))


def test_allocation_is_read_from_the_environment_where_scontrol_is_missing_or_hangs(
    tmp_path, monkeypatch
):
    environ = environment(tmp_path, "JOB_CPUS_PER_NODE=4 NTASKS=4")
    command(tmp_path, "scontrol", "exec sleep 60")
    monkeypatch.setattr(allocation, "_SCONTROL_TIMEOUT_SECONDS", 0.1)
    assert current_allocation(environ).workers == 4
    assert current_allocation(environ | {"PATH": str(tmp_path / "none")}).workers == 4


FOUR_WORKERS = SlurmAllocation("7", 2, 4, 1, 1024 * MIB)


@pytest.mark.parametrize(
    ("answer", "host"),
    [
        ("NodeName=n1 Gres=(null) NodeAddr=127.0.0.1 Port=1", "127.0.0.1"),
        ("NodeName=n0 NodeAddr=no.such.host.invalid\nNodeName=n1 NodeAddr=127.0.0.1", "127.0.0.1"),
        ("NodeName=n1 NodeAddr=no.such.host.invalid", None),
        (None, None),
    ],
)
def test_scheduler_host_is_where_the_nodes_reach_it(tmp_path, answer, host):
    environ = environment(tmp_path, "JOB_NODELIST=n[0-1]", answer)
    assert FOUR_WORKERS.scheduler_host(environ) == host
    assert FOUR_WORKERS.scheduler_host(environ | {"SLURMD_NODENAME": "n1"}) == host


@pytest.mark.parametrize(
    ("left", "limit", "seconds"),
    [
        ("59:00", "1:00:00", (3540.0, 3600.0)),
        ("59:00", "NOT_SET", (3540.0, 3540.0)),
        ("UNLIMITED", "UNLIMITED", None),
    ],
)
def test_walltime_of_an_allocation_is_what_squeue_says(tmp_path, monkeypatch, left, limit, seconds):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command(tmp_path, "squeue", f"echo '7|RUNNING|None|{left}|{limit}'")
    assert FOUR_WORKERS.time_left() == seconds
    command(tmp_path, "squeue", "exit 1")
    assert FOUR_WORKERS.time_left() is None


def test_workers_of_an_allocation_are_started_by_srun(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # dask may have set it in this process
    command(tmp_path, "srun", 'echo "$@"; echo $OMP_NUM_THREADS $FOO')
    log_path = tmp_path / "log"
    step = SlurmAllocation("7", 2, 4, 3, None).start_workers("tls://x:1", log_path, {"FOO": "bar"})
    assert step.close() == 0
    arguments, variables = log_path.read_text().splitlines()
    assert {"--nodes=2", "--ntasks=4", "--cpus-per-task=3", "tls://x:1"} < set(arguments.split())
    assert variables == "3 bar"


def test_workers_of_an_allocation_need_srun_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AllocationError, match="srun cannot be started.*cluster='local'"):
        FOUR_WORKERS.start_workers("tls://10.0.0.1:8786", tmp_path / "log", {})
