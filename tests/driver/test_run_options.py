"""What the options of a run do: save, df, simulate, backup, git, skip_dups, capture_logs, ..."""

from __future__ import annotations

import json
import subprocess

import pandas as pd
import pytest
from helpers.funcs import double, fail_odd

import psweep_dask as ps


def test_save_false_leaves_nothing_on_disk_but_reads_what_is_there(where, study_folder):
    assert len(ps.run(double, ps.plist("a", [1]), cluster=where, save=False)) == 1
    assert list(study_folder.iterdir()) == []
    ps.run(double, ps.plist("a", [1]), cluster=where)
    before = (study_folder / "calc/database.pk").read_bytes()
    df = ps.run(double, ps.plist("a", [2]), cluster=where, save=False)
    assert df._pset_seq.tolist() == [0, 1]
    assert (study_folder / "calc/database.pk").read_bytes() == before


def test_df_takes_the_place_of_the_database(study_folder):
    first = ps.run(double, ps.plist("a", [1]), cluster="sync", save=False)
    both = ps.run(double, ps.plist("a", [2]), cluster="sync", save=False, df=first)
    assert both.a.tolist() == [1, 2]
    assert both._run_seq.tolist() == [0, 1]
    assert list(study_folder.iterdir()) == []
    saved = ps.run(double, ps.plist("a", [3]), cluster="sync", df=both)
    pd.testing.assert_frame_equal(ps.df_read("calc/database.pk"), saved)
    assert saved.a.tolist() == [1, 2, 3]


def test_df_that_lacks_rows_of_the_database_leaves_a_copy_of_it(study_folder):
    df = ps.run(double, ps.plist("a", [1, 2]), cluster="sync")
    df = ps.run(double, ps.plist("a", [3]), cluster="sync", df=df[df.a == 2])
    assert df.a.tolist() == [2, 3]
    (kept,) = (study_folder / "calc").glob("database.pk.replaced-*")
    assert ps.df_read(kept).a.tolist() == [1, 2]


