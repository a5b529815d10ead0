"""Columns set and rows deleted on disk, also while a run goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.driver_process import start, wait_for_journal

import psweep_dask as ps
from psweep_dask._query import QueryError
from psweep_dask.study.edit import EditError
from psweep_dask.study.runs import NoStudyError


def func(pset):
    Path("calc", pset["_pset_id"]).mkdir()
    return {"y": pset["a"] / 2}


@pytest.fixture
def df(study_folder):
    return ps.run(func, ps.plist("a", [1, 2, 3, 4]), cluster="sync")


def test_df_update_with_a_value_a_list_a_function_or_where(df):
    ps.df_update("calc", {"study": "first", "n": [4, 3, 2, 1]})
    ps.df_update("calc", {"z": lambda rows: rows.y + rows.n, "n": 9}, where="a > 2")
    new = ps.load("calc")
    assert new.study.tolist() == ["first"] * 4
    assert new.n.tolist() == [4, 3, 9, 9]
    assert new.n.dtype == int
    assert new.z.tolist()[2:] == [3.5, 3.0]
    assert new.z.isna().tolist() == [True, True, False, False]
    pd.testing.assert_frame_equal(new[list(df.columns)], df)


@pytest.mark.parametrize(
    "given",
    [
        np.array([4, 3, 2, 1]),
        pd.Series([4, 3, 2, 1]),
        pd.Index([4, 3, 2, 1]),
        range(4, 0, -1),
        lambda rows: 5 - rows.a.to_numpy(),
        lambda rows: (5 - a for a in rows.a),
    ],
)
def test_df_update_takes_one_value_for_each_row(df, given):
    new = ps.df_update("calc", {"n": given})
    assert new.n.tolist() == ps.load("calc").n.tolist() == [4, 3, 2, 1]
    assert new.n.dtype == int


def test_df_update_with_a_value_that_has_no_order_sets_it_in_all_rows(df):
    for value in ({1, 2}, {"b": 1}, "abcd", np.array(3)):
        assert ps.df_update("calc", {"n": value}).n.tolist() == [value] * 4


def test_df_update_and_delete_stay_when_a_run_at_work_ends(study_folder):
    ps.run(lambda pset: {}, ps.plist("a", [-1, -2]), cluster="sync")
    with start(study_folder, count=60) as driver:
        wait_for_journal(study_folder, 500)
        ps.df_update("calc", {"study": "mine"})
        ps.delete("calc", "a == -2")
        driver.wait(60)
    df = ps.load("calc")
    assert df.a.tolist() == [-1, *range(60)]
    assert df.study.tolist()[0] == "mine"
    assert df.study.isna().sum() == 60


def test_delete_keeps_a_copy_and_removes_folders_only_if_asked(df, caplog):
    left = ps.delete("calc", "a > 2")
    assert left.a.tolist() == ps.load("calc").a.tolist() == [1, 2]
    (copy,) = Path("calc").glob("database.pk.deleted-*")
    pd.testing.assert_frame_equal(ps.df_read(copy), df)
    assert all(Path("calc", pset_id).is_dir() for pset_id in df._pset_id)
    assert df._pset_id.iloc[3] in caplog.text
    assert "folders=True deletes them" in caplog.text
    ps.delete("calc", "a == 2", folders=True)
    assert [Path("calc", pset_id).is_dir() for pset_id in df._pset_id] == [True, False, True, True]
    caplog.clear()
    assert len(ps.delete("calc", "a > 100")) == 1
    assert "no row meets 'a > 100'" in caplog.text
    assert len(list(Path("calc").glob("database.pk.deleted-*"))) == 2


def test_edit_with_bad_input_changes_nothing(df):
    content = Path("calc/database.pk").read_bytes()
    with pytest.raises(EditError, match="'_run_id' is a column of the book-keeping"):
        ps.df_update("calc", {"_run_id": "x"})
    with pytest.raises(EditError, match="'n': 2 values were given for 4 rows"):
        ps.df_update("calc", {"n": [1, 2]})
    with pytest.raises(QueryError):
        ps.df_update("calc", {"n": 1}, where="q > 1")
    with pytest.raises(QueryError):
        ps.delete("calc", "q > 1")
    with pytest.raises(NoStudyError, match="there is no study in 'nowhere'"):
        ps.delete("nowhere", "a > 1")
    assert Path("calc/database.pk").read_bytes() == content
    assert not Path("nowhere").exists()


def test_edit_keeps_the_index_of_the_user(df):
    ps.df_write(df.set_axis([7, 7, 8, 9]), "calc/database.pk")
    ps.df_update("calc", {"n": 1}, where="a > 2")
    assert ps.delete("calc", "a == 1").index.tolist() == ps.load("calc").index.tolist() == [7, 8, 9]


def test_edit_of_another_database_must_name_it(study_folder):
    ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync", database_basename="db.pk")
    with pytest.raises(NoStudyError, match="but to 'db.pk': say so by database_dir="):
        ps.df_update("calc", {"n": 7})
    ps.df_update("calc", {"n": 7}, database_basename="db.pk")
    left = ps.delete("calc", "a == 1", database_basename="db.pk")
    assert left.n.tolist() == ps.df_read("calc/db.pk").n.tolist() == [7]
