from __future__ import annotations

from pathlib import Path

import pytest
from helpers.offline_study import machine, write

from psweep_dask.hpc.machine import read_machine
from psweep_dask.hpc.machine_schema import MachineError
from psweep_dask.offline.batch_machine import calls_func, own_jobscript, read_batch_machines
from psweep_dask.offline.templates import read_template

MACHINES = Path("templates/machines")
INFO = "templates/machines/c/info.yaml"
SCRIPT = "templates/machines/c/jobscript"


def read(with_func=False, mode="dollar"):
    return read_batch_machines(MACHINES, mode, with_func)


def test_machine_for_live_runs_only_is_left_out():
    write({**machine("local"), INFO: "cluster: slurm"})
    write({"templates/machines/README": "", "templates/machines/empty/other": ""})
    assert [batch_machine.name for batch_machine in read()] == ["local"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no folder 'templates/machines', seen from .*create it with a folder for"),
        ({INFO: "cluster: slurm"}, "no machine in 'templates/machines' can take jobs"),
        ({INFO: "host: x", SCRIPT: ""}, "c/info.yaml: there is a job script, but no subcmd; add"),
        ({INFO: "subcmd: sh"}, "templates/machines/c/jobscript is missing"),
        ({SCRIPT: ""}, "c/info.yaml is missing; create it"),
        ({INFO: "subcmd: [x", SCRIPT: ""}, r"c/info.yaml: line \d: not YAML"),
        ({INFO: "submit: x", SCRIPT: ""}, "c/info.yaml: unknown key 'submit'; allowed are"),
        ({INFO: "subcmd: sh", SCRIPT: b"\0"}, "c/jobscript is not text"),
        ({INFO: "subcmd: sbatch -p x", SCRIPT: "run"}, "c/jobscript: sbatch takes only scripts"),
        ({INFO: "subcmd: sh", SCRIPT: "#!/bin/sh\r\n"}, r"c/jobscript: its lines end with \\r\\n"),
        ({INFO: 'subcmd: "sh -c \'x"', SCRIPT: ""}, "c/info.yaml: subcmd=.*one command"),
        ({INFO: "subcmd: |\n  a\n  b", SCRIPT: ""}, "c/info.yaml: subcmd=.*one command of a shell"),
        ({f"templates/machines/{'x' * 201}/info.yaml": "subcmd: sh"}, "at most 200 bytes"),
    ],
)
def test_machine_that_is_missing_or_wrong_is_an_error(files, message):
    write(files)
    with pytest.raises(MachineError, match=message):
        read()


def test_folder_without_a_machine_is_an_error_only_with_func():
    write({"templates/machines/x": ""})
    assert read() == []
    with pytest.raises(MachineError, match="no machine in 'templates/machines' can take jobs"):
        read(with_func=True)


def test_machine_name_with_a_line_break_is_an_error():
    write(machine("a\nb"))
    with pytest.raises(MachineError, match="rename the folder: at most 200 bytes, no line break"):
        read()


def test_subcmd_is_stripped_of_what_yaml_appends():
    write({INFO: "subcmd: |\n  sbatch -p x\n", SCRIPT: "#!/bin/sh\n"})
    (batch_machine,) = read()
    assert (batch_machine.subcmd, batch_machine.is_slurm) == ("sbatch -p x", True)


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("python -m psweep_dask.offline.job", True),
        ("python3 -m psweep_dask.task", True),  # as before psweep_dask had folders
        ("python run.py", False),
    ],
)
def test_job_script_calls_func_by_its_new_and_its_old_name(line, calls):
    write(machine(jobscript=f"#!/bin/sh\n{line}\n"))
    (batch_machine,) = read()
    assert calls_func(batch_machine.template) is calls


def test_template_that_is_not_text_calls_no_func():
    write({"data": b"\0"})
    assert not calls_func(read_template(Path("data"), "data", "dollar"))


def test_job_script_is_made_of_the_settings_for_live_runs():
    write(
        {
            INFO: "subcmd: sbatch\ncluster: slurm\njobqueue:\n  queue: long\n  account: me\n"
            '  cores: 8\n  processes: 4\n  memory: 8GiB\n  walltime: "01:00:00"\n'
            '  python: /opt/python\n  job_extra_directives: ["--qos=high"]\n'
            '  job_script_prologue: ["module load x"]\n'
        }
    )
    assert own_jobscript(read_machine("c")) == (
        "#!/usr/bin/env bash\n#SBATCH --partition=long\n#SBATCH --account=me\n"
        "#SBATCH --time=01:00:00\n#SBATCH --ntasks=1\n#SBATCH --cpus-per-task=2\n"
        "#SBATCH --mem=2048M\n#SBATCH --qos=high\nmodule load x\n"
        "/opt/python -m psweep_dask.offline.job\n"
    )
    (batch_machine,) = read(with_func=True)
    assert "ended" in batch_machine.script({})
