"""Job scripts, held by golden files; and how dask-jobqueue is imported.

The scripts in golden/ have PYTHON in place of the interpreter. What a script looks like is a
promise to sites with their own rules: look at each difference before you replace one.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from dask.utils import parse_bytes
from helpers.fake_commands import command
from helpers.machine_files import MINIMAL, argument, machine

from psweep_dask.clusters import jobqueue_options
from psweep_dask.clusters.jobqueue_options import job_options, job_script
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


def script_of(lab):
    return job_script(lab).replace(shlex.quote(sys.executable), "PYTHON")


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
def test_memory_limit_of_workers_is_less_than_their_job_has(memory, processes):
    below = f"{{cores: 4, processes: {processes}, memory: {memory}}}"
    lab = machine(f"cluster: slurm\njobqueue: {below}")
    limit = int(argument(job_script(lab), "--memory-limit"))
    assert 0.7 < limit * processes / parse_bytes(memory) < 1


@pytest.mark.parametrize(
    ("below", "processes", "cpus"),
    [
        ("cores: 4", 4, 1),
        ("cores: 4, processes: 1", 1, 4),
        ("cores: 8, processes: 4", 4, 2),
        ("cores: 1", 1, 1),
    ],
)
def test_workers_run_one_pset_each_and_share_the_cores_of_their_job(below, processes, cpus):
    lab = machine(f"cluster: slurm\njobqueue: {{memory: 8GiB, {below}}}")
    assert jobqueue_options.workers_per_job(lab) == processes
    assert jobqueue_options.slots_per_job(lab, {}) == processes
    assert jobqueue_options.cpus_per_worker(lab) == cpus
    script = job_script(lab)
    assert re.findall(r"--nthreads (\d+)", script)[-1] == "1"
    assert (f"export OMP_NUM_THREADS={cpus}" in script) == (cpus > 1)
    assert ("--nworkers" in script) == (processes > 1)


def test_unknown_setting_is_named_with_the_one_that_was_meant():
    lab = machine("cluster: slurm\njobqueue: {cores: 1, memory: 1GiB, quueue: long}")
    with pytest.raises(MachineError) as caught:
        job_script(lab)
    assert str(caught.value) == (
        f"{lab.info_path}: SLURMCluster knows no jobqueue setting 'quueue'; did you mean 'queue'?"
    )


def test_unknown_setting_may_be_one_of_another_batch_system():
    lab = machine("cluster: slurm\njobqueue: {cores: 1, memory: 1GiB, resource_spec: x}")
    with pytest.raises(MachineError, match="SLURMCluster knows no .*'resource_spec'"):
        job_script(lab)


@pytest.mark.parametrize("below", ["memory: 1GiB", "cores: 1"])
def test_missing_setting_is_named_with_the_file(below):
    lab = machine(f"cluster: slurm\njobqueue: {{{below}}}")
    with pytest.raises(MachineError, match=f"{lab.info_path}: You must specify .*cores and memory"):
        job_script(lab)


def test_missing_setting_of_another_batch_system_is_named_with_the_file():
    lab = machine("cluster: htcondor\njobqueue: {cores: 1, memory: 1GiB}")
    with pytest.raises(MachineError, match=f"{lab.info_path}: .*how much disk"):
        job_script(lab)


def test_offline_machine_has_no_job_script():
    with pytest.raises(MachineError, match="for offline use only"):
        job_script(machine("subcmd: sbatch"))


FOLDERS = ["with  spaces", "it's", 'say "hi"', "100%", "%j", "größe ∑", "$HOME", "a#b;c&d|e", "-o"]


@pytest.mark.parametrize("name", FOLDERS)
def test_log_dir_of_jobs_may_have_any_name(tmp_path, name):
    options = job_options(machine(MINIMAL), "psweep-bb32aade", {}, tmp_path / name)
    (directive,) = [text for text in options["job_extra_directives"] if "--output" in text]
    (word,) = shlex.split(directive)  # sbatch takes such a line apart as a shell would
    parts = word.removeprefix("--output=").split("%%")  # and a doubled % as a single one
    assert "%".join(part.replace("%j", "17") for part in parts) == str(tmp_path / name / "17.log")


@pytest.mark.parametrize("value", FOLDERS)
def test_environment_reaches_workers_whatever_it_holds(value):
    options = job_options(machine(EVERYTHING), "psweep-bb32aade", {"DASK_X": value}, Path("logs"))
    *given, ours = options["job_script_prologue"]
    assert given[-3:] == ["module load cuda", "", "source 'my env/bin/activate'"]
    shell = ["sh", "-c", f'{ours}\nprintf %s "$DASK_X"']
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == value


def test_python_in_a_folder_with_a_blank_is_found(tmp_path, monkeypatch):
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
def test_ctrl_c_does_the_same_after_dask_jobqueue_is_imported(handler):
    text = f"""{IMPORT}
mine = {handler}
signal.signal(signal.SIGINT, mine)
print(jobqueue_options.import_dask_jobqueue().__name__, signal.getsignal(signal.SIGINT) is mine)
"""
    assert python(text) == "dask_jobqueue True\n"


def test_import_of_dask_jobqueue_is_refused_in_other_threads_with_the_remedy():
    text = f"""{IMPORT}
def attempt():
    try:
        print(jobqueue_options.import_dask_jobqueue().__name__)
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


@pytest.mark.parametrize(
    ("args", "needed"),
    [
        ([], {}),
        (["--resources", "GPU=1"], {"GPU": 1}),
        (["--resources=GPU=2,MEM=8"], {"GPU": 1, "MEM": 4}),
        (["--resources GPU=1", "--resources 'GPU=2 MEM=1'"], {"GPU": 2}),
    ],
)
def test_slots_per_job_are_its_workers_if_these_have_the_resources(args, needed):
    below = f"cores: 4, processes: 2, memory: 1GiB, worker_extra_args: {args}"
    lab = machine(f"cluster: slurm\njobqueue: {{{below}}}")
    assert jobqueue_options.slots_per_job(lab, needed) == 2


def test_threads_that_the_user_has_chosen_win(monkeypatch):
    below = "cores: 4, processes: 1, memory: 1GiB, job_script_prologue: [export OMP_NUM_THREADS=3]"
    script = job_script(machine(f"cluster: slurm\njobqueue: {{{below}}}"))
    assert re.findall(r"export OMP_NUM_THREADS=(\d)", script) == ["4", "3"]
    monkeypatch.setattr(jobqueue_options, "SET_BY_USER", {"OMP_NUM_THREADS"})
    script = job_script(machine(f"cluster: slurm\njobqueue: {{{below}}}"))
    assert re.findall(r"export (\w+)_NUM_THREADS=(\d)", script) == [
        ("MKL", "4"),
        ("OPENBLAS", "4"),
        ("OMP", "3"),
    ]


def test_slots_per_job_without_the_resources_is_an_error_with_the_remedy():
    lab = machine(MINIMAL)
    with pytest.raises(MachineError, match=r"resources {'GPU': 1}; say which they have by"):
        jobqueue_options.slots_per_job(lab, {"GPU": 1})
