"""Job scripts, held by golden files; and the ways in which dask-jobqueue is tamed.

The scripts in golden/ have PYTHON in place of the interpreter. What a script looks like is a
promise to sites with their own rules: look at each difference before you replace one.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from dask.utils import parse_bytes
from recorded import command

from psweep_dask import jobqueue, slurm
from psweep_dask.credentials import temporary_credentials
from psweep_dask.fleet_policy import WorkerJob
from psweep_dask.jobqueue import Batch, job_options, job_script
from psweep_dask.machine_keys import MachineError
from psweep_dask.machines import MACHINES_DIR, read_machine

GOLDEN = Path(__file__).with_name("golden")
RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"

MINIMAL = """
cluster: slurm
jobqueue: {cores: 2, memory: 4GiB}
"""

EVERYTHING = """
cluster: slurm
jobs: 10
jobqueue:
  queue: long
  account: physics
  cores: 8
  processes: 4
  memory: 16GB
  job_cpu: 16
  job_mem: 20G
  walltime: "1-12:00:00"
  interface: ib0
  death_timeout: 5m
  local_directory: /scratch/$USER
  worker_extra_args: ["--resources", "GPU=1"]
  job_script_prologue: ["module load cuda", "", "source 'my env/bin/activate'"]
  job_extra_directives: ["--gres=gpu:4", "--constraint=\\"a100&ib\\""]
  job_directives_skip: ["-J"]
  shebang: "#!/bin/bash -l"
"""

OTHERS = {
    "pbs": """
  queue: long
  account: physics
  walltime: "02:00:00"
  job_extra_directives: ["-j oe"]
""",
    "lsf": """
  queue: long
  project: physics
  walltime: "02:00"
  lsf_units: mb
""",
    "sge": """
  queue: long
  project: physics
  resource_spec: h_vmem=8G
  walltime: "02:00:00"
""",
    "oar": """
  queue: long
  project: physics
  walltime: "02:00:00"
  memory_per_core_property_name: memcore
""",
    "htcondor": """
  disk: 1GiB
  job_script_prologue: ["export LANG='C'"]
  job_extra_directives: {"+Group": '"physics"'}
""",
    "moab": """
  queue: long
  account: physics
  walltime: "02:00:00"
