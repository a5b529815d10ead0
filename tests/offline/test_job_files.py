from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from helpers.offline_study import machine, write

from psweep_dask.hpc.jobscript import JobscriptError
from psweep_dask.hpc.machine import read_machine
from psweep_dask.hpc.machine_schema import MachineError
from psweep_dask.offline.job_files import own_jobscript, read_job_files, values_for
from psweep_dask.offline.templates import TemplateError
from psweep_dask.storage.layout import PsetFolder
from psweep_dask.worker.work import Work

CALC, MACHINES = Path("templates/calc"), Path("templates/machines")
WORK = Work("bb32aade-6ac9-4ac2-9019-3093c5f00965", 3, "calc", b"")
INFO = "templates/machines/c/info.yaml"
SCRIPT = "templates/machines/c/jobscript"


def read(with_func=False, mode="dollar", calc=CALC):
    return read_job_files(calc, MACHINES, mode, with_func)


def test_each_pset_gets_templates_and_a_job_script_for_each_machine():
    write({"templates/calc/sub/in.txt": "$a $_pset_seq", **machine("one"), **machine("two")})
    values, stamp = values_for(WORK, {"a": 1}, 7, "sha1")
    scripts = read().write(PsetFolder(Path("out")), values)
    names = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*"))
    assert names == ["jobscript_one", "jobscript_two", "sub", "sub/in.txt"]
    assert Path("out/sub/in.txt").read_text() == "1 7"
    assert Path("out/jobscript_one").read_text() == scripts["one"]
    assert Path("out/jobscript_one").stat().st_mode & 0o100
    assert values["_time_utc"] == pd.Timestamp(stamp)


def test_all_reserved_fields_that_are_known_can_be_filled_in():
    fields = ("run_id", "pset_id", "calc_dir", "time_utc", "pset_sha1", "pset_seq", "run_seq")
    write({"templates/calc/x": " ".join(f"${{_{name}}}" for name in fields), **machine()})
    files = read()
    files.check(WORK, [{"a": 1}], array=False)
    values, _ = values_for(WORK, {}, 7, "abc")
    files.write(PsetFolder(Path("out")), values)
    words = Path("out/x").read_text().split()
    assert words[:3] == [WORK.run_id, values["_pset_id"], "calc"]
    assert words[-3:] == ["abc", "7", "3"]


def test_with_func_there_is_the_pset_too_and_no_template_is_needed():
    write(machine(jobscript="#!/bin/sh\npython3 -m psweep_dask.offline.job\n"))
    values, _ = values_for(WORK, {"a": 1}, 7, "sha1")
    read(with_func=True, calc=None).write(PsetFolder(Path("out")), values)
    assert pd.read_pickle("out/pset.pk") == values


def test_a_job_script_that_calls_no_func_is_told(caplog):
    write(machine())
    read(with_func=True, calc=None)
    assert "one line of it must be 'python -m psweep_dask.offline.job'" in caplog.text


def test_a_machine_for_live_runs_only_is_left_out():
    write({"templates/calc/x": "", **machine("one"), INFO: "cluster: slurm"})
    write({"templates/machines/README": "", "templates/machines/empty/other": ""})
    assert [one.name for one in read().machines] == ["one"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no folder 'templates/machines', seen from .*create it with a folder for"),
        ({"templates/machines/x": ""}, "no machine in 'templates/machines' can take jobs"),
        ({INFO: "cluster: slurm"}, "no machine in 'templates/machines' can take jobs"),
        ({INFO: "host: x", SCRIPT: ""}, "c/info.yaml: there is a job script, but no subcmd; add"),
        ({INFO: "subcmd: sh"}, "templates/machines/c/jobscript is missing"),
        ({SCRIPT: ""}, "c/info.yaml is missing; create it"),
        ({INFO: "subcmd: [x", SCRIPT: ""}, "c/info.yaml, line 1: not YAML"),
        ({INFO: "submit: x", SCRIPT: ""}, "c/info.yaml: unknown key 'submit'; allowed are"),
        ({INFO: "subcmd: sh", SCRIPT: b"\0"}, "c/jobscript is no text"),
        ({INFO: "subcmd: sbatch -p x", SCRIPT: "run"}, "c/jobscript: sbatch takes only scripts"),
        (
            {INFO: "subcmd: sh", SCRIPT: "#!/bin/sh\r\n"},
            "c/jobscript: its lines end as th",
        ),
        ({INFO: 'subcmd: "sh -c \'x"', SCRIPT: ""}, "c/info.yaml: subcmd=.*one command"),
        ({INFO: "subcmd: |\n  a\n  b", SCRIPT: ""}, "c/info.yaml: subcmd=.*one command of a shell"),
        ({f"templates/machines/{'x' * 201}/info.yaml": "subcmd: sh"}, "at most 200 bytes"),
    ],
)
def test_machines_that_are_missing_or_wrong(files, message):
    write({"templates/calc/x": "", **files})
    with pytest.raises(MachineError, match=message):
        read()


def test_a_name_that_breaks_the_line_is_refused():
    write({"templates/calc/x": "", **machine("a\nb")})
    with pytest.raises(MachineError, match="rename the folder: at most 200 bytes, no line break"):
        read()


def test_no_template_at_all_is_told():
    write({"templates/calc/__pycache__/x": "", **machine()})
    with pytest.raises(TemplateError, match="there is no file in 'templates/calc'"):
        read()


@pytest.mark.parametrize(
    "name", ["record.pk", "pset.pk", "result.json", "ended", "jobscript_local", "submitted_local"]
)
def test_templates_cannot_take_names_of_ours(name):
    write({f"templates/calc/{name}": "", **machine()})
    with pytest.raises(TemplateError, match=f"templates/calc/{name}: in the folder of a pset"):
        read()


def test_what_an_array_cannot_have_is_found_before_anything_is_written():
    script = "#!/bin/sh\n#SBATCH --chdir=$a\n"
    write({"templates/calc/x": "", **machine("c", "sbatch", script)})
    read().check(WORK, [{"a": "/tmp"}], array=False)
    with pytest.raises(JobscriptError, match="c/jobscript: '#SBATCH --chdir=/tmp' does not go"):
        read().check(WORK, [{"a": "/tmp"}], array=True)


def test_read_only_templates_can_be_written_again(tmp_path):
    write({"templates/calc/x": "$a", **machine()})
    Path("templates/calc/x").chmod(0o444)
    for a in (1, 2):
        values, _ = values_for(WORK, {"a": a}, 7, "sha1")
        read().write(PsetFolder(Path("out")), values)
    assert Path("out/x").read_text() == "2"
    assert Path("out/x").stat().st_mode & 0o777 == 0o444


def test_a_subcmd_is_taken_without_what_yaml_puts_behind_it():
    write({"templates/calc/x": "", INFO: "subcmd: |\n  sbatch -p x\n", SCRIPT: "#!/bin/sh\n"})
    (only,) = read().machines
    assert (only.subcmd, only.is_slurm) == ("sbatch -p x", True)


def test_a_placeholder_in_a_job_script_is_checked_as_well():
    write({"templates/calc/x": "", **machine(jobscript="#!/bin/sh\necho $HOME\n")})
    with pytest.raises(TemplateError, match="local/jobscript, line 2: the placeholder .HOME has"):
        read().check(WORK, [{"a": 1}], array=False)


def test_without_a_job_script_one_is_made_of_what_live_runs_have():
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
    (only,) = read(with_func=True, calc=None).machines
    assert "ended" in only.script({})
