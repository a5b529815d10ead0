"""Job scripts, held by golden files; and how dask-jobqueue is imported.

The scripts in golden/ have PYTHON in place of the interpreter. What a script looks like is a
promise to sites with their own rules: look at each difference before you replace one.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from dask.utils import parse_bytes
from helpers.fake_commands import command
from helpers.machine_files import MINIMAL, argument, machine

from psweep_dask.clusters import jobqueue_options
from psweep_dask.clusters.jobqueue_options import job_script, options_of_jobs
from psweep_dask.hpc.machine_schema import MachineError

GOLDEN = Path(__file__).parents[1] / "golden"

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


def other_machine(cluster):
    below = "jobqueue:\n  cores: 4\n  processes: 2\n  memory: 8GiB"
    return machine(f"cluster: {cluster}\n{below}{OTHERS[cluster]}")


def script_of(one):
    return job_script(one).replace(shlex.quote(sys.executable), "PYTHON")


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
    assert (jobqueue_options.processes(one), jobqueue_options.threads(one)) == (processes, threads)
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
    options = options_of_jobs(machine(MINIMAL), "psweep-bb32aade", {}, tmp_path / name)
    (directive,) = [one for one in options["job_extra_directives"] if "--output" in one]
    (word,) = shlex.split(directive)  # sbatch takes such a line apart as a shell would
    parts = word.removeprefix("--output=").split("%%")  # and a doubled % for one that is meant
    assert "%".join(one.replace("%j", "17") for one in parts) == str(tmp_path / name / "17.log")


@pytest.mark.parametrize("value", FOLDERS)
def test_settings_reach_workers_whatever_they_hold(value):
    options = options_of_jobs(
        machine(EVERYTHING), "psweep-bb32aade", {"DASK_X": value}, Path("logs")
    )
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
from psweep_dask.clusters import jobqueue_options
assert "dask_jobqueue" not in sys.modules
"""


@pytest.mark.parametrize("handler", ["signal.default_int_handler", "lambda *_: None"])
def test_ctrl_c_means_the_same_after_dask_jobqueue_is_imported(handler):
    text = f"""{IMPORT}
mine = {handler}
signal.signal(signal.SIGINT, mine)
print(jobqueue_options.import_quietly().__name__, signal.getsignal(signal.SIGINT) is mine)
"""
    assert python(text) == "dask_jobqueue True\n"


def test_off_the_main_thread_the_first_import_is_refused_with_the_way_out():
    text = f"""{IMPORT}
def attempt():
    try:
        print(jobqueue_options.import_quietly().__name__)
    except jobqueue_options.MachineError as err:
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
