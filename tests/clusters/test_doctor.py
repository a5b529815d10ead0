"""What the doctor finds; a job on a fake SLURM, whose worker is a real process."""

from __future__ import annotations

import time

import pytest
from helpers.machine_files import machine

from psweep_dask.clusters import scaling_policy
from psweep_dask.clusters.doctor import PACKAGES, compare, examine, look_around
from psweep_dask.hpc.machine_schema import MachineError


@pytest.fixture
def seen(study_folder):
    (study_folder / "from_driver").write_text("here")
    return look_around(str(study_folder), list(PACKAGES))


def checks_of(seen, folder):
    now = time.time()
    return {check.topic: check for check in compare(seen, folder, now, now)}


def test_doctor_gives_no_advice_where_driver_and_worker_see_the_same(seen, study_folder):
    assert [check.advice for check in checks_of(seen, study_folder).values()] == [""] * 7


@pytest.mark.parametrize(
    ("topic", "differs", "finding", "advice"),
    [
        ("shared files", {"sees_files": False}, "do not see", "mounts under the same path"),
        ("working folder", {"cwd": "/elsewhere"}, "/elsewhere", "absolute"),
        ("Python", {"python": "3.9.1"}, "3.9.1", "python: in info.yaml"),
        ("room for temporary files", {"free": 10**6}, "free in", "local_directory"),
        ("clocks", {"time": 0.0}, "s apart", "_time_utc"),
    ],
)
def test_doctor_names_what_differs_with_what_to_change(
    seen, study_folder, topic, differs, finding, advice
):
    check = checks_of({**seen, **differs}, study_folder)[topic]
    assert finding in check.finding
    assert advice in check.advice


def test_doctor_names_packages_that_differ_with_both_versions(seen, study_folder):
    there = {**seen["packages"], "dask": "2025.1.0"}
    check = checks_of({**seen, "packages": there}, study_folder)["packages"]
    assert "dask 2025.1.0 (here " in check.finding
    assert "distributed" not in check.finding
    assert check.advice


def test_doctor_finds_no_shared_files_in_a_folder_that_the_worker_cannot_write(tmp_path):
    assert not look_around(str(tmp_path / "nowhere"), [])["sees_files"]


def test_doctor_refuses_a_machine_that_is_not_there():
    with pytest.raises(MachineError, match="nix"):
        examine("nix")


MACHINE = """
cluster: slurm
jobs: 5
jobqueue:
  cores: 1
  memory: 1GiB
  interface: lo
  job_script_prologue: [COMMAND]
"""


@pytest.mark.slow
def test_doctor_looks_around_in_one_small_job_and_leaves_nothing(slurm, study_folder):
    machine(MACHINE.replace("COMMAND", '"true"'))
    slurm.run_jobs(study_folder)
    waits = []
    checks = {check.topic: check for check in examine("big", waits.append)}
    assert checks["a worker comes"].finding.startswith("after ")
    assert checks["shared files"].finding.endswith(" and this machine see each other's")
    assert checks["Python"].advice == ""
    assert slurm.jobs == ["1"]
    assert any(text.startswith("waiting for jobs") for text in waits)
    assert [path.name for path in study_folder.glob(".psweep*")] == []


def test_doctor_quotes_a_job_that_brings_no_worker(slurm, study_folder, monkeypatch):
    monkeypatch.setattr(scaling_policy, "MAX_PAUSE_SECONDS", 0.02)
    machine(MACHINE.replace("COMMAND", "echo no such module >&2; exit 3"))
    slurm.run_jobs(study_folder)
    checks = examine("big")
    (check,) = [check for check in checks if check.topic == "a worker comes"]
    assert check is checks[-1]
    assert check.finding == "no"
    assert "the last, job 3, as FAILED (NonZeroExitCode)" in check.advice
