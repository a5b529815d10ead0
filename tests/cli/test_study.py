"""The commands export, plot and check, as they are installed, while runs go on and afterwards."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.driver_process import start, wait_for_journal

import psweep_dask as ps

COMMAND = str(Path(sys.executable).with_name("psweep-dask"))


def command(*words, code=0, answers=""):
    done = subprocess.run(
        [COMMAND, *words], capture_output=True, text=True, check=False, input=answers
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code in (0, 1) and done.stdout else done.stderr


def func(pset):
    Path("calc", pset["_pset_id"]).mkdir(exist_ok=True)
    return {"y": pset["a"] / 3}


@pytest.fixture
def df(study_folder):
    params = ps.pgrid(ps.plist("a", [1, 2, 3]), ps.plist("b", ["x", "z"]))
    return ps.run(func, params, cluster="sync")


def test_export_says_what_it_has_written(df):
    said = command("export", "x.parquet", "calc", "--where", "a > 1 and b == 'x'")
    assert said.startswith("2 rows in x.parquet, ")
    assert pd.read_parquet("x.parquet").y.tolist() == [2 / 3, 1.0]
    command("export", "x.nc", "--dims", "a, b")
    assert "no format that is known" in command("export", "x.doc", code=1)
    assert "no column 'q'" in command("export", "x.nc", "--dims", "a,q", code=1)


def test_plot_says_how_many_points_there_are(df):
    said = command("plot", "a", "y", "calc", "--by", "b", "--log", "xy", "-o", "x.png")
    assert said == "6 of 6 rows in x.png\n"
    assert Path("x.png").stat().st_size > 10_000
    assert command("plot", "a", "y", "--where", "a > 2", "-o", "x.html").startswith("2 of 2 rows")
    assert "no column 'q'" in command("plot", "q", "y", "-o", "x.png", code=1)
    assert "Missing option '-o'" in command("plot", "a", "y", code=2)


def test_while_a_run_goes_on_its_rows_are_there_and_nothing_is_amiss(study_folder):
    with start(study_folder, count=1000) as driver:
        wait_for_journal(study_folder)
        command("export", "x.json")
        command("plot", "a", "y", "-o", "x.png")
        assert "fit together" in command("check")
        assert driver.poll() is None
        assert len(json.loads(Path("x.json").read_text())) > 0
        driver.kill()


def test_all_is_well(df):
    assert command("check") == "calc: database, folders and runs fit together\n"


def test_folders_without_rows_are_removed_if_one_says_so(df):
    stays, lacks = df._pset_id.iloc[:2]
    ps.df_write(df[df._pset_id != lacks], "calc/database.pk")
    shutil.rmtree(f"calc/{stays}")
    said = command("check", code=1)
    assert f"1 folders of psets have no row: it was deleted:\n  {lacks}" in said
    assert f"1 rows have no folder, while others do:\n  {stays}\n" in said
    command("check", "--fix", code=1, answers="\n")  # by default, what would lose data is not done
    assert Path("calc", lacks).is_dir()
    command("check", "--fix", code=1, answers="y\n")
    assert not Path("calc", lacks).exists()
    assert sum(Path("calc", name).is_dir() for name in df._pset_id) == 4


def test_what_a_killed_driver_has_left_is_found_and_mended(study_folder):
    with start(study_folder, count=250, options="cluster='sync', tmpsave=True") as driver:
        wait_for_journal(study_folder)
        driver.send_signal(signal.SIGKILL)
    count = len(ps.load("calc"))
    Path("calc/.database.pk.0123.tmp").write_text("torn")
    (run_dir,) = Path("calc/runs").iterdir()
    (run_dir / "stop").write_text("SOON")
    said = command("check", code=1)
    assert "rows of runs that have died are not in database.pk yet:" in said
    assert run_dir.name in said
    assert "  .database.pk.0123.tmp\n" in said
    assert "psweep-dask check calc --fix does what it can" in said
    command("check", "--fix", answers="y\ny\n")
    assert len(pd.read_pickle("calc/database.pk")) == count
    assert not Path("calc/.database.pk.0123.tmp").exists()
    assert command("check").endswith("fit together\n")
    assert len(ps.resume("calc", cluster="sync")) == 250


def test_folders_of_psets_that_are_left_are_not_taken_for_orphans(study_folder):
    script = """
import os, psweep_dask as ps
def func(pset):
    os.mkdir(f"calc/{pset['_pset_id']}")
    if pset["a"] == 5:
        os.kill(os.getpid(), 9)
    return {}
if __name__ == "__main__":
    ps.run(func, ps.plist("a", range(10)), cluster="sync")
"""
    with start(study_folder, script=script) as driver:
        driver.wait(30)
    command("check", "--fix", answers="y\n")
    assert len(ps.load("calc")) < 6
    assert sum(path.is_dir() for path in Path("calc").glob("*-*")) == 6
    assert "fit together" in command("check")


def test_rows_that_are_there_twice_and_files_that_were_moved_aside_are_told(df):
    ps.df_write(pd.concat([df, df[:1]]), "calc/database.pk")
    Path("calc/database.pk.damaged-20260101T000000").write_text("torn")
    said = command("check", "--fix", code=1)
    assert f"1 rows have the _pset_id of another row:\n  {df._pset_id.iloc[0]}\n" in said
    assert "  database.pk.damaged-20260101T000000\n" in said


def test_where_there_is_no_study(study_folder):
    assert "there is no study in 'calc'" in command("check", code=1)
    assert "there is no study in 'calc'" in command("export", "x.csv", code=1)


@pytest.mark.parametrize("names", [["db.pk"], ["db.pk", "database.pk"]])
def test_folders_of_psets_in_another_database_are_let_be(study_folder, names):
    for name in names:
        ps.run(
            func,
            ps.plist("a", [1, 2]),
            cluster="sync",
            capture_logs="file",
            database_basename=name,
        )
    assert "fit together" in command("check")


def test_where_the_database_is_gone_no_folder_is_offered_for_removal(study_folder):
    ps.run(func, ps.plist("a", [1, 2]), cluster="sync", capture_logs="file")
    Path("calc/database.pk").unlink()
    assert "remove these folders" not in command("check")
