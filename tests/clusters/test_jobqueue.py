"""The jobs of a run in batch systems: real objects of dask-jobqueue, stand-ins for commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.fake_commands import command
from helpers.machine_files import MINIMAL, argument, machine

from psweep_dask.clusters import jobqueue
from psweep_dask.clusters.jobqueue import JobQueue
from psweep_dask.clusters.scaling_policy import WorkerJob
from psweep_dask.clusters.tls import temporary_credentials
from psweep_dask.hpc import slurm

RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"


@pytest.fixture
def make(tmp_path):
    """Make batches, whose logs go to a folder with a blank in its name."""
    with temporary_credentials(tmp_path) as credentials:
        log_dir = tmp_path / "the logs"
        log_dir.mkdir()
        made = []

        def make(text):
            made.append(JobQueue(machine(text), credentials, RUN_ID, log_dir))
            return made[-1]

        yield make
        for one in made:
            one.cluster.close()


@pytest.fixture
def bin_dir(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


SBATCH = 'cp "$1" submitted.sh; env > environment; echo Submitted batch job 17'
LOOPBACK = MINIMAL.replace("}", ", interface: lo}")


def test_the_scheduler_speaks_tls_on_the_interface_and_shows_its_dashboard_here_only(make):
    one = make(LOOPBACK)
    assert one.address.startswith("tls://127.0.0.1:")
    assert one.address.endswith(" (interface lo)")
    server = one.cluster.scheduler.http_server
    assert {each.getsockname()[0] for each in server._sockets.values()} == {"127.0.0.1"}


def test_what_is_submitted_names_the_worker_and_holds_no_secret(make, bin_dir, tmp_path):
    command(bin_dir, "sbatch", SBATCH)
    one = make(LOOPBACK)
    assert one.submit("bb32aade-0") == "17"
    script = Path("submitted.sh").read_text()
    assert argument(script, "--name") == "bb32aade-0"
    assert one.cluster.scheduler_address in script
    assert "#SBATCH -J psweep-bb32aade\n" in script
    assert "export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True\n" in script
    assert f"export {slurm.WORKER_VARIABLE}=1\n" in script
    assert "PRIVATE KEY" not in script


def test_jobs_that_are_submitted_inside_an_allocation_do_not_inherit_it(make, bin_dir, monkeypatch):
    command(bin_dir, "sbatch", SBATCH)
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SLURM_CONF", "SBATCH_ACCOUNT", "MINE"):
        monkeypatch.setenv(name, "1")
    make(LOOPBACK).submit("bb32aade-0")
    seen = {line.partition("=")[0] for line in Path("environment").read_text().splitlines()}
    assert seen & {"SLURM_JOB_ID", "SLURM_MEM_PER_NODE"} == set()
    assert seen >= {"SLURM_CONF", "SBATCH_ACCOUNT", "MINE"}


def test_a_job_that_is_refused_is_told_with_the_reason(make, bin_dir):
    command(bin_dir, "sbatch", "echo 'Invalid partition' >&2; exit 1")
    with pytest.raises(RuntimeError, match="Invalid partition"):
        make(LOOPBACK).submit("bb32aade-0")


def test_jobs_are_cancelled_by_the_command_of_their_batch_system(make, bin_dir):
    command(bin_dir, "qsub", "echo 17.server")
    command(bin_dir, "qdel", 'echo "$@" >> cancelled')
    one = make("cluster: pbs\njobqueue: {cores: 1, memory: 1GiB, interface: lo}")
    job = WorkerJob(one.submit("bb32aade-0"), "bb32aade-0", 0.0)
    assert one.states() is None  # there is no queue of SLURM to ask
    assert one.cancel([]) is None
    assert not Path("cancelled").exists()
    assert one.cancel([job]) is None
    assert Path("cancelled").read_text() == "17\n"


@pytest.mark.parametrize(
    ("cluster", "walltime", "seconds"),
    [
        ("slurm", "90", 5400.0),
        ("slurm", "1-12:00:00", 129600.0),
        ("slurm", "UNLIMITED", None),
        ("pbs", "02:00:00", 7200.0),
        ("lsf", "2:30", 9000.0),
    ],
)
def test_the_walltime_is_read_as_the_batch_system_does(make, cluster, walltime, seconds):
    units = ", lsf_units: mb" if cluster == "lsf" else ""
    below = f'cores: 1, memory: 1GiB, interface: lo, walltime: "{walltime}"{units}'
    assert make(f"cluster: {cluster}\njobqueue: {{{below}}}").walltime == seconds


def test_the_last_lines_that_a_job_has_printed_are_found(make, tmp_path):
    one = make(LOOPBACK)
    assert one.output("17") == ""
    path = tmp_path / "the logs" / "17.log"
    path.write_bytes(b"\n".join(b"line %d \xff" % number for number in range(99)) + b"\n\n")
    lines = one.output("17").splitlines()
    assert lines[-1] == "line 98 \ufffd"
    assert len(lines) == jobqueue.TAIL - 1  # an empty one was the last
