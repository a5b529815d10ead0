"""The commands export, plot and check, as they are installed, while runs go on and afterwards."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
from helpers.driver_process import start, wait_for_journal
from helpers.terminal import psweep_dask

import psweep_dask as ps


def func(pset):
    Path("calc", pset["_pset_id"]).mkdir(exist_ok=True)
    return {"y": pset["a"] / 3}


@pytest.fixture
def df(study_folder):
    params = ps.pgrid(ps.plist("a", [1, 2, 3]), ps.plist("b", ["x", "z"]))
    return ps.run(func, params, cluster="sync")


def test_export_says_what_it_has_written(df):
    output = psweep_dask("export", "x.parquet", "calc", "--where", "a > 1 and b == 'x'")
    assert output.startswith("2 rows in x.parquet, ")
    assert pd.read_parquet("x.parquet").y.tolist() == [2 / 3, 1.0]
    psweep_dask("export", "x.nc", "--dims", "a, b")
    assert "no format that is known" in psweep_dask("export", "x.doc", code=1)
    assert "no column 'q'" in psweep_dask("export", "x.nc", "--dims", "a,q", code=1)


def test_plot_says_how_many_points_there_are(df):
    output = psweep_dask("plot", "a", "y", "calc", "--by", "b", "--log", "xy", "-o", "x.png")
    assert output == "6 of 6 rows in x.png\n"
    assert Path("x.png").stat().st_size > 10_000
    assert psweep_dask("plot", "a", "y", "--where", "a > 2", "-o", "x.html").startswith(
        "2 of 2 rows"
    )
    assert "no column 'q'" in psweep_dask("plot", "q", "y", "-o", "x.png", code=1)
    assert "Missing option '-o'" in psweep_dask("plot", "a", "y", code=2)


def test_export_plot_and_check_work_while_a_run_goes_on(study_folder):
    with start(study_folder, count=10_000) as driver:
        wait_for_journal(study_folder)
        psweep_dask("export", "x.json")
        psweep_dask("plot", "a", "y", "-o", "x.png")
        assert "fit together" in psweep_dask("check")
        assert driver.poll() is None
        assert len(json.loads(Path("x.json").read_text())) > 0
        driver.kill()


def test_check_of_a_sound_study_says_so(df):
    assert psweep_dask("check") == "calc: database, folders and runs fit together\n"


def test_check_fix_removes_folders_without_rows_after_a_yes(df):
    stays, lacks = df._pset_id.iloc[:2]
    ps.df_write(df[df._pset_id != lacks], "calc/database.pk")
    shutil.rmtree(f"calc/{stays}")
    output = psweep_dask("check", code=1)
    assert f"1 folders of psets have no row: it was deleted:\n  {lacks}" in output
    assert f"1 rows have no folder, while others do:\n  {stays}\n" in output
    psweep_dask("check", "--fix", code=1, answers="\n")  # the default is no: data would be lost
    assert Path("calc", lacks).is_dir()
    psweep_dask("check", "--fix", code=1, answers="y\n")
    assert not Path("calc", lacks).exists()
    assert sum(Path("calc", name).is_dir() for name in df._pset_id) == 4


def test_check_fix_repairs_what_a_killed_driver_has_left(study_folder):
    with start(study_folder, count=250, options="cluster='sync', tmpsave=True") as driver:
        wait_for_journal(study_folder)
        driver.send_signal(signal.SIGKILL)
    count = len(ps.load("calc"))
    Path("calc/.database.pk.0123.tmp").write_text("torn")
    (run_dir,) = Path("calc/runs").iterdir()
    (run_dir / "stop").write_text("SOON")
    output = psweep_dask("check", code=1)
    assert "rows of runs that have died are not in database.pk yet:" in output
    assert run_dir.name in output
    assert "  .database.pk.0123.tmp\n" in output
    assert "psweep-dask check calc --fix does what it can" in output
    psweep_dask("check", "--fix", answers="y\ny\n")
    assert len(pd.read_pickle("calc/database.pk")) == count
    assert not Path("calc/.database.pk.0123.tmp").exists()
    assert psweep_dask("check").endswith("fit together\n")
    assert len(ps.resume("calc", cluster="sync")) == 250


def test_check_keeps_folders_of_psets_that_will_be_resumed(study_folder):
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
    psweep_dask("check", "--fix", answers="y\n")
    assert len(ps.load("calc")) < 6
    assert sum(path.is_dir() for path in Path("calc").glob("*-*")) == 6
    assert "fit together" in psweep_dask("check")


def test_check_names_rows_that_are_there_twice_and_files_that_were_moved_aside(df):
    ps.df_write(pd.concat([df, df[:1]]), "calc/database.pk")
    Path("calc/database.pk.damaged-20260101T000000").write_text("torn")
    output = psweep_dask("check", "--fix", code=1)
    assert f"1 rows have the _pset_id of another row:\n  {df._pset_id.iloc[0]}\n" in output
    assert "  database.pk.damaged-20260101T000000\n" in output


def test_check_and_export_need_a_study(study_folder):
    assert "there is no study in 'calc'" in psweep_dask("check", code=1)
    assert "there is no study in 'calc'" in psweep_dask("export", "x.csv", code=1)


@pytest.mark.parametrize("names", [["db.pk"], ["db.pk", "database.pk"]])
def test_check_keeps_folders_of_psets_in_another_database(study_folder, names):
    for name in names:
        ps.run(
            func,
            ps.plist("a", [1, 2]),
            cluster="sync",
            capture_logs="file",
            database_basename=name,
        )
    assert "fit together" in psweep_dask("check")


def test_check_offers_to_remove_no_folder_where_the_database_is_gone(study_folder):
    ps.run(func, ps.plist("a", [1, 2]), cluster="sync", capture_logs="file")
    Path("calc/database.pk").unlink()
    output = psweep_dask("check", code=1)
    assert "there is no database.pk" in output
    assert "psweep-dask rebuild calc" in output
    assert "remove these folders" not in output


def test_check_shows_a_few_names_and_how_many_more(study_folder):
    df = ps.run(func, ps.plist("a", range(9)), cluster="sync")
    ps.df_write(df[:1], "calc/database.pk")
    output = psweep_dask("check", code=1)
    assert "8 folders of psets have no row" in output
    assert "  and 3 more\n" in output
