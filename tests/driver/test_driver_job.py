"""Tests of the job script of a driver; tests/integration/test_driver_jobs.py runs them."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest
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


def test_the_driver_asks_for_one_core_where_its_workers_run_and_for_a_warning(study):
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


def test_each_driver_is_a_chain_of_its_own(study):
    write_machine(study)
    assert driver_job("big", "study.py").chain != driver_job("big", "study.py").chain


def test_hostile_names_are_words_of_a_shell_and_no_more(study):
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


def test_another_batch_system_is_told_before_anything_is_submitted(study):
    write_machine(study, cluster="pbs")
    with pytest.raises(DriverJobError, match="cluster: pbs; only on SLURM"):
        driver_job("big", "study.py").job_script()


@pytest.mark.parametrize(("cluster", "script"), [("big", "nix.py"), ("nix", "study.py")])
def test_a_machine_or_a_script_that_is_not_there_is_named(study, cluster, script):
    write_machine(study)
    with pytest.raises((DriverJobError, MachineError), match="nix"):
        driver_job(cluster, script)


def test_what_slurm_says_against_it_is_told(study, monkeypatch):
    write_machine(study)
    command(study, "sbatch", "echo 'sbatch: error: invalid account' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{study}:/usr/bin:/bin")
    with pytest.raises(DriverJobError, match="refuses the driver: .*invalid account"):
        driver_job("big", "study.py").submit()


def test_the_job_around_it_does_not_leak_into_it_and_the_follower_waits_for_its_failure(
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
