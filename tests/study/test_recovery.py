"""Runs whose driver was killed; tests/integration has them with a real SLURM."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.driver_process import calls, start, wait_for_journal, wait_until
from helpers.fake_commands import command

import psweep_dask as ps
from psweep_dask.storage import database
from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout
from psweep_dask.storage.record import to_frame
from psweep_dask.study import recovery, runs
from psweep_dask.study.check import inspect_study
from psweep_dask.study.runs import StoredRun

RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"


def double(pset):
    return {"y": 2 * pset["a"]}


@pytest.fixture
def dead(study_folder):
    """A study whose driver was killed in the middle of 2000 psets."""
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    return Layout("calc")


def test_load_shows_each_record_of_a_dead_driver_at_once(dead, study_folder):
    done = calls(study_folder)
    df = ps.load("calc")
    assert len(df) >= 10
    assert len(done) - 40 <= len(df) <= len(done)  # a slice of half a second may be under way
    assert df._pset_seq.tolist() == sorted(df._pset_seq)
    assert (df.y == 2 * df.a).all()
    assert not dead.database_path.exists()  # it only looks


def test_recover_by_the_next_run_logs_one_line(dead, caplog):
    rows = ps.load("calc")
    run_id = rows._run_id.iloc[0]
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    told = [line for line in caplog.messages if "recovered" in line]
    assert told == [
        f"recovered {len(rows)} of 2000 psets of run {run_id}; ps.resume('calc') finishes it"
    ]
    assert set(rows._pset_id) < set(df._pset_id)
    assert df._pset_seq.iloc[-1] == 2000  # the others belong to the dead run
    assert not dead.run_folder(run_id).journal_path.exists()
    assert runs.read_info(dead, run_id)["ended"] == "died"
    caplog.clear()
    assert len(ps.run(double, ps.plist("a", [-1]), cluster="sync")) == len(df) + 1
    assert "recovered" not in caplog.text


def test_recover_does_not_bring_back_rows_that_the_user_has_deleted(dead):
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    ps.df_write(df[df._pset_seq > 3], "calc/database.pk")
    assert ps.load("calc")._pset_seq.min() == 4
    assert ps.run(double, ps.plist("a", [-1]), cluster="sync")._pset_seq.min() == 4


def test_lock_says_whether_a_driver_lives(study_folder, caplog):
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        (run,) = runs.stored_runs(Layout("calc"))
        assert run.is_alive()
        growing = len(ps.load("calc"))
        df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
        assert df._pset_seq.tolist() == [2000]
        assert "recovered" not in caplog.text
        wait_until(lambda: len(ps.load("calc")) > growing + 1)
        driver.kill()
    assert not run.is_alive()


def test_recover_after_a_kill_before_the_first_pset_removes_the_run(dead):
    (run,) = runs.stored_runs(dead)
    run.folder.journal_path.write_bytes(b"")
    dead.run_folder(run.run_id).plan_path.unlink()
    df = ps.run(double, ps.plist("a", [1]), cluster="sync")
    assert len(df) == 1
    assert [run.run_id for run in runs.stored_runs(dead)] == list(df._run_id)


def test_recover_after_a_kill_between_merge_and_end_of_journal_adds_no_row_twice(dead, caplog):
    rows = ps.load("calc")
    database.merge(dead.database_path, rows)
    assert len(ps.load("calc")) == len(rows)
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert len(df) == len(rows) + 1
    assert df._pset_id.is_unique


def test_recover_removes_a_database_that_was_not_written_to_its_end(dead):
    leftover = dead.database_dir / f".{dead.database_basename}.0123.tmp"
    leftover.write_bytes(b"half")
    ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert not leftover.exists()


def test_recover_leaves_a_journal_that_cannot_be_read_here(dead, caplog):
    (run,) = runs.stored_runs(dead)
    with run.folder.journal_path.open("ab") as stream:
        stream.write(to_frame(b"cno_such_module\nthing\n."))
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert df._pset_seq.tolist() == [2000]
    assert "no_such_module" in caplog.text
    assert run.folder.journal_path.exists()


def test_recover_after_the_study_was_moved(dead, study_folder):
    rows = ps.load("calc")
    dead.root.rename(study_folder / "elsewhere")
    assert ps.load("elsewhere")._pset_id.tolist() == rows._pset_id.tolist()
    assert len(ps.run(double, [{"a": 1}], cluster="sync", calc_dir="elsewhere")) == len(rows) + 1


def test_run_json_that_is_damaged_hides_no_other_run(dead, study_folder):
    broken = study_folder / "calc" / "runs" / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    assert len(ps.load("calc")) >= 10


def test_tmpsave_rows_that_never_reached_the_journal_are_merged(study_folder):
    with start(study_folder, nap=0.1, options="cluster='sync', tmpsave=True") as driver:
        wait_until(lambda: len(list(study_folder.glob("calc/tmpsave/*/*.pk"))) > 8)
        driver.kill()
    (run,) = runs.stored_runs(Layout("calc"))
    saved = {path.stem for path in study_folder.glob("calc/tmpsave/*/*.pk")}
    run.folder.journal_path.write_bytes(b"")
    assert set(ps.load("calc")._pset_id) == saved
    (study_folder / "calc/tmpsave" / run.run_id / "damaged.pk").write_bytes(b"x")
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert set(df._pset_id) > saved
    assert (
        json.loads(Layout("calc").run_folder(run.run_id).info_path.read_text())["ended"] == "died"
    )


def test_plan_that_is_gone_costs_no_record(dead, caplog):
    rows = ps.load("calc")
    (run,) = runs.stored_runs(dead)
    dead.run_folder(run.run_id).plan_path.unlink()
    with pytest.raises(ps.PsweepError, match=r"the plan of run .* is gone: .*plan.pk"):
        ps.resume("calc", cluster="sync")
    assert ps.df_read("calc/database.pk")._pset_id.tolist() == rows._pset_id.tolist()


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"\xff\xfe", b"[]", b"{}", None])
def test_run_json_that_is_damaged_is_replaced_by_the_plan(dead, content, caplog):
    rows = ps.load("calc")
    (path,) = dead.runs_dir.glob("*/run.json")
    path.unlink() if content is None else path.write_bytes(content)
    assert ps.load("calc")._pset_id.tolist() == rows._pset_id.tolist()
    assert "its plan is read instead" in caplog.text
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert len(df) == len(rows) + 1
    assert df._pset_seq.iloc[-1] == 2000


def test_run_json_and_plan_gone_cost_no_row_and_no_number(dead, caplog):
    before = ps.load("calc")
    (run,) = runs.stored_runs(dead)
    dead.run_folder(run.run_id).info_path.unlink()
    dead.run_folder(run.run_id).plan_path.unlink()
    assert ps.load("calc").equals(before)
    assert "cannot be read: what is known of the run are its rows" in caplog.text
    (finding,) = [found for found in inspect_study(dead) if "without run.json" in found.what]
    assert finding.names == (run.run_id,)
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert df._pset_id.tolist()[:-1] == before._pset_id.tolist()
    assert (df._run_seq.iloc[-1], df._pset_seq.iloc[-1]) == (1, before._pset_seq.max() + 1)


def test_database_that_is_gone_is_an_error_of_who_would_begin_a_new_one(study_folder, caplog):
    ps.run(double, ps.plist("a", [1, 2]), cluster="sync")
    Path("calc/database.pk").rename("elsewhere")
    for begin in (
        lambda: ps.run(double, [{"a": 3}], cluster="sync"),
        lambda: ps.df_update("calc", {"study": 1}),
        lambda: ps.merge_studies("calc", "other"),
    ):
        ps.run(double, [{"a": 9}], cluster="sync", calc_dir="other")
        with pytest.raises(recovery.MissingDatabaseError, match="psweep-dask rebuild calc"):
            begin()
    assert not Path("calc/database.pk").exists()
    assert ps.load("calc").empty
    assert "is gone, but there are 1 run with rows that were in it" in caplog.text
    Path("elsewhere").rename("calc/database.pk")
    assert ps.run(double, [{"a": 3}], cluster="sync").a.tolist() == [1, 2, 3]


def test_database_that_is_gone_can_be_begun_anew_by_an_empty_df(study_folder):
    ps.run(double, ps.plist("a", [1, 2]), cluster="sync")
    Path("calc/database.pk").unlink()
    df = ps.run(double, [{"a": 3}], cluster="sync", df=pd.DataFrame())
    assert (df.a.tolist(), df._pset_seq.tolist()) == ([3], [2])
    assert ps.run(double, [{"a": 4}], cluster="sync").a.tolist() == [3, 4]


def test_database_that_goes_while_a_run_goes_on_costs_no_row(study_folder):
    ps.run(double, ps.plist("a", [1, 2]), cluster="sync")

    def func(pset):
        Path("calc/database.pk").rename("elsewhere")
        return {}

    with pytest.raises(ps.PsweepError, match="1 finished rows of this run are kept in"):
        ps.run(func, [{"a": 3}], cluster="sync")
    assert not Path("calc/database.pk").exists()
    Path("elsewhere").rename("calc/database.pk")
    assert ps.load("calc").a.tolist() == [1, 2, 3]


def test_two_databases_of_a_study_share_no_number(study_folder):
    ps.run(double, ps.plist("a", [1, 2]), cluster="sync")
    df = ps.run(double, ps.plist("a", [1, 2]), cluster="sync", database_basename="second.pk")
    assert (df._run_seq.tolist(), df._pset_seq.tolist()) == ([1, 1], [2, 3])
    ps.run(double, [{"a": 1}], cluster="sync", calc_dir="other")
    ps.merge_studies("calc", "other")
    shutil.rmtree("calc/runs")  # its rows belong to no run that is known here
    df = ps.run(double, [{"a": 3}], cluster="sync", database_basename="second.pk")
    assert (df._run_seq.tolist()[-1], df._pset_seq.tolist()[-1]) == (3, 5)
    df = ps.run(double, [{"a": 3}], cluster="sync")
    assert (df._run_seq.tolist()[-1], df._pset_seq.tolist()[-1]) == (4, 6)


def test_two_databases_of_a_study_share_no_number_also_at_the_same_time(study_folder):
    script = """
