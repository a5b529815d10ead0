"""What is left of a run whose driver was killed: seen, merged, and told apart from one alive."""

from __future__ import annotations

import json

import pytest
from helpers.driver_process import calls, start, wait_for_journal, wait_until

import psweep_dask as ps
from psweep_dask.storage import database
from psweep_dask.storage.layout import Layout
from psweep_dask.study import runs


def double(pset):
    return {"y": 2 * pset["a"]}


@pytest.fixture
def dead(study_folder):
    """A study whose driver was killed in the middle of 2000 psets."""
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    return Layout("calc")


def test_load_shows_every_record_of_a_dead_driver_at_once(dead, study_folder):
    done = calls(study_folder)
    df = ps.load("calc")
    assert len(df) >= 10
    assert len(done) - 40 <= len(df) <= len(done)  # a slice of half a second may be under way
    assert df._pset_seq.tolist() == sorted(df._pset_seq)
    assert (df.y == 2 * df.a).all()
    assert not dead.database_path.exists()  # it only looks


def test_the_next_run_merges_them_and_says_so_in_one_line(dead, caplog):
    before = ps.load("calc")
    run_id = before._run_id.iloc[0]
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    told = [line for line in caplog.messages if "recovered" in line]
    assert told == [
        f"recovered {len(before)} of 2000 psets of run {run_id}; ps.resume('calc') finishes it"
    ]
    assert set(before._pset_id) < set(df._pset_id)
    assert df._pset_seq.iloc[-1] == 2000  # the others belong to the dead run
    assert not dead.run_folder(run_id).journal_path.exists()
    assert runs.read_info(dead, run_id)["ended"] == "died"
    caplog.clear()
    assert len(ps.run(double, ps.plist("a", [-1]), cluster="sync")) == len(df) + 1
    assert "recovered" not in caplog.text


def test_a_row_that_its_owner_deletes_after_the_merge_stays_deleted(dead):
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    ps.df_write(df[df._pset_seq > 3], "calc/database.pk")
    assert ps.load("calc")._pset_seq.min() == 4
    assert ps.run(double, ps.plist("a", [-1]), cluster="sync")._pset_seq.min() == 4


def test_a_run_is_dead_or_alive_by_a_lock_and_not_by_a_guess(study_folder, caplog):
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        (one,) = runs.stored_runs(Layout("calc"))
        assert one.is_alive()
        growing = len(ps.load("calc"))
        df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
        assert df._pset_seq.tolist() == [2000]
        assert "recovered" not in caplog.text
        wait_until(lambda: len(ps.load("calc")) > growing + 1)
        driver.kill()
    assert not one.is_alive()


def test_a_kill_before_the_first_pset_leaves_nothing_that_counts(dead):
    (one,) = runs.stored_runs(dead)
    one.journal_path.write_bytes(b"")
    dead.run_folder(one.run_id).plan_path.unlink()
    df = ps.run(double, ps.plist("a", [1]), cluster="sync")
    assert len(df) == 1
    assert [found.run_id for found in runs.stored_runs(dead)] == list(df._run_id)


def test_a_kill_between_the_merge_and_the_end_of_the_journal_doubles_nothing(dead, caplog):
    before = ps.load("calc")
    database.merge(dead.database_path, before)
    assert len(ps.load("calc")) == len(before)
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert len(df) == len(before) + 1
    assert df._pset_id.is_unique


def test_a_file_left_by_a_kill_while_the_database_was_written_is_removed(dead):
    leftover = dead.database_dir / f".{dead.database_basename}.0123.tmp"
    leftover.write_bytes(b"half")
    ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert not leftover.exists()


def test_a_journal_that_cannot_be_restored_here_waits_and_blocks_nobody(dead, caplog):
    (one,) = runs.stored_runs(dead)
    from psweep_dask.storage.record import to_frame

    with one.journal_path.open("ab") as stream:
        stream.write(to_frame(b"cno_such_module\nthing\n."))
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert df._pset_seq.tolist() == [2000]
    assert "no_such_module" in caplog.text
    assert one.journal_path.exists()


