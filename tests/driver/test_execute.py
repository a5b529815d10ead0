"""How a run ends: what is merged, what is left on disk, and what the summary says."""

from __future__ import annotations

import json
import pickle

import pytest
from helpers.funcs import double, fail_odd

import psweep_dask as ps
from psweep_dask.driver.prepared_run import PreparedRun
from psweep_dask.options import Options
from psweep_dask.storage.journal import JournalError
from psweep_dask.storage.record import pack, to_frame
from psweep_dask.study.stop import Stop
from psweep_dask.worker.early_rows import early_path
from psweep_dask.worker.work import SliceResult


def prepared(func, count, **options):
    return PreparedRun(func, ps.plist("a", range(count)), Options(cluster="sync", **options))


def run_json(study_folder):
    (path,) = study_folder.glob("calc/runs/*/run.json")
    return json.loads(path.read_text())


def test_execution_returns_the_database_and_counts_psets(study_folder):
    run = prepared(fail_odd, 5)
    df = run.execution.go()
    assert df._status.tolist() == ["ok", "error", "ok", "error", "ok"]
    assert run.execution.progress.stats.counts() == {"ok": 3, "error": 2, "left": 0}
    info = run_json(study_folder)
    assert (info["ended"], info["cluster"]["slots"]) == ("done", 1)
    assert info["psets_per_second"] > 0


def test_stop_before_the_first_pset_leaves_all_to_resume(study_folder, caplog):
    run = prepared(double, 5)
    run.execution.stopper.request(Stop.SOON)
    assert len(run.execution.go()) == 0
    assert run_json(study_folder)["ended"] == "stopped"
    assert "stopped, ps.resume('calc') runs the 5 left" in caplog.text
    assert ps.resume("calc", cluster="sync").y.tolist() == [0, 2, 4, 6, 8]


def test_journal_error_ends_the_run_after_a_merge_of_what_the_journal_has(
    study_folder, monkeypatch
):
    run = prepared(double, 20)
    append = run.run.journal.append
    frames = []

    def full_after_the_first(frame):
        if frames:
            raise JournalError("no space left")
        frames.append(frame)
        append(frame)

    monkeypatch.setattr(run.run.journal, "append", full_after_the_first)
    with pytest.raises(JournalError, match="no space left"):
        run.execution.go()
    assert 0 < len(ps.df_read("calc/database.pk")) < 20
    assert run_json(study_folder)["ended"] == "broken off"


def test_third_ctrl_c_leaves_the_journal_to_the_next_call(study_folder, monkeypatch, caplog):
    run = prepared(double, 20)
    append = run.run.journal.append

    def interrupt(frame):
        append(frame)
        raise KeyboardInterrupt

    monkeypatch.setattr(run.run.journal, "append", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.execution.go()
    assert not (study_folder / "calc" / "database.pk").exists()
    assert "left at once, without a merge" in caplog.text
    assert len(ps.load("calc")) > 0
    assert len(ps.resume("calc", cluster="sync")) == 20


def test_run_that_cannot_be_written_leaves_nothing_on_disk(study_folder, monkeypatch):
    run = prepared(double, 5)

    def full(work):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run.run, "write_plan", full)
    with pytest.raises(OSError, match="No space left"):
        run.execution.go()
    assert list(study_folder.glob("calc/runs/*")) == []


def early_file(run, seqs):
    """What a worker writes of a slice that is late."""
    work = run.execution._work
    rows = [
        {"a": seq, **work.fields_at_start(seq, ps.pset_sha1({"a": seq})), "y": -1, "_status": "ok"}
        for seq in seqs
    ]
    result = SliceResult(frame=pack(rows), done=len(rows))
    result.statuses["ok"] = len(rows)
    path = early_path(work, seqs[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_frame(result.pack()))
    return path


def test_early_rows_of_dropped_slices_are_merged_and_counted(study_folder, caplog):
    run = prepared(double, 5)
    path = early_file(run, [2, 3])
    run.execution.stopper.request(Stop.SOON)
    df = run.execution.go()
    assert df.y.tolist() == [-1, -1]
    assert not path.exists()
    assert "runs the 3 left" in caplog.text


def test_early_rows_that_the_journal_has_are_not_added_again(study_folder):
    def stop_at_2(pset):
        if pset["a"] == 2:
            early_file(run, [0, 1])
            run.execution.stopper.request(Stop.SOON)
        return double(pset)

    run = prepared(stop_at_2, 5)
    df = run.execution.go()
    assert df._pset_seq.is_unique
    assert df.y.tolist()[:2] == [0, 2]


def test_attempts_and_lost_workers_stand_in_the_summary(caplog):
    caplog.set_level("INFO")
    run = prepared(fail_odd, 4, retries=2)
    run.execution.go()
    assert "4 failed attempts repeated" in caplog.text
    caplog.clear()

    def end(pset):
        __import__("os")._exit(3)

    ps.run(end, [{"a": 1}])
    assert "1 worker was lost" in caplog.text


class UnknownHereError(Exception):
    """An exception that only the worker could load."""

    def __reduce__(self):
        return (pickle.loads, (b"not a pickle",))


def test_on_error_raise_has_the_traceback_also_if_the_exception_cannot_be_loaded():
    def fail(pset):
        raise UnknownHereError("only there")

    with pytest.raises(ps.PsetFailedError, match="only there") as caught:
        prepared(fail, 1, on_error="raise", save=False).go()
    assert caught.value.__cause__ is None
