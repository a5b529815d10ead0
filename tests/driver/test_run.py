"""What users rely on when they call run and run_local: the rows, and what func may be."""

from __future__ import annotations

import functools
import json
import uuid

import numpy as np
import pandas as pd
from helpers.funcs import double, fail_odd

import psweep_dask as ps
from psweep_dask.storage import plan
from psweep_dask.worker.work import Work

PARAMS = ps.pgrid(ps.plist("a", [1, 2, 3]), ps.plist("b", [77, 88]))


SEED_COLUMNS = [
    "_run_id", "_pset_id", "_calc_dir", "_time_utc", "_pset_sha1", "_pset_seq", "_run_seq",
]  # fmt: skip


OUR_COLUMNS = ["_status", "_exc_txt", "_exec_host", "_pset_runtime", "_attempt"]


def product(pset):
    return {"result": pset["a"] * pset["b"]}


def test_run_returns_the_rows_of_the_first_study_of_psweep(where, study_folder):
    df = ps.run(product, PARAMS, cluster=where)
    assert list(df) == ["a", "b", *SEED_COLUMNS, "result", *OUR_COLUMNS]
    assert df.result.tolist() == [77, 88, 154, 176, 231, 264]
    assert df._pset_seq.tolist() == list(range(6))
    assert df._run_seq.tolist() == [0] * 6
    assert df._run_id.nunique() == 1
    assert df._pset_id.nunique() == 6
    assert all(uuid.UUID(text).version == 4 for text in [*df._run_id, *df._pset_id])
    assert df._calc_dir.tolist() == ["calc"] * 6
    assert df._pset_sha1.tolist() == [ps.pset_sha1(pset) for pset in PARAMS]
    assert (df.index == df._time_utc).all()
    assert df._status.tolist() == ["ok"] * 6
    assert df._exc_txt.tolist() == [None] * 6
    assert df._attempt.tolist() == [1] * 6
    assert str(df._time_utc.dtype) == str(df.index.dtype) == "datetime64[ns]"
    assert [str(df[name].dtype) for name in ("a", "_pset_seq", "result")] == ["int64"] * 3
    pd.testing.assert_frame_equal(ps.df_read("calc/database.pk"), df)


def test_run_leaves_its_plan_and_run_json_but_no_journal(where, study_folder):
    df = ps.run(fail_odd, ps.plist("a", range(4)), cluster=where)
    (run_dir,) = (study_folder / "calc" / "runs").iterdir()
    assert run_dir.name == df._run_id.iloc[0]
    names = sorted(path.name for path in run_dir.iterdir())
    assert names == ["driver.lock", "plan.pk", "rows-0.gz", "run.json"]
    info = json.loads((run_dir / "run.json").read_text())
    assert info["ended"] == "done"
    assert info["counts"] == {"ok": 2, "error": 2, "left": 0}
    assert info["func"] == "fail_odd"
    assert info["start"] < info["end"]
    assert info["cluster"]["kind"] == where
    with (run_dir / "plan.pk").open("rb") as stream:
        planned, work = plan.load(stream)
    assert planned.psets == ps.plist("a", range(4))
    func = Work.unpack(work).load_func()
    assert func({"a": 2}) == {"y": 2}


def test_run_appends_to_the_database_and_goes_on_counting(where):
    ps.run(double, ps.plist("a", [1, 2]), cluster=where)
    df = ps.run(double, ps.plist("a", [1, 2]), cluster=where)
    assert df._run_seq.tolist() == [0, 0, 1, 1]
    assert df._pset_seq.tolist() == [0, 1, 2, 3]
    assert df._run_id.nunique() == 2
    assert df._pset_id.nunique() == 4
    assert df._pset_sha1.nunique() == 2


def test_equal_psets_are_separate_rows():
    df = ps.run(lambda pset: {"y": ps.rng(pset).random()}, [{"a": 1}] * 20)
    assert len(df) == df._pset_id.nunique() == df.y.nunique() == 20


def test_database_edits_columns_and_deletions_of_the_user_survive(study_folder):
    df = ps.run(double, ps.plist("a", [1, 2, 3]), cluster="sync")
    df["study"] = "first"
    df.loc[df.a == 1, "y"] = -1
    ps.df_write(df[df.a != 2], "calc/database.pk")
    df = ps.run(double, ps.plist("a", [4]), cluster="sync")
    assert df.a.tolist() == [1, 3, 4]
    assert df.y.tolist() == [-1, 6, 8]
    assert df.study.tolist()[:2] == ["first", "first"]
    assert pd.isna(df.study.iloc[2])


def test_columns_that_appear_later_are_filled_as_pandas_does():
    ps.run(double, ps.plist("a", [1]), cluster="sync")
    df = ps.run(lambda pset: {"z": "text"}, [{"a": 2, "b": 5}], cluster="sync")
    assert list(df)[:2] == ["a", "b"]
    assert df.y.tolist()[0] == 2.0
    assert np.isnan(df.y.tolist()[1])
    assert df.b.dtype == float


def test_psweep_database_is_continued(study_folder):
    old = pd.DataFrame(
        {
            "a": [1],
            "_run_id": ["r"],
            "_pset_id": ["p"],
            "_run_seq": [4],
            "_pset_seq": [7],
            "y": [0.5],
        },
        index=[pd.Timestamp("2021-03-19 22:58:17.015223265")],
    )
    ps.df_write(old, "calc/database.pk")
    df = ps.run(double, ps.plist("a", [2]), cluster="sync")
    assert df._pset_seq.tolist() == [7, 8]
    assert df._run_seq.tolist() == [4, 5]
    assert df.y.tolist() == [0.5, 4.0]


def test_params_may_be_a_generator():
    assert ps.run(double, ({"a": n} for n in range(3)), cluster="sync").y.tolist() == [0, 2, 4]


def test_params_without_psets_return_the_database_as_it_is(study_folder):
    assert ps.run(double, [], cluster="sync").empty
    ps.run(double, ps.plist("a", [1]), cluster="sync")
    assert len(ps.run(double, [], cluster="sync")) == 1
    assert len(list((study_folder / "calc" / "runs").iterdir())) == 1


def test_run_local_keeps_the_positions_of_psweep(study_folder):
    first = ps.run_local(double, ps.plist("a", [1]), None, 1, False)
    assert list(study_folder.iterdir()) == []
    df = ps.run_local(double, ps.plist("a", [2]), first, 1, True, True, False, "work")
    assert df.a.tolist() == [1, 2]
    assert (study_folder / "work" / "tmpsave").exists()


def test_func_may_be_a_partial_a_method_or_a_callable_object():
    class Model:
        def __call__(self, pset):
            return double(pset)

        def method(self, pset):
            return double(pset)

    def power(n, pset):
        return {"y": pset["a"] ** n}

    for func in (Model(), Model().method, functools.partial(power, 1), lambda pset: double(pset)):
        assert len(ps.run(func, ps.plist("a", [1, 2]), save=False)) == 2


def test_psets_and_results_may_hold_objects():
    def func(pset):
        return {"sum": pset["array"].sum(), "back": pset["array"] * 2, "none": None}

    df = ps.run(func, [{"array": np.arange(n)} for n in (2, 3)], save=False)
    assert df["sum"].tolist() == [1, 3]
    assert df["back"].iloc[1].tolist() == [0, 2, 4]
    assert df["none"].tolist() == [None, None]


def test_large_results_come_back():
    df = ps.run(lambda pset: {"y": np.full(2**21, pset["a"])}, ps.plist("a", range(12)), save=False)
    assert [array[0] for array in df.y] == list(range(12))
    assert df.y.iloc[0].nbytes == 2**24
