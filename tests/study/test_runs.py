"""How runs and studies are found on disk, also if files there are damaged."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

import psweep_dask as ps
from psweep_dask.storage.layout import Layout
from psweep_dask.study import runs
from psweep_dask.study.runs import RunNotFoundError


def func(pset):
    return {"y": pset["a"]}


@pytest.fixture
def run(study_folder):
    ps.run(func, ps.plist("a", range(3)), cluster="sync")
    (run,) = runs.all_runs(Layout("calc"))
    return run


def test_all_runs_ignores_files_that_are_not_ours(run):
    Path("calc/runs/.DS_Store").touch()
    Path("calc/runs/backup").mkdir()
    assert len(ps.load()) == 3
    assert len(ps.run(func, [{"a": 3}], cluster="sync")) == 4


@pytest.mark.parametrize(
    ("was", "became"),
    [('"database.pk"', '"databasf.pk"'), ('"run_seq": 0', '"run_seq": 1'), ("psets", "qsets")],
)
def test_run_json_with_a_changed_character_hides_no_row(run, caplog, was, became):
    path = run.folder.info_path
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, became, 1))
    (stored,) = runs.stored_runs(run.layout)
    assert "run.json" in caplog.text
    assert "is damaged" in caplog.text
    assert (stored.run_id, stored.last_seqs) == (run.run_id, (0, 2))


def test_run_json_of_another_run_is_damage(run, caplog):
    other = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    Path("calc/runs", other).mkdir()
    text = run.folder.info_path.read_text()
    run.layout.run_folder(other).info_path.write_text(text)
    assert [stored.run_id for stored in runs.all_runs(run.layout)] == [run.run_id]


def test_run_json_without_a_checksum_is_taken_as_it_is(run):
    path = run.folder.info_path
    info = json.loads(path.read_text())
    del info["check"]
    path.write_text(json.dumps(info | {"user": "somebody"}))
    assert runs.read_info(run.layout, run.run_id)["user"] == "somebody"


def test_is_alive_disturbs_neither_other_readers_nor_drivers(run):
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


def test_seqs_of_deleted_rows_are_not_given_again(run):
    ps.run(func, [{"a": 7}], cluster="sync")
    ps.delete("calc", "_run_seq == 1")
    df = ps.run(func, [{"a": 8}], cluster="sync")
    assert df._run_seq.tolist() == [0, 0, 0, 2]
    assert df._pset_seq.tolist() == [0, 1, 2, 4]


def test_find_study_whose_database_has_another_name(study_folder):
    ps.run(func, ps.plist("a", range(3)), cluster="sync", database_basename="db.pk")
    assert len(ps.load("calc")) == 3
    assert len(ps.query("calc", "a > 0")) == 2
    assert ps.status("calc").runs[0].done == 3
    ps.run(func, ps.plist("a", range(3)), cluster="sync", database_basename="other.pk")
    with pytest.raises(ps.PsweepError, match=r"but to 'db.pk', 'other.pk': say so by"):
        ps.load("calc")


def test_find_study_that_does_not_exist_says_where_it_looked(study_folder):
    with pytest.raises(
        runs.NoStudyError, match=f"there is no study in 'calc', seen from '{Path.cwd()}'"
    ):
        runs.find_study("calc")


def test_find_run_by_number_or_beginning_of_its_id(run):
    ps.run(func, [{"a": 7}], cluster="sync")
    first, second = known = runs.all_runs(run.layout)
    assert runs.find_run(known, "1") == second
    assert runs.find_run(known, first.run_id[:9]) == first
    listed = rf"there are 0 \({first.run_id[:8]}\), 1 \({second.run_id[:8]}\)"
    with pytest.raises(RunNotFoundError, match=f"no run has the number 'zz' or an id .*{listed}"):
        runs.find_run(known, "zz")
    with pytest.raises(RunNotFoundError, match=f"more than one run has the number '' .*{listed}"):
        runs.find_run(known, "")
    with pytest.raises(RunNotFoundError, match="there are no runs"):
        runs.find_run([], "0")


def test_resume_call_names_the_cluster_where_the_run_began():
    layout = Layout("calc")
    assert runs.resume_call(layout, {"cluster": {"machine": "big"}}) == (
        "ps.resume('calc', cluster='big')"
    )
    assert runs.resume_call(layout, {"cluster": None}) == "ps.resume('calc')"
    assert runs.resume_call(layout, {"offline": {"func": True}}) == "ps.prep_rest('calc')"
