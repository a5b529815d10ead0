"""Databases that psweep itself has written, in its versions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import psweep_dask as ps
from psweep_dask.study.import_psweep import PsweepImportError

DATABASES = Path(__file__).parents[1] / "golden" / "psweep_databases"


@pytest.fixture
def old(study_folder):
    def put(version):
        Path("old").mkdir(exist_ok=True)
        shutil.copy(DATABASES / f"{version}.pk", "old/database.pk")
        df = pd.read_pickle("old/database.pk")
        Path("old", df._pset_id.iloc[0]).mkdir()
        Path("old", df._pset_id.iloc[0], "out").write_text("x")
        return df

    return put


@pytest.mark.parametrize("version", sorted(path.stem for path in DATABASES.iterdir()))
def test_import_psweep_of_each_version(version, old):
    was = old(version)
    df = ps.import_psweep("old")
    assert df.a.tolist() == was.a.tolist()
    assert df.a.dtype == df._pset_seq.dtype == df._run_seq.dtype == int
    assert df.result_.dtype.kind in "if"
    assert df.result_.tolist() == was.result_.tolist()
    assert df._pset_id.tolist() == was._pset_id.tolist()
    assert df._time_utc.tolist() == was._time_utc.tolist()
    assert df._time_utc.dtype == "datetime64[ns]"
    assert df._pset_sha1.tolist() == [
        ps.pset_sha1({"a": int(a), "b": b}) for a, b in zip(was.a, was.b, strict=True)
    ]
    assert set(df._status) == {"ok"}
    assert Path("calc", df._pset_id.iloc[0], "out").read_text() == "x"
    assert list(df.columns)[:3] == ["a", "b", "_run_id"]
    assert ps.to_params(df)[0] == {"a": 1, "b": "x"}
    df = ps.run(
        lambda p: {"result_": 7.0},
        [{"a": 1, "b": "x"}, {"a": 9, "b": "x"}],
        skip_dups=True,
        cluster="sync",
    )
    assert df.a.tolist() == [*was.a, 9]
    assert df._run_seq.iloc[-1] == was._run_seq.max() + 1


def test_import_psweep_of_two_studies_and_of_one_twice(old):
    first = old("0.5.1")
    ps.import_psweep("old")
    ps.import_psweep("old")
    shutil.rmtree("old")
    second = old("0.16.0")
    df = ps.import_psweep("old")
    assert len(df) == len(first) + len(second)
    assert df._pset_seq.is_unique


def test_import_psweep_gaps_and_values_without_a_hash(old):
    df = old("0.16.0").astype(object)
    df["c"] = [pd.NA, 1, 2]
    df["odd"] = [len, None, np.arange(2)]
    df[["c", "odd", *[name for name in df.columns if name not in ("c", "odd")]]].to_pickle(
        "old/database.pk"
    )
    df = ps.import_psweep("old")
    assert df.c.tolist()[1:] == [1.0, 2.0]
    assert df.odd.iloc[0] is len
    assert df.odd.iloc[1] is None
    assert df._pset_sha1.notna().tolist() == [False, True, True]


def test_import_psweep_of_another_file_is_an_error(study_folder):
    with pytest.raises(PsweepImportError, match="there is no database 'old/database.pk'"):
        ps.import_psweep("old")
    Path("old").mkdir()
    Path("old/database.pk").write_text("no pickle")
    with pytest.raises(PsweepImportError, match="cannot be read"):
        ps.import_psweep("old")
    pd.DataFrame({"a": [1]}).to_pickle("old/database.pk")
    with pytest.raises(PsweepImportError, match="it needs the columns _run_id"):
        ps.import_psweep("old")
    assert not Path("calc").exists()


def write_old(folder, rows):
    book = ("_run_id", "_pset_id", "_time_utc", "_pset_seq", "_run_seq", "_pset_hash")
    made = [
        {
            "a": row[0],
            **dict.fromkeys(book, 0),
            "_pset_id": str(at),
            "_run_id": "r",
            "_pset_seq": at,
        }
        for at, row in enumerate(rows)
    ]
    df = pd.DataFrame(made, dtype=object)
    df["z_"] = [10 * row[0] for row in rows]
    df["c"] = [row[1] for row in rows]
    ps.df_write(df, f"{folder}/database.pk")


def test_import_psweep_params_that_came_with_a_later_run(study_folder, caplog):
    caplog.set_level("INFO", "psweep_dask")
    write_old("old", [(1, float("nan")), (4, 0.1), (4, 0.2)])
    df = ps.import_psweep("old")
    assert ps.to_params(df) == [{"a": 1}, {"a": 4, "c": 0.1}, {"a": 4, "c": 0.2}]
    assert "parameters: a, c; all else" in caplog.text
    assert list(ps.missing(df, [{"a": 4, "c": 0.1}, {"a": 4}])) == [{"a": 4}]
    named = ps.import_psweep("old", "new", params=["a"])
    assert list(named.columns[:2]) == ["a", "_run_id"]
    with pytest.raises(ps.PsweepError, match="has no column 'b', in params="):
        ps.import_psweep("old", "new", params=["b"])


def test_import_psweep_into_itself_is_an_error(study_folder):
    write_old("calc", [(1, 2)])
    with pytest.raises(ps.PsweepError, match="name another folder"):
        ps.import_psweep("calc")