""",
}


def machine(text):
    path = Path(MACHINES_DIR, "big", "info.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return read_machine("big")


def other_machine(cluster):
    below = "jobqueue:\n  cores: 4\n  processes: 2\n  memory: 8GiB"
    return machine(f"cluster: {cluster}\n{below}{OTHERS[cluster]}")


def script_of(one):
    return job_script(one).replace(shlex.quote(sys.executable), "PYTHON")


def argument(script, name):
    """The value that a worker takes, which is the last of those it is given."""
    words = script.split()
    return [words[at + 1] for at, word in enumerate(words[:-1]) if word == name][-1]


@pytest.mark.parametrize(
    ("name", "text"), [("slurm", EVERYTHING), ("slurm-minimal", MINIMAL)], ids=["all", "minimal"]
)
def test_job_script_for_slurm(name, text):
    assert script_of(machine(text)) == (GOLDEN / f"{name}.sh").read_text()


@pytest.mark.parametrize("cluster", OTHERS)
def test_job_script_for_other_batch_systems(cluster):
    assert script_of(other_machine(cluster)) == (GOLDEN / f"{cluster}.sh").read_text()


@pytest.mark.parametrize("memory", ["100MiB", "1GiB", "8GB", "1TB"])
@pytest.mark.parametrize("processes", [1, 4])
def test_workers_may_use_less_memory_than_their_job_has(memory, processes):
    below = f"{{cores: 4, processes: {processes}, memory: {memory}}}"
    one = machine(f"cluster: slurm\njobqueue: {below}")
    limit = int(argument(job_script(one), "--memory-limit"))
    assert 0.7 < limit * processes / parse_bytes(memory) < 1


@pytest.mark.parametrize(
    ("below", "processes", "threads"),
    [
        ("cores: 4", 4, 1),
        ("cores: 4, processes: 1", 1, 4),
        ("cores: 8, processes: 4", 4, 2),
        ("cores: 1", 1, 1),
    ],
)
def test_a_job_has_a_worker_for_each_core_or_as_many_as_its_machine_says(below, processes, threads):
    one = machine(f"cluster: slurm\njobqueue: {{memory: 8GiB, {below}}}")
    assert (jobqueue.processes(one), jobqueue.threads(one)) == (processes, threads)
    script = job_script(one)
    assert int(argument(script, "--nthreads")) == threads
    assert ("--nworkers" in script) == (processes > 1)


def test_a_setting_that_dask_jobqueue_does_not_know_is_named_with_the_one_that_was_meant():
    one = machine("cluster: slurm\njobqueue: {cores: 1, memory: 1GiB, quueue: long}")
    with pytest.raises(MachineError) as caught:
        job_script(one)
    assert str(caught.value) == (
        f"{one.info_path}: SLURMCluster knows no jobqueue setting 'quueue'; did you mean 'queue'?"
    )


def test_a_setting_of_another_batch_system_is_not_known():
    one = machine("cluster: slurm\njobqueue: {cores: 1, memory: 1GiB, resource_spec: x}")
    with pytest.raises(MachineError, match="SLURMCluster knows no .*'resource_spec'"):
        job_script(one)


@pytest.mark.parametrize("below", ["memory: 1GiB", "cores: 1"])
def test_a_setting_that_is_missing_is_told_with_the_file(below):
    one = machine(f"cluster: slurm\njobqueue: {{{below}}}")
    with pytest.raises(MachineError, match=f"{one.info_path}: You must specify .*cores and memory"):
        job_script(one)


def test_what_a_batch_system_needs_besides_is_told_with_the_file():
    one = machine("cluster: htcondor\njobqueue: {cores: 1, memory: 1GiB}")
    with pytest.raises(MachineError, match=f"{one.info_path}: .*how much disk"):
        job_script(one)


def test_a_machine_for_offline_use_has_no_job_script():
    with pytest.raises(MachineError, match="for offline use only"):
        job_script(machine("subcmd: sbatch"))


FOLDERS = ["with  spaces", "it's", 'say "hi"', "100%", "%j", "größe ∑", "$HOME", "a#b;c&d|e", "-o"]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_output_of_jobs_goes_to_a_folder_of_any_name(tmp_path, name):
    options = job_options(machine(MINIMAL), "psweep-bb32aade", {}, tmp_path / name)
    (directive,) = [one for one in options["job_extra_directives"] if "--output" in one]
    (word,) = shlex.split(directive)  # sbatch takes such a line apart as a shell would
    parts = word.removeprefix("--output=").split("%%")  # and a doubled % for one that is meant
    assert "%".join(one.replace("%j", "17") for one in parts) == str(tmp_path / name / "17.log")


@pytest.mark.parametrize("value", FOLDERS)
def test_settings_reach_workers_whatever_they_hold(value):
    options = job_options(machine(EVERYTHING), "psweep-bb32aade", {"DASK_X": value}, Path("logs"))
    *given, ours = options["job_script_prologue"]
    assert given == ["module load cuda", "", "source 'my env/bin/activate'"]
    shell = ["sh", "-c", f'{ours}\nprintf %s "$DASK_X"']
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == value


def test_an_interpreter_in_a_folder_with_a_blank_is_found(tmp_path, monkeypatch):
    folder = tmp_path / "my env"
    folder.mkdir()
    command(folder, "python", "echo it is me")
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    (tmp_path / "job.sh").write_text(job_script(machine(MINIMAL)))
    done = subprocess.run(["sh", "job.sh"], capture_output=True, text=True, check=True)
    assert done.stdout == "it is me\n"


def python(text):
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


IMPORT = """
import signal, sys, threading
from psweep_dask import jobqueue
assert "dask_jobqueue" not in sys.modules
"""


@pytest.mark.parametrize("handler", ["signal.default_int_handler", "lambda *_: None"])
def test_ctrl_c_means_the_same_after_dask_jobqueue_is_imported(handler):
    text = f"""{IMPORT}
mine = {handler}
signal.signal(signal.SIGINT, mine)
print(jobqueue.import_quietly().__name__, signal.getsignal(signal.SIGINT) is mine)
"""
    assert python(text) == "dask_jobqueue True\n"


def test_off_the_main_thread_the_first_import_is_refused_with_the_way_out():
    text = f"""{IMPORT}
def attempt():
    try:
        print(jobqueue.import_quietly().__name__)
    except jobqueue.MachineError as err:
        print(err)
def in_a_thread():
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
in_a_thread()
import dask_jobqueue
in_a_thread()
"""
    refusal, success = python(text).splitlines()
    assert "main thread: put `import dask_jobqueue` at the top of the script" in refusal
    assert success == "dask_jobqueue"


@pytest.fixture
def make(tmp_path):
    """Make batches, whose logs go to a folder with a blank in its name."""
    with temporary_credentials(tmp_path) as credentials:
        log_dir = tmp_path / "the logs"
        log_dir.mkdir()
        made = []

        def make(text):
            made.append(Batch(machine(text), credentials, RUN_ID, log_dir))
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
    assert f"export {slurm.WORKER_MARK}=1\n" in script
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
