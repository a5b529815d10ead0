"""Plans and funcs of earlier runs; tests/driver has resume, retry and reproduce."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from helpers.driver_process import start, wait_for_journal

import psweep_dask as ps
from psweep_dask.storage.layout import Layout
from psweep_dask.study.revisit import (
    RevisitError,
    choose_runs,
    load_func,
    read_plan,
    read_psets,
    recover_run,
)
from psweep_dask.study.runs import RunNotFoundError, stored_runs


def overwrite(pset):
    return {"a": -1}


@pytest.fixture
def df(study_folder):
    return ps.run(overwrite, ps.plist("a", range(3)), cluster="sync")


@pytest.fixture
def dead(study_folder):
    """A run whose driver was killed in the middle of 2000 psets."""
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    (run,) = stored_runs(Layout("calc"))
    return run


def test_read_plan_returns_psets_and_func(df):
    planned, work = read_plan(Layout("calc"), df._run_id.iloc[0])
    assert planned.psets == ps.plist("a", range(3))
    assert load_func(work, planned.run_id)({}) == {"a": -1}


@pytest.mark.parametrize("content", [None, b"", b"x" * 100])
def test_read_plan_that_is_gone_or_damaged_names_the_file(df, content):
    (run,) = stored_runs(Layout("calc"))
    path = run.folder.plan_path
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(RevisitError, match=r"plan\.pk"):
        read_plan(run.layout, run.run_id)


def test_read_psets_returns_parameters_that_results_have_replaced(df):
    assert df.a.tolist() == [-1, -1, -1]
    psets, plans = read_psets(Layout("calc"), df[1:])
    assert psets == [{"a": 1}, {"a": 2}]
    assert list(plans) == [df._run_id.iloc[0]]


def test_read_psets_of_a_row_that_the_plan_does_not_have_is_an_error(df):
    with pytest.raises(RevisitError, match=r"has no pset 7: the database and .* do not fit"):
        read_psets(Layout("calc"), df.assign(_pset_seq=7))


def test_load_func_that_needs_a_missing_module_says_what_to_do(df):
    planned, work = read_plan(Layout("calc"), df._run_id.iloc[0])
    work = dataclasses.replace(work, func=b"cno_such_module\nfunc\n.")
    with pytest.raises(RevisitError, match=r"cannot be loaded any more .*pass it as func="):
        load_func(work, planned.run_id)
    with pytest.raises(RevisitError, match="since it was prepared from templates, or"):
        load_func(dataclasses.replace(work, func=b""), planned.run_id)


def test_load_func_finds_modules_where_the_driver_did(df, study_folder, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (study_folder / "modules").mkdir()
    (study_folder / "modules" / "module_of_a_func.py").write_text("def func(pset): return 7")
    planned, work = read_plan(Layout("calc"), df._run_id.iloc[0])
    work = dataclasses.replace(
        work, func=b"cmodule_of_a_func\nfunc\n.", import_paths=(str(study_folder / "modules"),)
    )
    assert load_func(work, planned.run_id)({}) == 7


def test_choose_runs_returns_those_that_are_not_finished(dead):
    ps.run(overwrite, [{"a": 1}], cluster="sync")
    _, done = stored_runs(dead.layout)
    assert [run.run_id for run in choose_runs(dead.layout, None)] == [dead.run_id]
    assert choose_runs(dead.layout, "1") == choose_runs(dead.layout, done.run_id[:8]) == [done]
    with pytest.raises(RunNotFoundError, match="no run has the number 'zz'"):
        choose_runs(dead.layout, "zz")
    with pytest.raises(RevisitError, match="run_id=7; allowed are None, a str"):
        choose_runs(dead.layout, 7)


def test_choose_runs_refuses_a_run_whose_driver_lives(dead):
    with dead.try_lock(), pytest.raises(RevisitError, match=f"driver of run {dead.run_id} lives"):
        choose_runs(dead.layout, "0")


def test_recover_run_merges_rows_and_returns_the_psets_without_one(dead):
    rows = ps.load("calc")
    with dead.try_lock():
        planned, left, work = recover_run(dead)
    assert ps.df_read("calc/database.pk")._pset_id.tolist() == rows._pset_id.tolist()
    assert len(planned) == 2000
    assert set(left.seqs) == set(range(2000)) - set(rows._pset_seq)
    assert work.run_id == dead.run_id


def test_recover_run_that_died_before_its_plan_is_none(dead, caplog):
    dead.folder.journal_path.unlink()
    dead.folder.plan_path.unlink()
    with dead.try_lock():
        assert recover_run(dead) is None
    assert "has no plan and no row, there is nothing to resume" in caplog.text
