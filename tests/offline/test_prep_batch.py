from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.offline_study import (
    HOSTILE,
    folders,
    machine,
    submit,
    write,
    write_func_machine,
    write_study,
)

import psweep_dask as ps

PSWEEP_COLUMNS = ["_run_id", "_pset_id", "_calc_dir", "_time_utc", "_pset_sha1", "_pset_seq"]


def files():
    """All that is in the working directory, templates and locks aside."""
    paths = (path.as_posix() for path in Path().rglob("*") if path.is_file())
    return sorted(name for name in paths if not name.startswith("templates/"))


def test_prep_batch_writes_a_row_and_a_folder_for_each_pset():
    write_study()
    df = ps.prep_batch(ps.plist("a", [1, 2]))
    assert list(df.columns[:7]) == ["a", *PSWEEP_COLUMNS]
    assert df._status.tolist() == ["prepared"] * 2
    assert df._pset_runtime.isna().all()
    assert (df.index == df._time_utc).all()
    for a, folder in zip(df.a, folders(df), strict=True):
        assert (folder / "run.sh").read_text() == f"#!/bin/sh\necho {a} >out.txt\n"
        assert (folder / "run.sh").stat().st_mode & 0o777 == 0o755
    pd.testing.assert_frame_equal(df, ps.df_read("calc/database.pk"))


def test_prep_batch_and_collect_of_a_study_that_grows():
    write_study()
    df = ps.prep_batch(ps.plist("a", [1, 2]))
    first = set(Path("calc").iterdir())
    submit()
    assert ps.collect()._status.tolist() == ["ok", "ok"]
    df = ps.prep_batch(ps.plist("a", [3]), backup=True)
    assert df._status.tolist() == ["ok", "ok", "prepared"]
    assert df._pset_seq.tolist() == [0, 1, 2]
    assert df._run_seq.tolist() == [0, 0, 1]
    assert len(set(Path("calc").iterdir()) - first) == 1
    assert len(list(Path().glob("calc.bak_*"))) == 1
    lines = Path("calc/run_local.sh").read_text().splitlines()
    assert [line for line in lines if "run_seq=" in line] == [
        f"# submit {df._pset_id.iloc[0]}  # run_seq=0 pset_seq=0",
        f"# submit {df._pset_id.iloc[1]}  # run_seq=0 pset_seq=1",
        f"submit {df._pset_id.iloc[2]}  # run_seq=1 pset_seq=2",
    ]
    submit()
    df = ps.collect()
    assert df._status.tolist() == ["ok"] * 3
    assert [(folder / "out.txt").read_text() for folder in folders(df)] == ["1\n", "2\n", "3\n"]


def test_job_script_alone_is_enough():
    write(machine(jobscript="#!/bin/sh\necho $a >out.txt\n"))
    Path("templates/calc").mkdir()
    df = ps.prep_batch(ps.plist("a", [1, 2]))
    submit()
    assert [(folder / "out.txt").read_text() for folder in folders(df)] == ["1\n", "2\n"]
    assert ps.collect()._status.tolist() == ["ok", "ok"]


def test_templates_alone_are_filled_and_no_script_submits_them(caplog):
    caplog.set_level("INFO", "psweep_dask")
    write({"templates/calc/run.sh": "echo $a"})
    Path("templates/machines").mkdir()
    df = ps.prep_batch(ps.plist("a", [1, 2]))
    assert [(folder / "run.sh").read_text() for folder in folders(df)] == ["echo 1", "echo 2"]
    assert not list(Path("calc").glob("run_*"))
    assert "there is no machine, so no script that submits the jobs" in caplog.text
    assert ps.collect()._status.tolist() == ["prepared", "prepared"]


def test_neither_templates_nor_a_machine_is_an_error_and_nothing_is_written():
    Path("templates/calc").mkdir(parents=True)
    Path("templates/machines").mkdir()
    with pytest.raises(ps.PsweepError, match="no file in 'templates/calc', and no machine in"):
        ps.prep_batch(ps.plist("a", [1]))
    assert files() == []


def test_info_may_have_further_keys_as_in_psweep(caplog):
    write_study(scratch="/scratch/me")
    ps.prep_batch(ps.plist("a", [1]))
    submit()
    assert ps.collect()._status.tolist() == ["ok"]
    assert caplog.text.count("info.yaml: unknown key 'scratch'") == 1


