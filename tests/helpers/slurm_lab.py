"""The SLURM on which the tests in tests/integration run: its queue, machines, drivers."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

from helpers.driver_process import wait_until

import psweep_dask as ps

TWO_BY_TWO = {"jobs": 2, "cores": 2, "processes": 2, "memory": "2GiB"}
"""A machine of which the lab holds as much as it has."""

SCRIPT = """
import os
import time
from pathlib import Path

import psweep_dask as ps

def func(pset):
    with open("begun", "a") as log:
        log.write(f"{pset['_pset_seq']}\\n")
    seq = pset["_pset_seq"]
BODY
    return {}

def wait_for(name, seconds=300):
    for _ in range(int(20 * seconds)):
        if Path(name).exists():
            break
        time.sleep(0.05)

if __name__ == "__main__":
    ps.run(func, ps.plist("a", range(COUNT)), OPTIONS)
"""


def ask(*command, check=True):
    """Run a command of SLURM and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=check, timeout=60)
    return done.stdout.strip()


def jobs(name="", states="PENDING,RUNNING"):
    """The jobs in these states by id, of the run or of the name given, each as (state, node)."""
    answer = ask("squeue", "-h", f"--states={states}", "-o", "%A|%j|%T|%N")
    rows = [line.split("|") for line in answer.splitlines()]
    return {job_id: (state, node) for job_id, job, state, node in rows if job.startswith(name)}


def states(name=""):
    """The states of the jobs that wait or run, sorted."""
    return sorted(state for state, _ in jobs(name).values())


def jobs_of(folder):
    """The name of the jobs of the one run in a folder, as soon as it has begun."""
    wait_until(lambda: list(folder.glob("calc/runs/*/run.json")))
    (run_dir,) = folder.glob("calc/runs/*")
    return f"psweep-{run_dir.name[:8]}"


def occupy(*options, seconds=300):
    """Submit a job of somebody else that takes room; return its id."""
    return ask("sbatch", "--parsable", "-o/dev/null", *options, f"--wrap=sleep {seconds}")


def bring_back(node):
    """End a maintenance; it is no error if there is none."""
    ask("scontrol", "update", f"nodename={node}", "state=resume", check=False)


def clear():
    """Cancel all jobs and bring all nodes back."""
    for node in ask("sinfo", "-h", "-N", "-o", "%N", "--states=down").split():
        bring_back(node)
    if left := jobs():
        ask("scancel", "-Q", *left, check=False)


def write_machine(folder, name="lab", jobs=2, **jobqueue):
    """Describe a machine in a study: its jobs have one core, unless the arguments say otherwise."""
    described = {"cores": 1, "memory": "1GiB", "walltime": "5", **jobqueue}
    machine_dir = folder / "templates" / "machines" / name
    machine_dir.mkdir(parents=True)
    info = {"cluster": "slurm", "jobs": jobs, "jobqueue": described}
    (machine_dir / "info.yaml").write_text(json.dumps(info))


def write_script(folder, body="", count=4, options="cluster='lab'", script=SCRIPT):
    """Write a driver whose func writes its number to the file begun, and then does `body`."""
    text = script.replace("BODY", body).replace("COUNT", str(count)).replace("OPTIONS", options)
    path = folder / "driver.py"
    path.write_text(text)
    return path


@contextmanager
def driving(folder, *launcher, terminal=False, **script):
    """Run a driver in a folder; what it prints goes to files. At the end it is killed.

    In a terminal both its outputs go to one file, and its stdin is what is typed there.
    """
    command = [*launcher, sys.executable, str(write_script(folder, **script))]
    if terminal:
        command = ["script", "-qefc", shlex.join(command), "/dev/null"]
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE if terminal else subprocess.DEVNULL,
            bufsize=0,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    process.folder = folder
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_with(driver, condition, seconds=60.0):
    """Wait until something is true; an error if the driver ends before."""

    def is_true():
        value = condition()
        assert value or driver.poll() is None, said(driver.folder)
        return value

    wait_until(is_true, seconds)


def said(folder):
    """What a driver has printed to stderr."""
    return (folder / "stderr").read_text()


def begun(folder):
    """The numbers of the psets for which func was called, once for each call."""
    path = folder / "begun"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def rows(folder):
    """The database in a folder."""
    return ps.df_read(folder / "calc" / "database.pk")


def assert_all_ok(folder, count):
    """Each pset has one row, in order, and none has used up an attempt."""
    df = rows(folder)
    assert df._pset_seq.tolist() == df.a.tolist() == list(range(count))
    assert set(df._status) == {"ok"}
    assert set(df._attempt) == {1}
    return df


def folder_for(parent, name, machine=None):
    """Make a study beside others, with a machine if its settings are given."""
    folder = parent / name
    folder.mkdir()
    if machine is not None:
        write_machine(folder, **machine)
    return folder
