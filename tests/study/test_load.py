"""The rows of a study, whatever its runs are doing; test_recovery.py has those of dead runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.driver_process import start, wait_for_journal

import psweep_dask as ps
from psweep_dask._query import QueryError
from psweep_dask.storage.database import DatabaseError
from psweep_dask.storage.layout import Layout
from psweep_dask.study.load import load_from
from psweep_dask.study.runs import NoStudyError


def double(pset):
    return {"y": 2 * pset["a"]}


def test_load_without_a_study_is_an_error_that_says_where_it_looked(study_folder):
    with pytest.raises(NoStudyError, match=r"no study in 'calc', seen from .*database.pk"):
        ps.load("calc")


def test_load_adds_the_rows_of_runs_at_work_to_the_database(study_folder):
    df = ps.run(double, ps.plist("a", [-1, -2]), cluster="sync")
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        growing = ps.load("calc")
        driver.kill()
    assert growing.a.tolist()[:4] == [-1, -2, 0, 1]
    assert growing._pset_seq.tolist() == list(range(len(growing)))
    assert len(ps.df_read("calc/database.pk")) == len(df) == 2


def test_load_changes_nothing_on_disk(study_folder):
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    files = {path: path.stat().st_mtime_ns for path in Path("calc").rglob("*")}
    ps.load("calc")
    assert {path: path.stat().st_mtime_ns for path in Path("calc").rglob("*")} == files


def test_load_of_another_database(study_folder):
    for name, value in (("first.pk", 1), ("second.pk", 2)):
        ps.run(double, [{"a": value}], cluster="sync", database_dir="dbs", database_basename=name)
    assert ps.load("calc", database_dir="dbs", database_basename="second.pk").a.tolist() == [2]
    assert load_from(Layout("calc", "dbs", "first.pk")).a.tolist() == [1]
    with pytest.raises(NoStudyError, match="but to '../dbs/first.pk', '../dbs/second.pk'"):
        ps.load("calc")


def test_load_of_a_damaged_database_is_an_error(study_folder):
    ps.run(double, [{"a": 1}], cluster="sync")
    Path("calc/database.pk").write_text("no pickle")
    with pytest.raises(DatabaseError, match="is damaged"):
        ps.load("calc")


def test_query_returns_matching_rows_of_a_dead_run_too(study_folder):
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    assert ps.query("calc", "a < 3 and y > 0").a.tolist() == [1, 2]
    with pytest.raises(QueryError, match="there are the columns a, "):
        ps.query("calc", "z > 1")


def test_query_of_a_study_without_rows_is_empty(study_folder):
    layout = Layout("calc")
    ps.run(double, [{"a": 1}], cluster="sync")
    ps.df_write(ps.load("calc")[:0], layout.database_path)
    assert len(ps.query("calc", "nothing > 1")) == 0