def test_simulate_changes_nothing_of_the_real_study(study_folder, caplog):
    ps.run(double, ps.plist("a", [1]), cluster="sync")
    before = {path: path.read_bytes() for path in study_folder.rglob("*") if path.is_file()}
    caplog.set_level("INFO")

    def never(pset):
        (study_folder / "called").touch()

    df = ps.run_local(never, ps.plist("a", [2, 3]), simulate=True)
    after = {path: path.read_bytes() for path in study_folder.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert not (study_folder / "called").exists()
    assert df.a.tolist() == [1, 2, 3]
    assert df._status.tolist() == ["ok", "simulated", "simulated"]
    assert ": 2 simulated" in caplog.text
    assert df._calc_dir.tolist() == ["calc", "calc.simulate", "calc.simulate"]
    pd.testing.assert_frame_equal(ps.df_read("calc.simulate/database.pk"), df)
    ps.run_local(never, ps.plist("a", [9]), simulate=True)
    assert ps.df_read("calc.simulate/database.pk").a.tolist() == [1, 9]


def test_simulate_works_without_a_database(study_folder):
    assert len(ps.run(double, ps.plist("a", [2]), simulate=True)) == 1
    assert not (study_folder / "calc").exists()


def test_backup_copies_the_study_and_refuses_to_overwrite(study_folder):
    ps.run(double, ps.plist("a", [1]), cluster="sync", backup=True)
    assert [path.name for path in study_folder.iterdir()] == ["calc"]
    old = ps.df_read("calc/database.pk")
    (study_folder / "calc" / "data.bin").write_bytes(b"x")
    ps.run(double, ps.plist("a", [2]), cluster="sync", backup=True)
    stamp = old.index.max().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    copy = study_folder / f"calc.bak_{stamp}_run_id_{old._run_id.iloc[-1]}"
    pd.testing.assert_frame_equal(ps.df_read(copy / "database.pk"), old)
    assert (copy / "data.bin").read_bytes() == b"x"
    ps.df_write(old, "calc/database.pk")
    with pytest.raises(ps.PsweepError, match="calc.bak_.*has no new rows"):
        ps.run(double, ps.plist("a", [3]), cluster="sync", backup=True)
    pd.testing.assert_frame_equal(ps.df_read("calc/database.pk"), old)


def test_database_dir_and_basename_say_where_the_database_is(study_folder):
    for value in (1, 2):
        df = ps.run_local(
            double,
            ps.plist("a", [value]),
            database_dir="data",
            database_basename="db.pk",
            calc_dir="work",
        )
    assert df.a.tolist() == [1, 2]
    pd.testing.assert_frame_equal(ps.df_read("data/db.pk"), df)
    assert not (study_folder / "work" / "database.pk").exists()


def test_tmpsave_writes_each_row(where, study_folder):
    df = ps.run(double, ps.plist("a", [1, 2]), cluster=where, tmpsave=True)
    for seq, pset_id in enumerate(df._pset_id):
        row = ps.df_read(f"calc/tmpsave/{df._run_id.iloc[0]}/{pset_id}.pk")
        pd.testing.assert_frame_equal(row, df.iloc[[seq]])


@pytest.mark.parametrize(("verbose", "shown"), [(True, ["_pset_id", "y"]), (["y"], ["y"])])
def test_verbose_prints_rows(where, verbose, shown, capsys):
    ps.run(double, ps.plist("a", [17]), cluster=where, verbose=verbose, save=False)
    out = capsys.readouterr().out
    assert "34" in out
    assert all(name in out for name in shown)
    assert ("_pset_id" in out) == (verbose is True)


def test_skip_dups_runs_only_psets_without_a_result(caplog):
    caplog.set_level("INFO")
    ps.run(fail_odd, ps.plist("a", [0, 1, 2]), cluster="sync")
    df = ps.run(fail_odd, ps.plist("a", [0, 1, 2, 4]), cluster="sync", skip_dups=True)
    assert df.a.tolist() == [0, 1, 2, 1, 4]
    assert df._pset_seq.tolist() == [0, 1, 2, 3, 4]
    assert "2 of 4 psets left out" in caplog.text
    same = ps.run(fail_odd, ps.plist("a", [0, 2, 4]), cluster="sync", skip_dups=True)
    pd.testing.assert_frame_equal(same, df)


@pytest.mark.parametrize("how", ["db", "file", "db+file"])
def test_capture_logs_keeps_the_output_of_each_pset(where, how, study_folder):
    def func(pset):
        print("python", pset["a"])
        subprocess.run(f"echo child {pset['a']} >&2", shell=True, check=True)
        return {}

    df = ps.run(func, ps.plist("a", range(4)), cluster=where, capture_logs=how)
    texts = [f"python {number}\nchild {number}\n" for number in range(4)]
    if "db" in how:
        assert df._logs.tolist() == texts
    else:
        assert "_logs" not in df
    if "file" in how:
        logs = [study_folder / "calc" / pset_id / "logs.txt" for pset_id in df._pset_id]
        assert [path.read_text() for path in logs] == texts


def test_git_commits_before_and_after(study_folder, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.org")
    subprocess.run(["git", "init", "--quiet"], check=True)
    (study_folder / "run.py").write_text("params = 1")
    df = ps.run(double, ps.plist("a", [1]), cluster="sync", git=True)
    log = subprocess.run(["git", "log", "--format=%s"], capture_output=True, text=True, check=True)
    after, before = log.stdout.splitlines()
    assert after.endswith(f"run_id={df._run_id.iloc[0]}")
    assert before.endswith("local changes")
    status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout == b""


def test_git_changes_that_are_not_committed_are_kept_with_the_run(study_folder, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.org")
    script = study_folder / "run.py"
    script.write_text("params = 1\n")
    for arguments in (["init"], ["add", "."], ["commit", "--message", "first"]):
        subprocess.run(["git", *arguments], check=True, capture_output=True)
    script.write_text("params = 2\n")
    ps.run(double, ps.plist("a", [1]), cluster="sync")
    (run_dir,) = (study_folder / "calc" / "runs").iterdir()
    assert json.loads((run_dir / "run.json").read_text())["git"]["dirty"] is True
    assert "+params = 2" in (run_dir / "uncommitted.patch").read_text()


def test_parameter_that_does_not_enter_the_hash_is_one_warning(caplog):
    params = ps.plist("b_", [1, 2])
    df = ps.run(lambda pset: {}, params, cluster="sync")
    assert df.b_.tolist() == [1, 2]
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert lines == [
        "psets differ in 'b_', which does not enter the hash, since its name begins or ends with "
        "an underscore: skip_dups takes psets that differ in nothing else for equal; rename it if "
        "it is a parameter"
    ]
    assert len(ps.run(lambda pset: {}, ps.plist("b_", [3]), cluster="sync", skip_dups=True)) == 2