import sys, psweep_dask as ps
for _ in range(5):
    ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync", database_basename=sys.argv[1])
"""
    Path("script.py").write_text(script)
    names = ["database.pk", "second.pk", "third.pk"]
    drivers = [subprocess.Popen([sys.executable, "script.py", name]) for name in names]
    assert [driver.wait() for driver in drivers] == [0, 0, 0]
    df = pd.concat(ps.load("calc", database_basename=name) for name in names)
    assert sorted(df._pset_seq) == list(range(30))
    assert df._run_seq.nunique() == df._run_id.nunique() == 15


def test_journal_that_is_damaged_is_reported_by_load_and_kept_by_the_next_run(dead, caplog):
    (run,) = runs.stored_runs(dead)
    content = bytearray(run.folder.journal_path.read_bytes())
    content[-3] ^= 1
    run.folder.journal_path.write_bytes(content)
    assert len(ps.load("calc")) > 0
    assert f"bytes of the journal of run {run.run_id} are damaged" in caplog.text
    ps.run(double, ps.plist("a", [-1]), cluster="sync")
    (kept,) = run.folder.journal_path.parent.glob("journal.damaged-*")
    assert kept.read_bytes() == content


def test_tmpsave_writes_to_the_study_also_if_func_changes_the_directory(study_folder):
    def func(pset):
        import os

        os.chdir("/")
        return {}

    df = ps.run(func, ps.plist("a", range(3)), tmpsave=True)
    saved = {path.stem for path in study_folder.glob("calc/tmpsave/*/*.pk")}
    assert saved == set(df._pset_id)


@pytest.fixture
def run():
    """A dead run that has nothing but a folder."""
    run = StoredRun(Layout("calc"), {"run_id": RUN_ID})
    run.folder.path.mkdir(parents=True)
    return run


@pytest.mark.usefixtures("only_bin_dir")
def test_clean_up_of_a_run_that_has_left_nothing_logs_nothing(run, caplog):
    recovery.clean_up_run(run)
    assert caplog.messages == []


@pytest.mark.usefixtures("only_bin_dir")
def test_clean_up_removes_credentials_and_nothing_else(run):
    run_dir = run.folder.path
    private = run_dir / f"{PRIVATE_PREFIX}x1y2"
    private.mkdir(mode=0o700)
    (private / "key.pem").write_text("secret")
    (run_dir / "logs").mkdir()
    (run_dir / "plan.pk").touch()
    recovery.clean_up_run(run)
    assert sorted(path.name for path in run_dir.iterdir()) == ["logs", "plan.pk"]


@pytest.mark.usefixtures("only_bin_dir")
def test_clean_up_without_slurm_warns_and_keeps_the_list_of_jobs(run, caplog):
    run.folder.jobs_path.write_text("17 psweep-bb32aade\n")
    recovery.clean_up_run(run)
    assert caplog.messages == [
        f"run {RUN_ID} has left jobs that cannot be cancelled from here, see {run.folder.jobs_path}"
    ]
    assert run.folder.jobs_path.read_text() == "17 psweep-bb32aade\n"


def test_clean_up_keeps_the_list_of_jobs_if_scancel_fails(run, only_bin_dir, caplog):
    command(only_bin_dir, "squeue", "exit 0")
    command(only_bin_dir, "scancel", "echo 'Unable to contact slurm controller' >&2; exit 1")
    run.folder.jobs_path.write_text("17 psweep-bb32aade\n18 psweep-bb32aade\n")
    recovery.clean_up_run(run)
    assert caplog.messages == [
        f"the jobs psweep-bb32aade that run {RUN_ID} has left stay: "
        "Unable to contact slurm controller"
    ]
    assert run.folder.jobs_path.exists()


def test_clean_up_ignores_a_line_that_was_not_written_to_its_end(run, only_bin_dir):
    command(only_bin_dir, "squeue", "exit 0")
    command(only_bin_dir, "scancel", 'echo "$@" >> cancelled')
    run.folder.jobs_path.write_text("17 psweep-bb32aade\n18")
    recovery.clean_up_run(run)
    (line,) = Path("cancelled").read_text().splitlines()
    assert line.split()[-1] == "--name=psweep-bb32aade"
    assert not run.folder.jobs_path.exists()