def test_a_study_may_be_moved_before_it_is_recovered(dead, study_folder):
    before = ps.load("calc")
    dead.root.rename(study_folder / "elsewhere")
    assert ps.load("elsewhere")._pset_id.tolist() == before._pset_id.tolist()
    assert len(ps.run(double, [{"a": 1}], cluster="sync", calc_dir="elsewhere")) == len(before) + 1


def test_a_damaged_story_of_a_run_hides_no_other(dead, study_folder):
    broken = study_folder / "calc" / "runs" / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    assert len(ps.load("calc")) >= 10


def test_load_of_nothing_is_an_error_that_says_where_it_looked(study_folder):
    with pytest.raises(ps.PsweepError, match=r"no study in 'calc', seen from .*database.pk"):
        ps.load("calc")


def test_tmpsave_rows_that_never_reached_the_journal_are_taken(study_folder):
    with start(study_folder, nap=0.1, options="cluster='sync', tmpsave=True") as driver:
        wait_until(lambda: len(list(study_folder.glob("calc/tmpsave/*/*.pk"))) > 8)
        driver.kill()
    (one,) = runs.stored_runs(Layout("calc"))
    saved = {path.stem for path in study_folder.glob("calc/tmpsave/*/*.pk")}
    one.journal_path.write_bytes(b"")
    assert set(ps.load("calc")._pset_id) == saved
    (study_folder / "calc/tmpsave" / one.run_id / "damaged.pk").write_bytes(b"x")
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert set(df._pset_id) > saved
    assert json.loads(Layout("calc").run_folder(one.run_id).info_path.read_text())["ended"] == "died"


def test_a_plan_that_is_gone_costs_no_record(dead, caplog):
    before = ps.load("calc")
    (one,) = runs.stored_runs(dead)
    dead.run_folder(one.run_id).plan_path.unlink()
    with pytest.raises(ps.PsweepError, match=r"the plan of run .* is gone: .*plan.pk"):
        ps.resume("calc", cluster="sync")
    assert ps.df_read("calc/database.pk")._pset_id.tolist() == before._pset_id.tolist()


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"\xff\xfe", b"[]", b"{}", None])
def test_the_plan_stands_in_for_a_damaged_story_of_a_run(dead, content, caplog):
    before = ps.load("calc")
    (path,) = dead.runs_dir.glob("*/run.json")
    path.unlink() if content is None else path.write_bytes(content)
    assert ps.load("calc")._pset_id.tolist() == before._pset_id.tolist()
    assert "its plan is read instead" in caplog.text
    df = ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert len(df) == len(before) + 1
    assert df._pset_seq.iloc[-1] == 2000


def test_with_neither_story_nor_plan_the_journal_waits(dead, caplog):
    (one,) = runs.stored_runs(dead)
    dead.run_folder(one.run_id).info_path.unlink()
    dead.run_folder(one.run_id).plan_path.unlink()
    assert ps.load("calc").empty
    assert "its journal waits" in caplog.text
    ps.run(double, ps.plist("a", [-1]), cluster="sync")
    assert one.journal_path.exists()


def test_a_damaged_journal_is_told_by_load_and_kept_by_the_next_run(dead, caplog):
    (one,) = runs.stored_runs(dead)
    content = bytearray(one.journal_path.read_bytes())
    content[-3] ^= 1
    one.journal_path.write_bytes(content)
    assert len(ps.load("calc")) > 0
    assert f"bytes of the journal of run {one.run_id} are damaged" in caplog.text
    ps.run(double, ps.plist("a", [-1]), cluster="sync")
    (kept,) = one.journal_path.parent.glob("journal.damaged-*")
    assert kept.read_bytes() == content


def test_tmpsave_finds_its_place_wherever_func_goes(study_folder):
    def func(pset):
        import os

        os.chdir("/")
        return {}

    df = ps.run(func, ps.plist("a", range(3)), tmpsave=True)
    saved = {path.stem for path in study_folder.glob("calc/tmpsave/*/*.pk")}
    assert saved == set(df._pset_id)
