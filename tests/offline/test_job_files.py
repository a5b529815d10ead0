from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest
from helpers.offline_study import machine, write

from psweep_dask.hpc.jobscript import JobscriptError
from psweep_dask.offline.job_files import TemplateOptions, fill_values
from psweep_dask.offline.templates import TemplateError
from psweep_dask.options import OptionError
from psweep_dask.storage.layout import Layout, PsetFolder
from psweep_dask.study.runs import StoredRun
from psweep_dask.worker.work import Work

WORK = Work("bb32aade-6ac9-4ac2-9019-3093c5f00965", 3, "calc", b"")


def options(**changes):
    defaults = {
        "calc_templ_dir": None,
        "machine_templ_dir": Path("templates/machines"),
        "template_mode": None,
        "array": False,
    }
    return TemplateOptions(**(defaults | changes))


def read(with_func=False, **changes):
    return options(**changes).read(with_func)


def test_job_files_are_templates_and_a_job_script_for_each_machine():
    write({"templates/calc/sub/in.txt": "$a $_pset_seq", **machine("one"), **machine("two")})
    values = fill_values(WORK, {"a": 1}, 7, "sha1")
    scripts = read().write(PsetFolder(Path("out")), values)
    names = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*"))
    assert names == ["jobscript_one", "jobscript_two", "sub", "sub/in.txt"]
    assert Path("out/sub/in.txt").read_text() == "1 7"
    assert Path("out/jobscript_one").read_text() == scripts["one"]
    assert Path("out/jobscript_one").stat().st_mode & 0o100
    assert isinstance(values["_time_utc"], pd.Timestamp)
    assert abs(values["_time_utc"].value - time.time_ns()) < 60 * 10**9


def test_job_files_may_have_all_reserved_fields_that_are_known():
    fields = ("run_id", "pset_id", "calc_dir", "time_utc", "pset_sha1", "pset_seq", "run_seq")
    write({"templates/calc/x": " ".join(f"${{_{name}}}" for name in fields), **machine()})
    templates = read()
    templates.check(WORK, [{"a": 1}])
    values = fill_values(WORK, {}, 7, "abc")
    templates.write(PsetFolder(Path("out")), values)
    words = Path("out/x").read_text().split()
    assert words[:3] == [WORK.run_id, values["_pset_id"], "calc"]
    assert words[-3:] == ["abc", "7", "3"]


def test_job_files_with_func_have_the_pset_and_need_no_template():
    write(machine(jobscript="#!/bin/sh\npython3 -m psweep_dask.offline.job\n"))
    values = fill_values(WORK, {"a": 1}, 7, "sha1")
    read(with_func=True).write(PsetFolder(Path("out")), values)
    assert pd.read_pickle("out/pset.pk") == values


def test_job_script_that_does_not_call_func_is_a_warning(caplog):
    write(machine())
    read(with_func=True)
    assert "one line of it must be 'python -m psweep_dask.offline.job'" in caplog.text


@pytest.mark.parametrize("module", ["psweep_dask.offline.job", "psweep_dask.task"])
def test_template_may_call_func_for_all_job_scripts(module, caplog):
    write(
        {"templates/calc/run.sh": f"python -m {module}\n", **machine("local"), **machine("other")}
    )
    read(with_func=True)
    assert caplog.text == ""


def test_templates_that_are_missing_are_an_error():
    write({"templates/calc/__pycache__/x": "", "templates/machines/README": ""})
    with pytest.raises(TemplateError, match="there is no file in 'templates/calc'"):
        read()
    write(machine())
    assert read().files == []


@pytest.mark.parametrize(
    "name",
    [
        *("record.pk", "pset.pk", "result.json", "ended", "jobscript_local", "submitted_local"),
        "record.pk/x",
    ],
)
def test_templates_cannot_have_reserved_names(name):
    write({f"templates/calc/{name}": "", **machine()})
    with pytest.raises(TemplateError, match=f"templates/calc/{name}: in the folder of a pset"):
        read()


def test_templates_in_subfolders_may_have_reserved_names():
    write({"templates/calc/sub/pset.pk": "", **machine()})
    assert [template.target for template in read().files] == ["sub/pset.pk"]


def test_check_finds_what_an_array_cannot_have():
    script = "#!/bin/sh\n#SBATCH --chdir=$a\n"
    write({"templates/calc/x": "", **machine("c", "sbatch", script)})
    read().check(WORK, [{"a": "/tmp"}])
    with pytest.raises(JobscriptError, match="c/jobscript: '#SBATCH --chdir=/tmp' does not go"):
        read(array=True).check(WORK, [{"a": "/tmp"}])


def test_templates_that_are_read_only_can_be_written_again(tmp_path):
    write({"templates/calc/x": "$a", **machine()})
    Path("templates/calc/x").chmod(0o444)
    for a in (1, 2):
        values = fill_values(WORK, {"a": a}, 7, "sha1")
        read().write(PsetFolder(Path("out")), values)
    assert Path("out/x").read_text() == "2"
    assert Path("out/x").stat().st_mode & 0o777 == 0o444


def test_check_finds_a_placeholder_without_a_value_in_a_job_script():
    write({"templates/calc/x": "", **machine(jobscript="#!/bin/sh\necho $HOME\n")})
    with pytest.raises(TemplateError, match="local/jobscript, line 2: the placeholder .HOME has"):
        read().check(WORK, [{"a": 1}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template_mode": "perl"}, "template_mode='perl'; allowed are 'dollar', 'jinja'"),
        ({"array": 1}, "array=1; allowed are True, False"),
        ({"calc_templ_dir": 3}, "calc_templ_dir=3; allowed is a path"),
        ({"machine_templ_dir": None}, "machine_templ_dir=None; allowed is a path"),
    ],
)
def test_template_options_that_are_not_allowed(changes, message):
    with pytest.raises(OptionError, match=message):
        options(**changes)


def test_template_options_read_the_default_folder_but_need_none_with_func():
    write(machine(jobscript="#!/bin/sh\npython3 -m psweep_dask.offline.job\n"))
    with pytest.raises(TemplateError, match="there is no folder 'templates/calc'"):
        options().read(with_func=False)
    assert options().read(with_func=True).files == []
    with pytest.raises(TemplateError, match="there is no folder 'elsewhere'"):
        options(calc_templ_dir="elsewhere").read(with_func=True)
    write({"templates/calc/x": "$a"})
    assert [template.target for template in options().read(with_func=True).files] == ["x"]


def test_template_options_array_needs_slurm():
    write({"templates/calc/x": "", **machine("local")})
    with pytest.raises(OptionError, match=r"no machine has 'subcmd: sbatch' \(local: sh\); leave"):
        options(array=True).read(with_func=False)
    write(machine("cluster", "sbatch"))
    templates = options(array=True).read(with_func=False)
    assert set(templates.run_scripts()) == {"cluster", "local"}


def test_template_options_take_the_language_of_the_run():
    run = StoredRun(Layout("calc"), {"offline": {"template_mode": "jinja"}})
    assert options().for_run(run).template_mode == "jinja"
    assert options(template_mode="dollar").for_run(run).template_mode == "dollar"
    assert options().for_run(StoredRun(Layout("calc"), {})).template_mode is None
