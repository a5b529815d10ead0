"""Runs as they are found on disk, whatever has become of the files there."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

import psweep_dask as ps
from psweep_dask.storage.layout import Layout
from psweep_dask.study import runs


def func(pset):
    return {"y": pset["a"]}


@pytest.fixture
def run(study_folder):
    ps.run(func, ps.plist("a", range(3)), cluster="sync")
    (found,) = runs.all_runs(Layout("calc"))
    return found


def test_files_of_others_among_the_runs_disturb_nobody(run):
    Path("calc/runs/.DS_Store").touch()
    Path("calc/runs/backup").mkdir()
    assert len(ps.load()) == 3
    assert len(ps.run(func, [{"a": 3}], cluster="sync")) == 4


@pytest.mark.parametrize(
    ("was", "became"),
    [('"database.pk"', '"databasf.pk"'), ('"run_seq": 0', '"run_seq": 1'), ("psets", "qsets")],
)
def test_a_character_that_has_changed_hides_no_row(run, caplog, was, became):
    path = run.folder.info_path
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, became, 1))
    (found,) = runs.stored_runs(run.layout)
    assert "run.json" in caplog.text
    assert "is damaged" in caplog.text
    assert (found.run_id, found.last_seqs) == (run.run_id, (0, 2))


def test_a_story_in_the_folder_of_another_run_is_damage(run, caplog):
    other = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    Path("calc/runs", other).mkdir()
    text = run.folder.info_path.read_text()
    run.layout.run_folder(other).info_path.write_text(text)
    assert [one.run_id for one in runs.all_runs(run.layout)] == [run.run_id]


def test_a_story_without_a_check_is_taken_as_it_is(run):
    path = run.folder.info_path
    info = json.loads(path.read_text())
    del info["check"]
    path.write_text(json.dumps(info | {"user": "somebody"}))
    assert runs.read_info(run.layout, run.run_id)["user"] == "somebody"


def test_who_looks_disturbs_neither_onlookers_nor_drivers(run):
    path = run.folder.driver_lock().lock_file
    Path(path).touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert not run.is_alive()
    os.close(looking)
    with run.try_lock() as lock:
        assert lock is not None
        assert run.is_alive()
        with run.try_lock() as second:
            assert second is None
    assert not run.is_alive()


def test_numbers_of_deleted_rows_are_not_given_again(run):
    ps.run(func, [{"a": 7}], cluster="sync")
    ps.delete("calc", "_run_seq == 1")
    df = ps.run(func, [{"a": 8}], cluster="sync")
    assert df._run_seq.tolist() == [0, 0, 0, 2]
    assert df._pset_seq.tolist() == [0, 1, 2, 4]


def test_a_study_whose_database_has_another_name_is_found(study_folder):
    ps.run(func, ps.plist("a", range(3)), cluster="sync", database_basename="db.pk")
    assert len(ps.load("calc")) == 3
    assert len(ps.query("calc", "a > 0")) == 2
    assert ps.status("calc").runs[0].done == 3
    ps.run(func, ps.plist("a", range(3)), cluster="sync", database_basename="other.pk")
    with pytest.raises(ps.PsweepError, match=r"but to 'db.pk', 'other.pk': say so by"):
        ps.load("calc")
