"""What is on disk of a run at which moment, without a cluster."""

from __future__ import annotations

import json

import pytest

from psweep_dask.options import Options
from psweep_dask.params.pset import check_params
from psweep_dask.storage import journal, plan
from psweep_dask.storage.database import read_or_empty
from psweep_dask.storage.layout import Layout, LayoutError
from psweep_dask.storage.record import pack
from psweep_dask.study.run import begin_run, layout_of, reopen_run
from psweep_dask.study.runs import stored_runs


def begin(*values, **info):
    psets, digests = check_params([{"a": value} for value in values])
    return begin_run(Options(), psets, digests, info)


def frame_of(run, *places):
    return pack(
        {
            **run.plan.psets[place],
            "_run_id": run.plan.run_id,
            "_pset_id": f"{run.plan.run_id}-{run.plan.seqs[place]}",
            "_time_utc": place,
            "_pset_seq": run.plan.seqs[place],
            "_run_seq": run.plan.run_seq,
        }
        for place in places
    )


@pytest.fixture
def layout():
    layout = Layout("calc")
    layout.make_writable()
    return layout


def test_plan_is_on_disk_before_anything_runs(layout):
    run = begin(1, 2, 3, func="f")
    mean_bytes = run.write_plan(b"work")
    with layout.run_folder(run.plan.run_id).plan_path.open("rb") as stream:
        assert plan.load(stream) == (run.plan, b"work")
    info = json.loads(layout.run_folder(run.plan.run_id).info_path.read_text())
    assert (info["psets"], info["func"], info["end"]) == (3, "f", None)
    assert layout.run_folder(run.plan.run_id).journal_path.read_bytes() == b""
    assert not layout.database_path.exists()
    assert mean_bytes > 0
    run.discard()


def test_journal_has_a_record_before_the_database(layout):
    run = begin(1, 2, 3)
    run.journal.append(frame_of(run, 1))
    path = layout.run_folder(run.plan.run_id).journal_path
    assert [block[1][0] for block in journal.replay(path)] == [[2]]
    assert read_or_empty(layout.database_path).empty
    df = run.finish("done", {"ok": 1})
    assert df["a"].tolist() == [2]
    assert read_or_empty(layout.database_path)["a"].tolist() == [2]
    assert not path.exists()


def test_seqs_of_runs_at_the_same_time_differ(layout):
    first = begin(1, 2, 3)
    second = begin(4, 5)
    assert [first.plan.seqs[0], second.plan.seqs[0]] == [0, 3]
    assert [first.plan.run_seq, second.plan.run_seq] == [0, 1]
    second.journal.append(frame_of(second, 1, 0))
    second.finish("done", {})
    first.journal.append(frame_of(first, 2, 0, 1))
    df = first.finish("done", {})
    assert df["a"].tolist() == [1, 2, 3, 4, 5]
    assert df["_pset_seq"].tolist() == list(range(5))


def test_discard_leaves_nothing_and_frees_the_numbers(layout):
    begin(1, 2, 3).discard()
    assert not layout.runs_dir.exists()
    run = begin(1)
    assert run.plan.seqs[0] == 0
    run.discard()


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_journal_that_is_damaged_is_kept_but_not_a_torn_tail(layout, damage):
    run = begin(1, 2)
    run.journal.append(frame_of(run, 0))
    path = layout.run_folder(run.plan.run_id).journal_path
    last = bytearray(frame_of(run, 1))
    last[-1] ^= 1
    with path.open("ab") as stream:
        stream.write(last[:-1] if damage == "torn" else last)
    assert run.finish("done", {})["a"].tolist() == [1]
    assert not path.exists()
    assert len(list(path.parent.glob("journal.damaged-*"))) == (damage == "flipped")


def test_reopen_run_goes_on_with_what_is_left(layout):
    run = begin(1, 2, 3)
    run.write_plan(b"work")
    run.journal.append(frame_of(run, 0))
    run.finish("stopped", {"ok": 1, "left": 2})
    (stored,) = stored_runs(layout)
    assert stored.ended_early
    stored.folder.stop_path.write_text("SOON")
    with stored.try_lock() as lock:
        again = reopen_run(stored, run.plan.without({0}), lock)
        assert not stored.folder.stop_path.exists()
        plan_on_disk = stored.folder.plan_path.read_bytes()
        again.write_plan(b"work")
        assert stored.folder.plan_path.read_bytes() == plan_on_disk  # with all of its psets
        again.journal.append(frame_of(again, 0, 1))
        assert again.finish("done", {"ok": 2})["a"].tolist() == [1, 2, 3]
    (stored,) = stored_runs(layout)
    assert (stored.info["ended"], len(stored.info["resumed"])) == ("done", 1)
    assert stored.info["counts"]["left"] == 0


def test_release_lets_other_processes_take_the_run(layout):
    run = begin(1)
    (stored,) = stored_runs(layout)
    assert stored.is_alive()
    run.release()
    assert not stored.is_alive()


def test_begin_run_that_fails_leaves_no_folder(layout, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("psweep_dask.study.run.Journal", full)
    with pytest.raises(LayoutError, match="No space left on device.; nothing has run"):
        begin(1)
    assert list(layout.runs_dir.iterdir()) == []


def test_layout_of_makes_folders_only_if_they_are_needed(study_folder):
    assert not layout_of(Options(save=False)).root.exists()
    assert layout_of(Options()).root.exists()
    assert layout_of(Options(simulate=True)).calc_dir == "calc.simulate"
