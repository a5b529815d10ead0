"""Machines: which there are, and what is read from their info.yaml."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import dask.config
import pytest
from helpers.machine_files import error_of, write_info

from psweep_dask.errors import PsweepError
from psweep_dask.hpc.machine import MACHINES_DIR, Machine, machine_names, read_machine
from psweep_dask.hpc.machine_schema import MachineError

DESIGN = """
subcmd: sbatch                  # offline: submits jobscript
host: login.hpc.example.org     # push and pull
cluster: slurm
jobqueue:
  queue: long
  cores: 4
  processes: 4
  memory: 8GiB
  walltime: "02:00:00"
jobs: 10
"""


def test_machine_with_all_keys():
    info_path = write_info(DESIGN)
    machine = read_machine("big")
    assert machine == Machine(
        name="big",
        folder=info_path.parent,
        subcmd="sbatch",
        host="login.hpc.example.org",
        cluster="slurm",
        jobqueue={
            "queue": "long",
            "cores": 4,
            "processes": 4,
            "memory": "8GiB",
            "walltime": "02:00:00",
        },
        jobs=10,
    )
    assert machine.info_path == info_path
    assert machine.jobscript_path == info_path.with_name("jobscript")
    assert machine.batch_system == "slurm"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "subcmd:\nhost:\njobqueue:\njobs:\n"])
def test_machine_without_keys_has_defaults(text):
    info_path = write_info(text)
    assert read_machine("big") == Machine("big", info_path.parent, None, "big", None, {}, 1)


def test_machine_paths_stay_right_when_the_working_directory_changes(tmp_path, monkeypatch):
    write_info(DESIGN)
    machine = read_machine("big")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert machine.info_path.is_file()


def test_machine_folders_may_be_elsewhere():
    write_info(DESIGN, machines_dir="other place")
    assert read_machine("big", "other place").jobs == 10
    assert machine_names(Path("other place")) == ["big"]


def test_machine_errors_are_errors_of_the_package():
    with pytest.raises(PsweepError):
        read_machine("big")


def test_machine_for_offline_use_says_how_to_make_it_live():
    info_path = write_info("subcmd: sbatch")
    with pytest.raises(MachineError, match="offline use only.*cluster: slurm.*htcondor") as caught:
        _ = read_machine("big").batch_system
    assert str(info_path) in str(caught.value)


def test_machine_error_names_the_folder_that_is_missing(tmp_path):
    with pytest.raises(MachineError, match="no machine 'big'.*'templates/machines'") as caught:
        read_machine("big")
    assert repr(str(tmp_path)) in str(caught.value)
    assert str(tmp_path / MACHINES_DIR / "big" / "info.yaml") in str(caught.value)


def test_machine_that_is_unknown_is_an_error_with_the_known_names():
    write_info("", "small")
    write_info("", "mycluster")
    pattern = "no machine 'mycluser'.*there are mycluster, small.*did you mean 'mycluster'"
    with pytest.raises(MachineError, match=pattern):
        read_machine("mycluser")


def test_machine_error_says_that_there_are_no_machines():
    Path(MACHINES_DIR).mkdir(parents=True)
    with pytest.raises(MachineError, match="there are no machines; .*create"):
        read_machine("big")


def test_machine_without_info_yaml_is_an_error_with_what_to_write():
    Path(MACHINES_DIR, "big").mkdir(parents=True)
    with pytest.raises(MachineError, match="big/info.yaml is missing; .*cluster: slurm.*subcmd"):
        read_machine("big")


@pytest.mark.parametrize("name", ["", ".", "..", "../big", "/etc", "big/"])
def test_machine_name_cannot_lead_out_of_the_folder(name):
    write_info(DESIGN)
    with pytest.raises(MachineError, match="cannot be a machine"):
        read_machine(name)


def test_machine_names_are_those_of_folders_with_info_yaml():
    assert machine_names() == []
    write_info("", "b")
    write_info("not: read", "a")
    Path(MACHINES_DIR, "empty").mkdir()
    Path(MACHINES_DIR, "README").touch()
    assert machine_names() == ["a", "b"]


def test_info_that_is_not_yaml_is_an_error_with_the_line():
    message = error_of("subcmd: sbatch\njobs: 3\ncluster: slurm: 1\n")
    assert message == ": line 3: not YAML, mapping values are not allowed here"


@pytest.mark.parametrize("text", ["jobs: 1\njobs: 2\n", "jobqueue:\n  queue: a\n  queue: b\n"])
def test_info_with_a_key_twice_is_an_error(text):
    assert re.match(r": line \d: the key '\w+' is written twice", error_of(text))


@pytest.mark.parametrize(
    "text", [b"subcmd: \xff\xfe\xfa", b"subcmd: a\x00b", b"subcmd: 2024-13-45", b"subcmd: !x y"]
)
def test_info_that_cannot_be_read_is_an_error_with_the_file(text):
    assert "not YAML" in error_of(text)


def test_info_that_is_a_folder_is_an_error():
    Path(MACHINES_DIR, "big", "info.yaml").mkdir(parents=True)
    with pytest.raises(MachineError, match="cannot read .*info.yaml: Is a directory"):
        read_machine("big")


@pytest.mark.parametrize("text", ["slurm", "- cluster: slurm", "3"])
def test_info_must_be_a_mapping(text):
    assert "allowed are lines such as 'cluster: slurm'" in error_of(text)


def machine(cluster: str | None = "slurm", **jobqueue: object) -> Machine:
    return Machine("big", Path("/big"), None, "big", cluster, jobqueue)


def test_setting_of_the_machine_wins_over_the_configuration_of_dask():
    with dask.config.set({"jobqueue.slurm": {"cores": 2, "death-timeout": 60}}):
        assert machine(cores=4).setting("cores") == 4
        assert machine(cores=4).setting("death_timeout") == 60
        assert machine("pbs").setting("cores") is None
        assert machine(None).setting("cores") is None
        assert machine(None, cores=4).setting("cores") == 4


def test_setting_comes_from_the_section_that_config_name_says():
    with dask.config.set({"jobqueue.debug": {"cores": 2}, "jobqueue.slurm": {"cores": 3}}):
        assert machine(config_name="debug").setting("cores") == 2


def test_setting_job_name_is_called_name_in_the_configuration():
    with dask.config.set({"jobqueue.slurm": {"name": "dask-worker"}}):
        assert machine().setting("job_name") == "dask-worker"


def test_setting_that_nobody_made_is_none():
    assert machine().setting("no_such_setting") is None


def test_import_of_machines_leaves_distributed_and_dask_jobqueue_out():
    code = (
        "import sys, psweep_dask.hpc.machine\n"
        "print(sorted({'distributed', 'dask_jobqueue'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
