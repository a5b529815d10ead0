"""What is found in a study that does not fit; tests/cli has the command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.driver_process import start, wait_for_journal

import psweep_dask as ps
from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout
from psweep_dask.study.check import check_calc_dir, inspect_study
from psweep_dask.study.runs import NoStudyError, stored_runs


def func(pset):
    Path("calc", pset["_pset_id"]).mkdir()
    return {}


@pytest.fixture
def df(study_folder):
    return ps.run(func, ps.plist("a", range(4)), cluster="sync")


def inspect():
    return {finding.what: finding for finding in inspect_study(Layout("calc"))}


def test_check_of_a_study_in_order_finds_nothing(df):
    assert inspect() == {}
    assert check_calc_dir("calc") == {"db_not_disk": set(), "disk_not_db": set()}


def test_check_calc_dir_compares_folders_with_the_rows_of_a_dataframe(df):
    first, second = df._pset_id[:2]
    shutil.rmtree(Path("calc", first))
    Path("calc/not an id").mkdir()
    check = check_calc_dir("calc", df[df._pset_id != second])
    assert check == {"db_not_disk": {first}, "disk_not_db": {second}}


def test_check_without_a_study_is_an_error(study_folder):
    with pytest.raises(NoStudyError):
        check_calc_dir("calc")


def test_check_folders_without_a_row_are_removed_by_their_fix(df):
    ps.df_write(df[1:], "calc/database.pk")
    (finding,) = inspect_study(Layout("calc"))
    assert finding.what == "1 folders of psets have no row: it was deleted"
    assert finding.names == (df._pset_id.iloc[0],)
    assert finding.loses_data
    finding.fix()
    assert not Path("calc", df._pset_id.iloc[0]).exists()
    assert inspect() == {}


def test_check_rows_without_a_folder_have_no_fix(df):
    shutil.rmtree(Path("calc", df._pset_id.iloc[0]))
    (finding,) = inspect_study(Layout("calc"))
    assert finding.what == "1 rows have no folder, while others do"
    assert (finding.fix, finding.loses_data) == (None, False)


def test_check_finds_ids_that_are_there_twice(df):
    ps.df_write(pd.concat([df, df[:1]]), "calc/database.pk")
    assert list(inspect()) == ["1 rows have the _pset_id of another row"]


def test_check_finds_files_that_were_moved_aside(df):
    (run,) = stored_runs(Layout("calc"))
    Path("calc/database.pk.replaced-20260101T000000").touch()
    Path(run.folder.path, "journal.damaged-20260101T000000").touch()
    (finding,) = inspect_study(Layout("calc"))
    assert finding.what == "2 files were moved aside, since they were damaged or replaced"
    assert finding.names[0] == "database.pk.replaced-20260101T000000"
    assert finding.fix is None


def test_check_finds_what_dead_runs_have_left_and_fixes_it(study_folder, only_bin_dir):
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    layout = Layout("calc")
    (run,) = stored_runs(layout)
    rows = len(ps.load("calc"))
    for path in (
        run.folder.path / f"{PRIVATE_PREFIX}x",
        layout.tmpsave_path(run.run_id, "").parent,
    ):
        path.mkdir(parents=True)
    run.folder.stop_path.write_text("SOON")
    Path("calc/.database.pk.0123.tmp").touch()
    run.folder.jobs_path.write_text("17 psweep-x\n")
    findings = inspect()
    assert list(findings) == [
        f"{rows} rows of runs that have died are not in database.pk yet",
        "4 files or folders are of no use any more",
        "1 dead runs may have left batch jobs",
    ]
    findings["4 files or folders are of no use any more"].fix()
    assert len(inspect()) == 2
    findings[f"{rows} rows of runs that have died are not in database.pk yet"].fix()
    assert len(ps.df_read("calc/database.pk")) == rows
    assert list(inspect()) == ["1 dead runs may have left batch jobs"]  # no SLURM to cancel them


def test_check_changes_nothing_by_itself(df):
    ps.df_write(df[1:], "calc/database.pk")
    files = {path: path.stat().st_mtime_ns for path in Path("calc").rglob("*")}
    assert len(inspect()) == 1
    assert {path: path.stat().st_mtime_ns for path in Path("calc").rglob("*")} == files
