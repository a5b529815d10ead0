"""A run on disk, without a cluster: what is there at which moment."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from psweep_dask.params.pset import check_params
from psweep_dask.storage import journal, plan
from psweep_dask.storage.database import df_write, read_or_empty
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import pack
from psweep_dask.study import backup
from psweep_dask.study import run as run_module
from psweep_dask.study.run import Request


def request(*values, **options):
    psets, digests = check_params([{"a": value} for value in values])
    return Request(psets=psets, digests=digests, **options)


def frame_of(run, *places):
    return pack(
        {
            **run.plan.psets[place],
            "_run_id": run.plan.run_id,
            "_pset_id": f"{run.plan.run_id}-{place}",
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


def test_the_plan_is_on_disk_before_anything_runs(layout):
    run = run_module.begin_run(layout, request(1, 2, 3, info={"func": "f"}))
    mean_bytes = run.write_plan(b"work")
    with layout.run_folder(run.plan.run_id).plan_path.open("rb") as stream:
        assert plan.load(stream) == (run.plan, b"work")
    info = json.loads(layout.run_folder(run.plan.run_id).info_path.read_text())
    assert (info["psets"], info["func"], info["end"]) == (3, "f", None)
    assert layout.run_folder(run.plan.run_id).journal_path.read_bytes() == b""
    assert not layout.database_path.exists()
    assert mean_bytes > 0
    run.discard()


def test_a_record_is_in_the_journal_before_it_is_in_the_database(layout):
    run = run_module.begin_run(layout, request(1, 2, 3))
    run.journal.append(frame_of(run, 1))
    path = layout.run_folder(run.plan.run_id).journal_path
    assert [block[1][0] for block in journal.replay(path)] == [[2]]
    assert read_or_empty(layout.database_path).empty
    df = run.finish("done", {"ok": 1})
    assert df["a"].tolist() == [2]
    assert read_or_empty(layout.database_path)["a"].tolist() == [2]
    assert not path.exists()


def test_runs_at_the_same_time_get_numbers_apart(layout):
    first = run_module.begin_run(layout, request(1, 2, 3))
    second = run_module.begin_run(layout, request(4, 5))
    assert [first.plan.seqs[0], second.plan.seqs[0]] == [0, 3]
    assert [first.plan.run_seq, second.plan.run_seq] == [0, 1]
    second.journal.append(frame_of(second, 1, 0))
    second.finish("done", {})
    first.journal.append(frame_of(first, 2, 0, 1))
    df = first.finish("done", {})
    assert df["a"].tolist() == [1, 2, 3, 4, 5]
    assert df["_pset_seq"].tolist() == list(range(5))


def test_a_discarded_run_leaves_nothing_and_frees_its_numbers(layout):
    run_module.begin_run(layout, request(1, 2, 3)).discard()
    assert not layout.runs_dir.exists()
    run = run_module.begin_run(layout, request(1))
    assert run.plan.seqs[0] == 0
    run.discard()


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_a_damaged_journal_is_kept_but_not_a_torn_end(layout, damage):
    run = run_module.begin_run(layout, request(1, 2))
    run.journal.append(frame_of(run, 0))
    path = layout.run_folder(run.plan.run_id).journal_path
    last = bytearray(frame_of(run, 1))
    last[-1] ^= 1
    with path.open("ab") as stream:
        stream.write(last[:-1] if damage == "torn" else last)
    assert run.finish("done", {})["a"].tolist() == [1]
    assert not path.exists()
    assert len(list(path.parent.glob("journal.damaged-*"))) == (damage == "flipped")


def test_simulation_starts_from_a_copy_each_time(layout, study_folder):
    df_write(pd.DataFrame({"a": [1]}), layout.database_path)
    (study_folder / "calc.simulate").mkdir()
    (study_folder / "calc.simulate" / "old").touch()
    simulated = backup.simulation(layout)
    assert [path.name for path in simulated.root.iterdir()] == ["database.pk"]
    assert simulated.database_path.read_bytes() == layout.database_path.read_bytes()


def test_backup_takes_a_database_that_lives_elsewhere(study_folder):
    layout = Layout("calc", "data")
    layout.make_writable()
    df = pd.DataFrame(
        {"_run_id": ["r"], "_time_utc": [pd.Timestamp("2026-01-02")], "_pset_seq": [0]}
    )
    df_write(df, layout.database_path)
    run_module.begin_run(layout, request(1, backup=True)).discard()
    (copy,) = study_folder.glob("calc.bak_2026-01-02T00:00:00.000000Z_run_id_r")
    pd.testing.assert_frame_equal(read_or_empty(copy / "database.pk"), df)