def test_write_pset_of_psweep_is_an_error_that_says_what_to_write():
    with pytest.raises(TypeError, match=r"'write_pset'; with func=, each folder has a pset\.pk"):
        ps.prep_batch([], write_pset=True)


def test_machines_of_one_study_do_not_run_a_pset_twice():
    write_study()
    write(machine("other", jobscript="#!/bin/bash\necho other >out.txt\n"))
    (folder,) = folders(ps.prep_batch(ps.plist("a", [1])))
    submit("other")
    assert (folder / "out.txt").read_text() == "other\n"
    assert "1 jobs were submitted to another machine before, and were left out" in submit("local")
    assert (folder / "out.txt").read_text() == "other\n", "no result is overwritten"


def test_quoting_of_hostile_names_in_every_file():
    name = HOSTILE
    write({f"templates/calc/{name}/{name}": "{{ value }}", **machine(name, jobscript=None)})
    script = "#!/bin/sh\nprintf '%s' {{ value | quote }} >out.txt\n"
    write({f"templates/machines/{name}/jobscript": script})
    params = [{"value": name, name: 1}]
    calc_dir = f"calc {name}"
    df = ps.prep_batch(params, calc_dir, template_mode="jinja")
    run = ["sh", f"{calc_dir}/run_{name}.sh"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    folder = Path(calc_dir, df._pset_id.iloc[0])
    assert (folder / "out.txt").read_text() == name
    assert (folder / name / name).read_text() == name
    assert ps.collect(calc_dir)[name].tolist() == [1]
    assert ps.collect(calc_dir)._status.tolist() == ["ok"]


@pytest.mark.parametrize(
    ("study", "options", "message"),
    [
        ({"templates/calc/x": "$b"}, {}, r"templates/calc/x, line 1: the placeholder \$b has no"),
        ({}, {"calc_templ_dir": "nowhere"}, "there is no folder 'nowhere'"),
        ({}, {"machine_templ_dir": "nowhere"}, "there is no folder 'nowhere'"),
        ({}, {"template_mode": "perl"}, "template_mode='perl'; allowed are 'dollar', 'jinja'"),
        ({}, {"array": 1}, "array=1; allowed are True, False"),
        ({}, {"array": True}, r"no machine has 'subcmd: sbatch' \(local: sh\); leave"),
        ({}, {"timeout": 3}, "timeout=3 is for func="),
        ({}, {"capture_logs": "db"}, "capture_logs='db' is for func="),
        ({}, {"func": 3}, "func must be callable"),
        ({}, {"params": [{"_run_id": 1}]}, "reserved"),
        ({}, {"machine_templ_dir": None}, "machine_templ_dir=None; allowed is a path"),
        ({}, {"calc_templ_dir": 3}, "calc_templ_dir=3; allowed is a path"),
        ({}, {"params": [{"a": "\ud800"}]}, "a value cannot be written as text"),
        ({"templates/machines/c/info.yaml": "subcmd: 1"}, {}, "subcmd=1; allowed is text"),
        ({"templates/machines/c/jobscript": "x"}, {}, "c/info.yaml is missing"),
    ],
)
def test_input_that_is_wrong_is_an_error_and_nothing_is_written(study, options, message):
    write_study()
    write(study)
    with pytest.raises(ps.PsweepError, match=message):
        ps.prep_batch(**{"params": ps.plist("a", [1, 2]), **options})
    assert files() == []


def test_placeholder_that_only_some_psets_fill_is_an_error_and_nothing_is_written():
    write_study(run_sh="$b")
    with pytest.raises(ps.PsweepError, match=r"the placeholder \$b has no value; this pset has a,"):
        ps.prep_batch([{"b": 1}, {"a": 1}])
    assert files() == []


def test_simulate_writes_beside_the_study():
    write_study()
    ps.prep_batch(ps.plist("a", [1]))
    before = files()
    df = ps.prep_batch(ps.plist("a", [2, 3]), simulate=True)
    assert df._status.tolist() == ["prepared", "simulated", "simulated"]
    assert [name for name in files() if not name.startswith("calc.simulate/")] == before
    folder = Path("calc.simulate", df._pset_id.iloc[1])
    assert (folder / "run.sh").read_text() == "#!/bin/sh\necho 2 >out.txt\n"
    assert Path("calc.simulate/run_local.sh").exists()
    assert ps.load()._status.tolist() == ["prepared"]


def test_git_makes_a_repository_and_commits_before_and_after(monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.org")
    write_study()
    df = ps.prep_batch(ps.plist("a", [1]), git=True)
    ps.prep_batch(ps.plist("a", [2]), git=True)
    log = subprocess.run(["git", "log", "--format=%s"], capture_output=True, text=True, check=True)
    subjects = log.stdout.splitlines()
    assert len(subjects) == 3
    assert subjects[1].endswith(f"run_id={df._run_id.iloc[0]}")
    assert subjects[2].endswith("local changes")


def test_skip_dups_leaves_out_what_is_prepared_and_what_is_done():
    write_study()
    ps.prep_batch(ps.plist("a", [1]))
    assert len(ps.prep_batch(ps.plist("a", [1, 2]), skip_dups=True)) == 2
    assert len(ps.prep_batch(ps.plist("a", [1, 2]), skip_dups=True)) == 2


def test_parameter_that_does_not_enter_the_hash_is_a_warning(caplog):
    write_study()
    ps.prep_batch([{"a": 1, "b_": 1}, {"a": 1, "b_": 2}])
    assert "psets differ in 'b_', which does not enter the hash" in caplog.text


def test_func_failures_are_those_of_live_runs():
    def func(pset):
        if pset["a"] == 2:
            os._exit(3)
        return {"y": 1 / pset["a"]}

    write_func_machine()
    params = ps.plist("a", [1, 0, 2])
    ps.prep_batch(params, func=func)
    submit()
    offline = ps.collect()
    Path("live").mkdir()
    os.chdir("live")
    live = ps.run(func, params[:2], cluster="sync")
    assert offline._status.tolist() == ["ok", "error", "killed"]
    assert "ended with exit status 3" in offline._exc_txt.iloc[2]
    assert set(offline.columns) == set(live.columns)
    assert offline.dtypes[live.columns].astype(str).tolist() == live.dtypes.astype(str).tolist()
    same = ["a", "y", "_status", "_pset_sha1", "_attempt", "_exec_host", "_calc_dir"]
    pd.testing.assert_frame_equal(
        offline.iloc[:2][same].reset_index(drop=True), live[same].reset_index(drop=True)
    )
    assert offline._exc_txt.iloc[1].splitlines()[-1] == live._exc_txt.iloc[1].splitlines()[-1]


def test_func_is_stored_once_and_psets_are_plain_dicts():
    write(machine())
    df = ps.prep_batch(ps.plist("a", [1, 2]), func=lambda pset: {})
    (run_dir,) = Path("calc/runs").iterdir()
    assert (run_dir / "work.pk").stat().st_size < 10_000
    pset = pickle.loads((folders(df)[1] / "pset.pk").read_bytes())
    assert (pset["a"], pset["_pset_seq"], pset["_pset_id"]) == (2, 1, df._pset_id.iloc[1])


def test_resume_runs_live_what_jobs_did_not(caplog):
    caplog.set_level("INFO", "psweep_dask")
    write_func_machine()
    df = ps.prep_batch(ps.plist("a", [1, 2, 3]), func=lambda pset: {"y": 10 * pset["a"]})
    subprocess.run(["sh", "jobscript_local"], cwd=folders(df)[1], check=True)
    done = ps.resume(cluster="sync")
    assert done._status.tolist() == ["ok"] * 3
    assert done._pset_id.tolist() == df._pset_id.tolist()
    assert done.y.tolist() == [10, 20, 30]
    assert "1 of 3 psets are done, 2 to run" in caplog.text
    submit()  # what was not stopped runs after all, and changes nothing
    pd.testing.assert_frame_equal(ps.collect(), done)
    assert ps.resume(cluster="sync")._status.tolist() == ["ok"] * 3


def test_resume_of_templates_needs_func():
    write_study()
    ps.prep_batch(ps.plist("a", [1]))
    with pytest.raises(ps.PsweepError, match="since it was prepared from templates.*: pass one"):
        ps.resume(cluster="sync")
    df = ps.resume(func=lambda pset: {"y": 7}, cluster="sync")
    assert (df.y.tolist(), df._status.tolist()) == ([7], ["ok"])


def test_job_script_that_does_not_call_func_is_a_warning_though_another_does(caplog):
    write(machine("good", jobscript=f"#!/bin/sh\n{sys.executable} -m psweep_dask.offline.job\n"))
    write(machine("bad", jobscript="#!/bin/sh\necho hi\n"))
    ps.prep_batch(ps.plist("a", [1]), func=lambda pset: {})
    assert "machines/bad/jobscript does not call func" in caplog.text
    assert "good" not in caplog.text
