"""Two halves of a study become one: all rows, each once, no number shared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.driver_process import start, wait_for_journal
from hypothesis import given, settings
from hypothesis import strategies as st

import psweep_dask as ps
from psweep_dask.errors import PsweepError
from psweep_dask.study.merge import MergeError, add_rows


def func(pset):
    folder = Path(pset["_calc_dir"], pset["_pset_id"])
    folder.mkdir()
    (folder / "out").write_text(str(pset["a"]))
    return {"y": pset["a"]}


def study(calc_dir, values):
    return ps.run(func, ps.plist("a", values), cluster="sync", calc_dir=calc_dir)


def check_whole(df, values, calc_dir):
    assert sorted(df.a) == sorted(values)
    assert df._pset_id.is_unique
    assert df._pset_seq.is_unique
    assert df._pset_seq.is_monotonic_increasing
    assert df.groupby("_run_id")._run_seq.nunique().eq(1).all()
    assert df.groupby("_run_seq")._run_id.nunique().eq(1).all()
    assert all(Path(calc_dir, pset_id, "out").exists() for pset_id in df._pset_id)


def test_merge_two_studies_and_again(study_folder):
    study("one", [1, 2, 3])
    study("one", [4])
    study("other", [5, 6])
    other = ps.load("other")
    df = ps.merge_studies("all", "one", "other")
    check_whole(df, range(1, 7), "all")
    assert df.a.tolist() == [1, 2, 3, 4, 5, 6]
    assert set(df._calc_dir) == {"all"}
    again = ps.merge_studies("all", "other", "one")
    pd.testing.assert_frame_equal(again, df)
    pd.testing.assert_frame_equal(ps.load("other"), other)
    assert [run.done for run in ps.status("all").runs] == [3, 1, 2]
    df = study("all", [7])
    assert df._pset_seq.tolist() == list(range(7))
    assert df._run_seq.max() == 3


def test_merge_keeps_plans_for_retry_and_reproduce(study_folder):
    def fails(pset):
        if pset["a"] % 2:
            raise ValueError(f"odd: {ps.rng(pset).random()}")
        return {"y": ps.rng(pset).random()}

    for name, values in (("one", [1, 2]), ("other", [3, 4])):
        ps.run(fails, ps.plist("a", values), calc_dir=name, cluster="sync")
    df = ps.merge_studies("all", "one", "other")
    assert ps.reproduce("all", df._pset_id.iloc[3])["y"] == df.y.iloc[3]
    with pytest.raises(ValueError, match="odd"):
        ps.reproduce("all", df._pset_id.iloc[2])
    df = ps.retry("all", func=lambda pset: {"y": 0.0}, cluster="sync")
    assert df.a.tolist() == [1, 2, 3, 4, 1, 3]
    assert df._attempt.tolist() == [1, 1, 1, 1, 2, 2]
    assert df._pset_seq.tolist() == list(range(6))


def test_merge_a_copy_that_went_on_elsewhere(study_folder):
    study("one", [1, 2])
    shutil.copytree("one", "other")
    study("one", [3])
    study("other", [4])
    df = ps.merge_studies("one", "other")
    check_whole(df, [1, 2, 3, 4], "one")


def test_merge_refuses_runs_that_are_not_finished_and_what_is_no_study(study_folder):
    with start(study_folder, count=500) as driver:
        wait_for_journal(study_folder)
        with pytest.raises(MergeError, match="goes on"):
            ps.merge_studies("all", "calc")
        driver.kill()
    with pytest.raises(MergeError, match=r"is not finished.*ps.resume\('calc'\)"):
        ps.merge_studies("all", "calc")
    with pytest.raises(PsweepError, match="there is no study in 'nowhere'"):
        ps.merge_studies("all", "nowhere")
    study("one", [1])
    with pytest.raises(MergeError, match="'one' cannot be merged into itself"):
        ps.merge_studies("one", "one")
    with pytest.raises(MergeError, match="name the studies"):
        ps.merge_studies("one")
    assert not Path("all").exists()


def rows_of(run_id, first, count, run_seq):
    return pd.DataFrame(
        {
            "_run_id": run_id,
            "_pset_id": [f"{run_id}{seq}" for seq in range(first, first + count)],
            "_pset_seq": range(first, first + count),
            "_run_seq": run_seq,
        }
    )


sizes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def database(run_ids, counts):
    """A study whose runs have so many psets each."""
    firsts = [sum(counts[:run_seq]) for run_seq in range(len(counts))]
    runs = zip(run_ids, firsts, counts, range(len(counts)), strict=False)
    return pd.concat([rows_of(*run) for run in runs], ignore_index=True)


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, sizes, st.integers(0, 20))
def test_merge_gives_no_number_and_no_row_twice(first, second, third, reserved):
    df = database("abcd", first)
    for rows in (database("efgh", second), database("ijkl", third), database("efgh", second)):
        df, _ = add_rows(df, rows, [(reserved, reserved)])
    assert len(df) == sum(first) + sum(second) + sum(third)
    assert df._pset_id.is_unique
    assert df._pset_seq.is_unique
    assert df.groupby("_run_seq")._run_id.nunique().eq(1).all()
    new = df[~df._run_id.isin(list("abcd"))]
    assert (new._pset_seq > reserved).all()
    assert (new._run_seq > reserved).all()


def test_merge_add_rows_returns_how_the_numbers_of_each_new_run_have_moved():
    old = rows_of("r", 0, 1, 0)
    df, moved = add_rows(old, rows_of("s", 0, 1, 0), [])
    assert (df._pset_seq.tolist(), moved) == ([0, 1], {"s": (1, 1)})


def test_merge_that_was_cut_off_and_done_again_keeps_psets_and_rows_together(study_folder):
    def func(pset):
        if pset["a"] % 2:
            raise ValueError("odd")
        return {}

    ps.run(func, ps.plist("a", range(10, 16)), calc_dir="src", cluster="sync")
    ps.run(func, ps.plist("a", [0, 2, 4]), calc_dir="all", cluster="sync")
    target = Path("all/database.pk")
    content = target.read_bytes()
    ps.merge_studies("all", "src")
    target.write_bytes(content)  # as if the merge had died before its last step
    ps.run(func, ps.plist("a", [6, 8]), calc_dir="all", cluster="sync")
    df = ps.merge_studies("all", "src")
    seen = []
    for pset_id, a in zip(df._pset_id, df.a, strict=True):
        ps.reproduce("all", pset_id, func=lambda pset: seen.append(pset["a"]) or {})
        assert seen[-1] == a
    again = ps.retry("all", func=lambda pset: {}, cluster="sync")
    assert sorted(again.a[again._run_seq == again._run_seq.max()]) == [11, 13, 15]
