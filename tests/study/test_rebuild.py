"""The database is made again from what runs have kept."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
from helpers.driver_process import start, wait_for_journal
from helpers.offline_study import submit, write_func_machine

import psweep_dask as ps
from psweep_dask.storage import database
from psweep_dask.storage.layout import Layout
from psweep_dask.study.rebuild import RebuildError
from psweep_dask.study.runs import stored_runs

DATABASE = Path("calc/database.pk")


class Point:
    """A class of the script."""

    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    __hash__ = None


def func(pset):
    if pset["a"] == 2:
        raise ValueError("two")
    return {
        "y": pset["a"] ** 2,
        "seed": 2**60 + pset["a"],
        "array": np.arange(3.0),
        "point": Point(pset["a"]),
    }


@pytest.fixture
def df(study_folder):
    """The rows of two runs: one with a failure, and one with other columns, in two parts."""
    ps.run(func, ps.plist("a", range(4)), cluster="sync")

    def fails(pset):
        if pset["a"] == 8:
            raise ValueError("eight")
        return {"y": -1, "z": "text"}

    with pytest.raises(ps.PsetFailedError):
        ps.run(fails, ps.plist("a", [7, 8, 9]), cluster="sync", on_error="raise")
    return ps.resume(cluster="sync")


def check_same(one, other):
    """The same values; a column with gaps may have another type where it was made in two steps."""
    pd.testing.assert_frame_equal(one, other, check_dtype=False, check_exact=True)


def test_rebuild_after_a_loss_gives_the_same_rows(df):
    DATABASE.unlink()
    check_same(ps.rebuild(), df)
    check_same(ps.load(), df)
    assert ps.run(func, [{"a": 5}], cluster="sync")._pset_seq.tolist() == [*df._pset_seq, 7]


def test_rebuild_of_a_damaged_database_keeps_the_file(df, caplog):
    DATABASE.write_bytes(b"torn")
    check_same(ps.rebuild(), df)
    (kept,) = Path("calc").glob("database.pk.replaced-*")
    assert kept.read_bytes() == b"torn"
    assert "the old database cannot be compared" in caplog.text


def test_rebuild_of_a_good_database_changes_nothing_and_says_of_no_change(df, caplog):
    caplog.clear()
    check_same(ps.rebuild(), df)
    assert [text.split()[0:3] for text in caplog.messages] == [
        ["the", "old", "database"],
        ["made", str(DATABASE.absolute()), "again,"],
    ]


def test_rebuild_tells_what_was_edited_and_takes_over_what_only_the_old_database_has(df, caplog):
    edited = df[df.a != 3].drop(columns="seed").assign(study="mine")
    edited.loc[edited.a == 1, "y"] = 77
    mine = edited[:1].assign(_pset_id="by hand", _pset_seq=100, _run_id="none")
    ps.df_write(pd.concat([edited, mine]), DATABASE)
    made = ps.rebuild()
    assert made._pset_id.tolist() == [*df._pset_id, "by hand"]
    check_same(made[: len(df)][list(df.columns)], df)
    assert made.seed.dropna().tolist() == df.seed.dropna().tolist()
    assert made.study.tolist()[:3] == ["mine"] * 3
    assert "1 row that the old database had not: they are back" in caplog.text
    assert "1 row that only the old database has: they are taken over (by hand)" in caplog.text
    assert "columns that only the old database has are taken over: study" in caplog.text
    assert "columns that the old database had not are back: seed" in caplog.text
    assert "column 'y': 1 values had been edited (pset" in caplog.text
    assert "77.0 was there, 1.0 is" in caplog.text
    (kept,) = Path("calc").glob("database.pk.replaced-*")
    assert ps.df_read(kept).study.tolist() == ["mine"] * len(edited) + ["mine"]


def test_rebuild_leaves_out_what_was_deleted_unless_asked(df):
    ps.delete("calc", "a == 1")
    ps.delete("calc", "a == 3")
    DATABASE.unlink()
    assert ps.rebuild().a.tolist() == [0, 2, 7, 8, 9]
    check_same(ps.rebuild(deleted=True), df)


def test_rebuild_has_a_deleted_pset_that_has_run_again(df):
    (id_,) = df._pset_id[df.a == 8]
    ps.delete("calc", "a == 8")
    run_id = df._run_id.iloc[-1]
    info = Path("calc/runs", run_id, "run.json")
    content = {**json.loads(info.read_bytes()), "ended": "stopped"}
    del content["check"]
    info.write_text(json.dumps(content))
    again = ps.resume(func=lambda pset: {"y": 1000, "z": "again"}, cluster="sync")
    assert again.y[again._pset_id == id_].tolist() == [1000]
    DATABASE.unlink()
    check_same(ps.rebuild(), again)


def test_rebuild_merges_rows_of_a_dead_run_too(study_folder):
    ps.run(lambda pset: {}, [{"a": -1}], cluster="sync")
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    df = ps.load()
    DATABASE.unlink()
    assert ps.rebuild()._pset_id.tolist() == df._pset_id.tolist()


def test_rebuild_of_merged_studies_has_the_numbers_of_the_merge(df):
    ps.run(func, ps.plist("a", [1, 2]), cluster="sync", calc_dir="other")
    ps.delete("other", "a == 2")
    both = ps.merge_studies("calc", "other")
    DATABASE.unlink()
    check_same(ps.rebuild(), both)


def test_rebuild_of_prepared_psets_lets_collect_bring_the_results_again(study_folder, caplog):
    write_func_machine()
    ps.prep_batch(ps.plist("a", [1, 2]), func=lambda pset: {"y": pset["a"]})
    submit()
    df = ps.collect()
    assert df.y.tolist() == [1, 2]
    DATABASE.unlink()
    assert ps.rebuild()._status.tolist() == ["prepared"] * 2
    assert "ps.collect brings their results again" in caplog.text
    assert ps.collect().y.tolist() == [1, 2]
    assert ps.rebuild().y.tolist() == [1, 2]


def test_rebuild_without_kept_rows_is_an_error_that_says_why(study_folder):
    with dask.config.set({"psweep.keep-journal": False}):
        ps.run(func, [{"a": 1}], cluster="sync")
    assert not list(Path("calc/runs").glob("*/rows-*"))
    DATABASE.rename("elsewhere")
    with pytest.raises(RebuildError, match="none of the 1 run in 'calc' has kept rows"):
        ps.rebuild()
    assert not DATABASE.exists()


def test_keep_journal_that_is_no_bool_is_an_error_before_anything_runs(study_folder):
    with (
        dask.config.set({"psweep.keep-journal": "maybe"}),
        pytest.raises(ps.PsweepError, match="psweep.keep-journal: 'maybe'; it must be true or"),
    ):
        ps.run(func, [{"a": 1}], cluster="sync")
    assert not list(study_folder.iterdir())


def test_copy_of_the_journal_gives_way_where_the_disk_is_full(study_folder, monkeypatch, caplog):
    write = database._write
    copies = []

    def full_at_first(df, path):
        copies.append(list(study_folder.glob("calc/runs/*/.journal-*.tmp")))
        if len(copies) == 1:
            raise OSError(28, "No space left on device")
        write(df, path)

    monkeypatch.setattr(database, "_write", full_at_first)
    assert ps.run(func, ps.plist("a", [0, 1]), cluster="sync").y.tolist() == [0, 1]
    assert copies[1:] == [[]]
    assert "are in the database, but no copy of them could be kept" in caplog.text
    assert {path.name for path in study_folder.glob("calc/runs/*/*")} == {
        *("run.json", "plan.pk", "driver.lock")
    }


def test_rebuild_names_runs_that_have_kept_nothing(df, caplog):
    with dask.config.set({"psweep.keep-journal": False}):
        ps.run(func, [{"a": 5}], cluster="sync")
    DATABASE.unlink()
    assert len(ps.rebuild()) == len(df)
    assert "no row of run 2 was kept: these are missing" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_rebuild_reads_what_is_left_of_damaged_kept_rows(df, damage, caplog):
    (first, *_) = stored_runs(Layout("calc"))
    (path,) = first.folder.kept_paths()
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-20:]
    else:
        content[len(content) // 2] ^= 255
    path.write_bytes(content)
    DATABASE.unlink()
    made = ps.rebuild()
    assert set(made._pset_id) <= set(df._pset_id)
    assert set(df._pset_id[df.a > 3]) <= set(made._pset_id)


def test_rows_that_are_kept_are_frames_in_a_gzip_file(df):
    for run in stored_runs(Layout("calc")):
        for path in run.folder.kept_paths():
            with gzip.open(path) as stream:
                assert stream.read(4) == b"PSW1"
    assert len(stored_runs(Layout("calc"))[1].folder.kept_paths()) == 2
    assert not list(Path("calc/runs").glob("*/.journal*"))


def test_rebuild_of_a_moved_study_and_of_no_study(df):
    shutil.move("calc", "moved")
    Path("moved/database.pk").unlink()
    assert ps.rebuild("moved")._pset_id.tolist() == df._pset_id.tolist()
    with pytest.raises(ps.PsweepError, match="there is no study"):
        ps.rebuild("calc")
