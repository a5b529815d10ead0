"""Driver jobs with fake commands of SLURM; tests/integration/test_driver_jobs.py has real ones."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess

import pytest
from helpers.driver_process import wait_until
from helpers.fake_commands import command

from psweep_dask.driver.driver_job import DriverJobError, driver_job
from psweep_dask.hpc.machine_schema import MachineError


def write_machine(folder, name="big", cluster="slurm", **jobqueue):
    machine_dir = folder / "templates" / "machines" / name
    machine_dir.mkdir(parents=True)
    info = {"cluster": cluster, "jobqueue": {"cores": 4, "memory": "8GiB", **jobqueue}}
    (machine_dir / "info.yaml").write_text(json.dumps(info))


@pytest.fixture
def study(study_folder):
    (study_folder / "study.py").touch()
    return study_folder


def directives(script):
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    return dict(line.removeprefix("#SBATCH ").partition("=")[::2] for line in lines)


def test_job_script_asks_for_one_core_and_for_a_signal_before_the_walltime(study):
    write_machine(study, queue="long", account="me", walltime="12:00:00")
    job = driver_job("big", "study.py", ["--fast", "a b"], lead=300)
    asked = directives(job.job_script())
    assert asked["--partition"] == "long"
    assert asked["--account"] == "me"
    assert asked["--time"] == "12:00:00"
    assert (asked["--ntasks"], asked["--cpus-per-task"]) == ("1", "1")
    assert asked["--signal"] == "B:TERM@300"
    last = shlex.split(job.job_script().splitlines()[-1])
    assert last[-3:] == ["study.py", "--fast", "a b"]
    assert "export DASK_PSWEEP__CLUSTER=big" in job.job_script()


def test_chain_id_is_new_for_each_driver(study):
    write_machine(study)
    assert driver_job("big", "study.py").chain != driver_job("big", "study.py").chain


def test_job_script_quotes_names_for_the_shell(study):
    (study / "it's; touch pwned $(touch pwned).py").touch()
    write_machine(study)
    job = driver_job("big", "it's; touch pwned $(touch pwned).py", ["`touch pwned`"])
    script = job.job_script().replace("exec ", "printf '%s\\n' ")
    shown = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-2:] == [
        "it's; touch pwned $(touch pwned).py",
        "`touch pwned`",
    ]
    assert not (study / "pwned").exists()


def test_job_script_for_another_batch_system_is_an_error(study):
    write_machine(study, cluster="pbs")
    with pytest.raises(DriverJobError, match="cluster: pbs; only on SLURM"):
        driver_job("big", "study.py").job_script()


@pytest.mark.parametrize(("cluster", "script"), [("big", "nix.py"), ("nix", "study.py")])
def test_driver_job_without_machine_or_script_names_it(study, cluster, script):
    write_machine(study)
    with pytest.raises((DriverJobError, MachineError), match="nix"):
        driver_job(cluster, script)


def test_submit_shows_why_slurm_refuses(study, monkeypatch):
    write_machine(study)
    command(study, "sbatch", "echo 'sbatch: error: invalid account' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{study}:/usr/bin:/bin")
    with pytest.raises(DriverJobError, match="refuses the driver: .*invalid account"):
        driver_job("big", "study.py").submit()


def test_submit_drops_variables_of_the_job_around_it_and_the_follower_waits_for_a_failure(
    study, monkeypatch
):
    write_machine(study)
    command(study, "sbatch", 'echo "$@" >asked; env >environment; echo "77;cluster"')
    monkeypatch.setenv("PATH", f"{study}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    assert driver_job("big", "study.py").submit(after="76") == "77"
    assert "--dependency=afternotok:76" in (study / "asked").read_text()
    environment = (study / "environment").read_text()
    assert "SLURM_MEM_PER_CPU" not in environment
    assert "SLURM_CONF=/etc/slurm.conf" in environment


@pytest.fixture
def run_job(study, monkeypatch):
    """Run a driver job here, with a script that does this, and SLURM's commands faked.

    Returns the process, and what scancel was called with.
    """
    write_machine(study, walltime="1:00:00")
    command(study, "sbatch", 'echo "$@" >>submitted; cat >follower; echo 78')
    command(study, "scancel", 'echo "$@" >>cancelled')
    command(study, "squeue", f'cat "{study}/queue"')
    monkeypatch.setenv("PATH", f"{study}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "77")

    def start(script, left="1:00:00", lead=60, followers=3):
        (study / "study.py").write_text(script)
        (study / "queue").write_text(f"77|RUNNING|None|{left}|1:00:00\n")
        job = driver_job("big", "study.py", ["--fast"], lead=lead, followers=followers)
        return subprocess.Popen(
            shlex.split(job.job_script().splitlines()[-1])[1:],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


def cancelled(study):
    path = study / "cancelled"
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("code", [0, 3])
def test_follower_is_cancelled_when_the_script_ends_by_itself(code, study, run_job):
    process = run_job(f"import sys; print(sys.argv[1:]); sys.exit({code})")
    printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed) == (code, "['--fast']\n")
    assert "--dependency=afternotok:77" in (study / "submitted").read_text()
    assert cancelled(study) == ["--quiet", "78"]


def test_follower_goes_on_when_the_script_was_stopped(study, run_job):
    process = run_job("import os; raise SystemExit(os.EX_TEMPFAIL)")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert printed == "the script goes on in job 78\n"
    assert cancelled(study) == []


def test_follower_goes_on_when_the_script_was_killed(study, run_job):
    process = run_job("import os; os.kill(os.getpid(), 9)")
    process.communicate(timeout=60)
    assert process.returncode == 137
    assert cancelled(study) == []


def test_last_job_of_a_chain_submits_no_follower(study, run_job):
    process = run_job("", followers=0)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not (study / "submitted").exists()


WAITING = """
import os, signal, sys, time
stops = []
signal.signal(signal.SIGTERM, lambda *_: stops.append(time.monotonic()))
open("ready", "w").close()
deadline = time.monotonic() + 60
while len(stops) < {stops} and time.monotonic() < deadline:
    time.sleep(0.02)
print(len(stops))
sys.exit(75)
"""


def test_walltime_signal_near_the_end_stops_the_script_and_then_drops_psets(study, run_job):
    process = run_job(WAITING.format(stops=2), left="0:40", lead=31)
    wait_until((study / "ready").exists)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert printed == "2\nthe script goes on in job 78\n"
    assert cancelled(study) == []


def test_walltime_signal_long_before_the_end_means_that_the_job_is_cancelled(study, run_job):
    process = run_job(WAITING.format(stops=1), left="50:00", lead=31)
    wait_until((study / "ready").exists)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: cancelled(study) == ["--quiet", "78"])
    process.communicate(timeout=60)


def test_chain_id_reaches_the_script_and_the_follower_has_it_too(study, run_job):
    process = run_job("import os; print(os.environ['PSWEEP_DASK_CHAIN'])")
    printed, _ = process.communicate(timeout=60)
    assert printed.startswith("chain-")
    assert printed.strip() in (study / "follower").read_text()
