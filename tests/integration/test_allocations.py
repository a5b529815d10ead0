"""Runs inside an allocation of a real SLURM: all of it is used, and nothing stays in it."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack

import pytest
from helpers import slurm_lab
from helpers.driver_process import wait_until

from psweep_dask._format import format_count

RESUME = """
import psweep_dask as ps

if __name__ == "__main__":
    ps.resume("calc", cluster="local")
"""

# Runs a driver, and notes which steps the allocation has when it is over. Ctrl-C is for the driver.
INSIDE = """#!/bin/sh
trap : INT
"$@"
code=$?
squeue -h --steps --jobs="$SLURM_JOB_ID" -o "%i %j" >steps
echo $code >code
exit $code
"""

IN_ALLOCATION = "cluster=None"

COMPLAINT = re.compile(r"kill|error|fail|cancel|abort|warn", re.IGNORECASE)


def inside(folder):
    """The command that runs what follows, and then looks at the steps."""
    path = folder / "inside.sh"
    path.write_text(INSIDE)
    path.chmod(0o755)
    return str(path)


def wait_for_all(tasks):
    """The body of a func that ends when so many psets have begun: all tasks must take part."""
    return f"""
    for _ in range(600):
        if len(Path("begun").read_text().split()) >= {tasks}:
            break
        time.sleep(0.05)
    import psutil
    sockets = psutil.Process().net_connections()
    listening = [socket.laddr for socket in sockets if socket.status == "LISTEN"]
    return {{
        "ports": len({{address.port for address in listening if address.ip != "127.0.0.1"}}),
        "task": os.environ["SLURM_PROCID"],
        "node": os.environ["SLURMD_NODENAME"],
        "threads": os.environ["OMP_NUM_THREADS"],
    }}
"""


def assert_in_order(folder, count, tasks, threads=1):
    """All tasks have worked, nothing has complained, and no step of ours is left."""
    df = slurm_lab.assert_all_ok(folder, count)
    assert sorted(set(df.task)) == [str(number) for number in range(tasks)]
    assert set(df.threads) == {str(threads)}
    assert sorted(slurm_lab.begun(folder)) == list(range(count))
    assert not COMPLAINT.search(slurm_lab.said(folder) + (folder / "stdout").read_text())
    assert (
        f"{format_count(tasks, 'worker')} on "
        in slurm_lab.said(folder) + (folder / "stdout").read_text()
    )
    assert "psweep_dask" not in (folder / "steps").read_text()
    info = json.loads(next(folder.glob("calc/runs/*/run.json")).read_text())
    assert info["cluster"].pop("job").isdecimal()
    assert info["cluster"] == {"kind": "allocation", "slots": tasks}
    assert not list(folder.glob("calc/runs/*/.psweep_dask-*"))
    return df


@pytest.mark.slow
def test_allocation_of_salloc_has_a_worker_for_each_task(study_folder):
    wanted = {
        "tasks": (["-n4"], 4, 1),
        "nodes": (["-N2"], 2, 1),
        "threads": (["-n2", "-c2"], 2, 2),
    }
    with ExitStack() as stack:
        drivers = []
        for name, (options, tasks, _) in wanted.items():
            folder = slurm_lab.folder_for(study_folder, name)
            script = {"body": wait_for_all(tasks), "count": 3 * tasks, "options": IN_ALLOCATION}
            driver = slurm_lab.driving(folder, "salloc", *options, inside(folder), **script)
            drivers.append(stack.enter_context(driver))
        assert [driver.wait(90) for driver in drivers] == [0, 0, 0]
    dfs = {
        name: assert_in_order(study_folder / name, 3 * tasks, tasks, threads)
        for name, (_, tasks, threads) in wanted.items()
    }
    assert set(dfs["tasks"].ports) == {1}  # where it speaks TLS
    assert set(dfs["tasks"].node) == set(dfs["nodes"].node) == {"n1", "n2"}


@pytest.mark.slow
def test_allocation_of_a_shell_in_srun_and_of_a_batch_script_with_runs_inside_of_psets(
    study_folder,
):
    shell = slurm_lab.folder_for(study_folder, "shell")
    batch = slurm_lab.folder_for(study_folder, "batch")
    nested = """
    if seq == 0:
        ps.run(dict, [{"b": 1}], calc_dir="inner", cluster=None)
