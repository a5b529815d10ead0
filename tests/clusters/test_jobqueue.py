"""The jobs of a run in batch systems: real objects of dask-jobqueue, fake commands."""

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
from psweep_dask.hpc.machine_schema import MachineError

RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"


@pytest.fixture
def make(tmp_path):
    """Make queues, whose logs go to a folder with a blank in its name."""
    with temporary_credentials(tmp_path) as credentials:
        log_dir = tmp_path / "the logs"
        log_dir.mkdir()
        queues = []

        def make(text):
            queues.append(JobQueue(machine(text), credentials, RUN_ID, log_dir))
            return queues[-1]

        yield make
        for queue in queues:
            queue.cluster.close()


SBATCH = 'cp "$1" submitted.sh; env > environment; echo Submitted batch job 17'
LOOPBACK = MINIMAL.replace("}", ", interface: lo}")


def test_scheduler_speaks_tls_on_the_interface_and_shows_its_dashboard_here_only(make):
    queue = make(LOOPBACK)
    assert queue.address.startswith("tls://127.0.0.1:")
    assert queue.address.endswith(" (interface lo)")
    server = queue.cluster.scheduler.http_server
    assert {socket.getsockname()[0] for socket in server._sockets.values()} == {"127.0.0.1"}


def test_submit_names_the_worker_and_writes_no_secret(make, bin_dir, tmp_path):
    command(bin_dir, "sbatch", SBATCH)
    queue = make(LOOPBACK)
    assert queue.submit("bb32aade-0") == "17"
    script = Path("submitted.sh").read_text()
    assert argument(script, "--name") == "bb32aade-0"
    assert queue.cluster.scheduler_address in script
    assert "#SBATCH -J psweep-bb32aade\n" in script
    assert "export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True\n" in script
    assert f"export {slurm.WORKER_VARIABLE}=1\n" in script
    assert "PRIVATE KEY" not in script


def test_submit_inside_an_allocation_leaves_its_variables_out(make, bin_dir, monkeypatch):
    command(bin_dir, "sbatch", SBATCH)
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SLURM_CONF", "SBATCH_ACCOUNT", "MINE"):
        monkeypatch.setenv(name, "1")
    make(LOOPBACK).submit("bb32aade-0")
    seen = {line.partition("=")[0] for line in Path("environment").read_text().splitlines()}
    assert seen & {"SLURM_JOB_ID", "SLURM_MEM_PER_NODE"} == set()
    assert seen >= {"SLURM_CONF", "SBATCH_ACCOUNT", "MINE"}


def test_submit_refused_is_an_error_with_the_reason(make, bin_dir):
    command(bin_dir, "sbatch", "echo 'Invalid partition' >&2; exit 1")
    with pytest.raises(RuntimeError, match="Invalid partition"):
        make(LOOPBACK).submit("bb32aade-0")


def test_cancel_uses_the_command_of_the_batch_system(make, bin_dir):
    command(bin_dir, "qsub", "echo 17.server")
    command(bin_dir, "qdel", 'echo "$@" >> cancelled')
    queue = make("cluster: pbs\njobqueue: {cores: 1, memory: 1GiB, interface: lo}")
    job = WorkerJob(queue.submit("bb32aade-0"), "bb32aade-0", 0.0)
    assert queue.states() is None  # there is no queue of SLURM to ask
    assert queue.cancel([]) is None
    assert not Path("cancelled").exists()
    assert queue.cancel([job]) is None
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
def test_walltime_is_read_as_the_batch_system_does(make, cluster, walltime, seconds):
    units = ", lsf_units: mb" if cluster == "lsf" else ""
    below = f'cores: 1, memory: 1GiB, interface: lo, walltime: "{walltime}"{units}'
    assert make(f"cluster: {cluster}\njobqueue: {{{below}}}").walltime == seconds


def test_output_is_the_last_lines_that_a_job_has_printed(make, tmp_path):
    queue = make(LOOPBACK)
    assert queue.output("17") == ""
    path = tmp_path / "the logs" / "17.log"
    path.write_bytes(b"\n".join(b"line %d \xff" % number for number in range(99)) + b"\n\n")
    lines = queue.output("17").splitlines()
    assert lines[-1] == "line 98 \ufffd"
    assert len(lines) == jobqueue.JOB_OUTPUT_LINES - 1  # the last line was empty


def test_output_is_found_in_the_log_directory_of_the_machine(make, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    queue = make(LOOPBACK.replace("}", f", log_directory: {tmp_path / 'elsewhere'}}}"))
    (tmp_path / "elsewhere" / "psweep-bb32aade-17.out").write_text("printed\n")
    assert queue.output("17") == "printed"
    (tmp_path / "elsewhere" / "psweep-bb32aade-17.err").write_text("an error\n")
    assert queue.output("17") == "an error"


def test_states_and_cancel_ask_slurm_where_it_is_the_batch_system(make, bin_dir):
    command(bin_dir, "sbatch", SBATCH)
    command(bin_dir, "squeue", "echo '17|RUNNING|None|4:00|5:00'")
    command(bin_dir, "scancel", 'echo "$@" >> cancelled')
    queue = make(LOOPBACK)
    assert queue.state_at_first.waits
    assert queue.cancel_all() is None
    assert not Path("cancelled").exists()  # there are no jobs
    job = WorkerJob(queue.submit("bb32aade-0"), "bb32aade-0", 0.0)
    assert queue.states()["17"].runs
    assert queue.cancel([job]) is None
    assert queue.cancel_all() is None
    assert Path("cancelled").read_text().splitlines() == [
        "--quiet 17",
        f"--quiet --user={os.getuid()} --name=psweep-bb32aade",
    ]


def test_settings_that_dask_jobqueue_refuses_are_an_error_with_the_file(make):
    with pytest.raises(MachineError, match="info.yaml: .*no-such-interface"):
        make(MINIMAL.replace("}", ", interface: no-such-interface}"))
