"""The examples in examples/slurm run as their README says, and show what they promise."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import slurm_lab
from helpers.driver_process import wait_until

import psweep_dask as ps

SLURM_EXAMPLES = Path(__file__).parents[2] / "examples" / "slurm"
LEFT_BEHIND = shutil.ignore_patterns("calc", "*.log", "*.out", "__pycache__")
PSWEEP_DASK = str(Path(sys.executable).with_name("psweep-dask"))


@pytest.fixture
def folder(tmp_path):
    """A copy of the examples, as a user would make one."""
    return shutil.copytree(SLURM_EXAMPLES, tmp_path / "slurm", ignore=LEFT_BEHIND)


def start(folder, *command):
    """Run a command in there to its end, and return what it has printed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def database(folder, name):
    """The database of an example, in which all is well."""
    df = ps.df_read(folder / "calc" / name / "database.pk")
    assert set(df._status) == {"ok"}
    assert set(df._attempt) == {1}
    assert df._pset_seq.tolist() == list(range(len(df)))
    assert df._pset_id.is_unique
    assert df.pi.between(3, 3.3).all()
    return df


def shows_result(line, df):
    """Whether a line has the mean and its error over these rows."""
    error = df.pi.std() / len(df) ** 0.5
    return line.startswith(f"pi = {df.pi.mean():.5f} +- {error:.5f} from ")


def shown_nodes(df):
    """The line that names where the psets ran: one node may run all before the other is there."""
    assert set(df.node) <= {"n1", "n2"}
    return f"nodes: {', '.join(sorted(set(df.node)))}"


def test_example_in_an_allocation(folder):
    output = start(folder, "salloc", "-n4", sys.executable, "in_an_allocation.py")
    df = database(folder, "allocation")
    assert len(df) == 40
    result, nodes = output.splitlines()
    assert shows_result(result, df)
    assert nodes == shown_nodes(df)


def test_example_of_a_live_run(folder):
    output = start(folder, sys.executable, "live_run.py")
    df = database(folder, "live")
    assert len(df) == 3 * 40
    header, *lines, _, nodes = output.splitlines()
    assert header.split() == ["darts", "mean", "std", "std", "*", "sqrt(darts)"]
    means = df.groupby("darts").pi.agg(["mean", "std"])
    printed = [[float(word) for word in line.split()] for line in lines]
    assert [row[0] for row in printed] == means.index.tolist()
    assert [row[1] for row in printed] == pytest.approx(means["mean"].tolist(), abs=1e-5)
    exact = 1.64  # sqrt(pi * (4 - pi))
    assert [row[3] for row in printed] == pytest.approx([exact] * 3, rel=0.5)
    assert nodes == shown_nodes(df)


def test_example_of_a_driver_job(folder):
    command = [PSWEEP_DASK, "submit", "--cluster", "lab", "driver_job.py", "0.0003"]
    submitted = start(folder, *command)
    job = re.search(r"^driver submitted as job (\d+)$", submitted, re.M)[1]
    log_path = folder / f"driver-driver_job-{job}.log"
    assert f"prints to {log_path.name};" in submitted
    wait_until(lambda: log_path.exists() and "pi = " in log_path.read_text())
    wait_until(lambda: not slurm_lab.jobs())
    assert slurm_lab.ask("scontrol", "show", "job", job).count("JobState=COMPLETED") == 1
    df = database(folder, "driver")
    output = log_path.read_text()
    assert shows_result(output.splitlines()[-1], df)
    count = int(
        re.search(r"^scatter \S+: (\d+) more psets for an error of 0.0003$", output, re.M)[1]
    )
    assert count == round((df.pi[:40].std() / 0.0003) ** 2)
    assert df._run_seq.tolist() == [0] * 40 + [1] * count