"""
    sbatch = ["sbatch", "-n2", "--output=stdout", "--error=stderr"]
    with ExitStack() as stack:
        drivers = [
            stack.enter_context(driver)
            for driver in (
                slurm_lab.driving(
                    shell,
                    *["srun", "-n1", "--pty", inside(shell)],
                    terminal=True,
                    body=wait_for_all(1),
                    count=3,
                    options=IN_ALLOCATION,
                ),
                slurm_lab.driving(
                    batch,
                    *sbatch,
                    inside(batch),
                    body=nested + wait_for_all(2),
                    count=6,
                    options=IN_ALLOCATION,
                ),
            )
        ]
        assert [driver.wait(90) for driver in drivers] == [0, 0]
        wait_until(lambda: (batch / "code").exists() and (batch / "code").read_text())
        wait_until(lambda: not slurm_lab.jobs())  # which end a moment later
    assert (batch / "code").read_text() == "0\n"
    assert_in_order(shell, 3, 1)
    assert_in_order(batch, 6, 2)
    info = json.loads(next(batch.glob("inner/runs/*/run.json")).read_text())
    assert info["cluster"]["kind"] == "local"
    assert info["ended"] == "done"


@pytest.mark.slow
def test_ctrl_c_in_salloc_leaves_no_step(study_folder):
    body = "    time.sleep(0.2)"
    script = {"body": body, "count": 1000, "options": IN_ALLOCATION}
    launcher = ["salloc", "-n2", inside(study_folder)]
    with slurm_lab.driving(study_folder, *launcher, terminal=True, **script) as driver:
        slurm_lab.wait_with(driver, lambda: len(slurm_lab.begun(study_folder)) > 2)
        driver.stdin.write(b"\x03")
        assert driver.wait(60) == 0
    output = (study_folder / "stdout").read_text()
    finished = slurm_lab.rows(study_folder)._pset_seq
    assert sorted(slurm_lab.begun(study_folder)) == sorted(finished)
    assert f"stopped, ps.resume('calc') runs the {1000 - len(finished)} left" in output
    assert not re.search("kill|error|srun: ", output, re.IGNORECASE)
    assert "psweep_dask" not in (study_folder / "steps").read_text()


@pytest.mark.slow
def test_allocation_that_is_revoked_ends_the_run_in_order(study_folder):
    """And one driver for each task of srun is told to be started once."""
    revoked = slurm_lab.folder_for(study_folder, "revoked")
    twice = slurm_lab.folder_for(study_folder, "twice")
    body = "    time.sleep(0.02)"
    with (
        slurm_lab.driving(
            revoked, "salloc", "-n2", body=body, count=500, options=IN_ALLOCATION
        ) as driver,
        slurm_lab.driving(twice, "srun", "-n2", options=IN_ALLOCATION) as other,
    ):
        slurm_lab.wait_with(driver, lambda: len(slurm_lab.begun(revoked)) > 10)
        job_id = re.search(r"Granted job allocation (\d+)", slurm_lab.said(revoked))[1]
        slurm_lab.ask("scancel", job_id)
        assert driver.wait(60) == 1
        assert other.wait(60) == 1
    assert "the workers in the allocation are gone: srun ended with exit code" in slurm_lab.said(
        revoked
    )
    finished = slurm_lab.rows(revoked)
    assert set(finished._status) == {"ok"}
    assert 0 < len(finished) < 500
    assert f"ps.resume('calc') runs the {500 - len(finished)} left" in slurm_lab.said(revoked)
    with slurm_lab.driving(revoked, script=RESUME) as driver:
        assert driver.wait(60) == 0
    slurm_lab.assert_all_ok(revoked, 500)
    counts = [slurm_lab.begun(revoked).count(seq) for seq in finished._pset_seq]
    assert counts == [1] * len(finished)
    assert slurm_lab.said(twice).count("srun has started this script 2 times; start it once") == 2
    assert slurm_lab.begun(twice) == []
