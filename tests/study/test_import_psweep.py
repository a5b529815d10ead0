"""Databases that psweep itself has written, in its versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import psweep_dask as ps
from psweep_dask.params.pset import sha1_of_all_keys
from psweep_dask.study.import_psweep import PsweepImportError

DATABASES = Path(__file__).parents[1] / "golden" / "psweep_databases"
STUDIES = DATABASES.with_name("psweep_studies")


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
    df["odd"] = [object, None, np.arange(2)]
    df["bad"] = [object(), 1, 1]
    new = ["c", "odd", "bad"]
    df[[*new, *(name for name in df.columns if name not in new)]].to_pickle("old/database.pk")
    df = ps.import_psweep("old")
    assert df.c.isna().tolist() == [True, False, False]
    assert df.c.tolist()[1:] == [1.0, 2.0]
    assert df.odd.iloc[0] is object
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


@pytest.fixture
def study(study_folder):
    """A function that puts the database of a study of psweep into the folder 'old'."""

    def put(name, folder="old"):
        Path(folder).mkdir()
        shutil.copy(STUDIES / f"{name}.pk", Path(folder, "database.pk"))
        return ps.df_read(Path(folder, "database.pk"))

    return put


def test_rows_of_psweep_without_numbers_get_them_in_their_order(study):
    old = study("0.5.1-poolsize")
    assert old._pset_seq.isna().tolist() == [False, False, True, True, True, True]
    df = ps.import_psweep("old")
    assert df.a.tolist() == [1, 2, 3, 4, 5, 6]
    assert df._pset_seq.tolist() == [0, 1, 2, 3, 4, 5]
    assert df._run_seq.tolist() == [0, 0, 1, 1, 1, 2]
    assert df._pset_seq.dtype == int
    df = ps.run(lambda pset: {"result": 0.0}, ps.plist("a", [3, 7]), skip_dups=True, cluster="sync")
    assert df.a.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert df._pset_seq.tolist()[-1] == 6


def test_rows_come_last_also_in_a_study_of_psweep_that_is_not_imported(study):
    study("0.5.1-poolsize", "calc")
    df = ps.run(lambda pset: {"result": 0.0}, ps.plist("a", [7, 8]), cluster="sync")
    assert df.a.tolist() == ps.load("calc").a.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    merged = ps.merge_studies("all", "calc")
    assert merged.a.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert merged._pset_seq.is_monotonic_increasing
    assert merged._pset_seq.is_unique


EXTENDED = {
    "0.5.1": [
        {"a": 1},
        {"a": 2},
        {"a": 1, "c": 7},
        {"a": 1, "c": 8},
        {"a": 2, "c": 7},
        {"a": 2, "c": 8},
        {"a": 1, "c": 0.5, "d": "q"},
        {"a": 1, "c": 0.5, "d": None},
        {"a": 2, "c": 0.5, "d": "q"},
        {"a": 2, "c": 0.5, "d": None},
    ],
}
EXTENDED["0.16.0"] = EXTENDED["0.5.1"][:6]
"""The psets of studies that were extended by parameters."""


@pytest.mark.parametrize("version", EXTENDED)
def test_study_that_was_extended_by_parameters_gives_its_psets_back(version, study):
    old = study(f"{version}-extended")
    df = ps.import_psweep("old")
    assert ps.to_params(df) == EXTENDED[version]
    assert list(map(type, ps.to_params(df)[2].values())) == [int, int]
    results = [name for name in ("result", "text", "more", "result_") if name in old]
    for name in results:
        expected = [None if pd.isna(value) else value for value in old[name]]
        assert [None if pd.isna(value) else value for value in df[name]] == expected
    again = ps.run(lambda pset: {}, EXTENDED[version], skip_dups=True, cluster="sync")
    assert len(again) == len(df)


def test_study_of_psweep_0_5_gives_its_psets_back_also_before_it_is_imported(study):
    old = study("0.5.1-extended", "calc")
    assert ps.to_params(old) == EXTENDED["0.5.1"]
    assert ps.missing(old, EXTENDED["0.5.1"]) == []
    df = ps.run(lambda pset: {}, [{"a": 3, "c": 9}], cluster="sync")
    assert ps.to_params(df) == [*EXTENDED["0.5.1"], {"a": 3, "c": 9}]
    assert ps.missing(df, [*EXTENDED["0.5.1"], {"a": 4}]) == [{"a": 4}]


def test_hashes_of_psweep_cover_keys_with_underscores_and_ours_do_not(study_folder):
    psets = [{"a": 1, "_note": "x", "b_": 2}, {"a": 2, "_note": "y", "b_": 3}]
    book = {"_run_id": "r", "_time_utc": pd.Timestamp(0), "_run_seq": 0}
    rows = [
        {**pset, **book, "_pset_id": str(at), "_pset_seq": at, "_pset_sha1": sha1_of_all_keys(pset)}
        for at, pset in enumerate(psets)
    ]
    ps.df_write(pd.DataFrame(rows), "old/database.pk")
    df = ps.import_psweep("old")
    assert ps.to_params(df) == psets
    assert ps.missing(df, [{"a": 1}, {"a": 2, "b_": 9}, {"a": 3}]) == [{"a": 3}]


REFUSE = {
    "run": lambda df: ps.run(len, [{"a": 1}], df=df),
    "run_local": lambda df: ps.run_local(len, [{"a": 1}], df),
    "submit": lambda df: ps.submit(len, [{"a": 1}], df=df),
    "missing": lambda df: ps.missing(df, [{"a": 1}]),
    "to_params": ps.to_params,
    "df_extract_params": ps.df_extract_params,
    "df_extract_row": lambda df: ps.df_extract_row(df, df._pset_id.iloc[0]),
    "to_xarray": lambda df: ps.to_xarray(df, ["a"]),
    "export": lambda df: ps.export(df, "x.nc", dims=["a"]),
    "refine": lambda df: ps.refine(df, "a", "result_"),
    "read_params": ps.read_params,
    "filter_params_dup_hash": lambda df: ps.filter_params_dup_hash([{"a": 1}], df._pset_hash),
    "run in its folder": lambda df: ps.run(len, [{"a": 1}], calc_dir="old"),
    "without save": lambda df: ps.run(len, [{"a": 1}], calc_dir="old", save=False),
    "simulate": lambda df: ps.run(len, [{"a": 1}], calc_dir="old", simulate=True),
    "prep_batch": lambda df: ps.prep_batch([{"a": 1}], "old", "templates", "machines"),
    "load": lambda df: ps.load("old"),
    "query": lambda df: ps.query("old", "a > 1"),
    "merge_studies": lambda df: ps.merge_studies("all", "old"),
    "df_update": lambda df: ps.df_update("old", {"a": 1}),
    "delete": lambda df: ps.delete("old", "a > 1"),
}
"""Calls that would take its hashes or its columns for ours."""


@pytest.mark.parametrize("call", REFUSE)
def test_database_of_psweep_0_16_is_refused_where_it_would_be_misread(call, study):
    df = study("0.16.0-extended")
    Path("templates").mkdir()
    Path("templates/x").touch()
    Path("machines").mkdir()
    before = Path("old/database.pk").read_bytes()
    with pytest.raises(ps.PsweepError, match=r"psweep.*import_psweep|ps.to_params returns"):
        REFUSE[call](df)
    assert Path("old/database.pk").read_bytes() == before


def test_database_of_psweep_0_16_is_read_where_it_is_only_a_table(study, capsys):
    df = study("0.16.0-extended")
    assert ps.where(df, "a == 2").a.tolist() == [2, 2, 2]
    assert ps.where(df, "c > 7").c.tolist() == [8, 8]
    assert ps.df_filter_conds(df, [df.a == 2, df.c == 8]).index.tolist() == [5]
    ps.df_print(df)
    assert "<NA>" in capsys.readouterr().out
    rows = json.loads(ps.df_to_json(df))
    ps.export(df, "x.json")
    exported = json.loads(Path("x.json").read_text())
    for table in (rows, exported, pd.read_csv(csv_of(df)).to_dict("records")):
        assert [row["a"] for row in table] == [1, 2, 1, 1, 2, 2]
        assert [row["c"] for row in table[2:]] == [7, 8, 7, 8]
        assert pd.isna(table[0]["c"])
    assert ps.check_calc_dir("old", df)["db_not_disk"] == set(df._pset_id)


def csv_of(df):
    ps.export(df, "x.csv")
    return "x.csv"


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


def test_import_psweep_of_rows_that_were_added_by_hand_is_an_error(study):
    df = study("0.5.1-poolsize")
    ps.df_write(pd.concat([df, pd.DataFrame([{"a": 9, "result": 1.0}])]), "old/database.pk")
    with pytest.raises(PsweepImportError, match="row 6 has no _run_id; complete it, or leave"):
        ps.import_psweep("old")
    assert not Path("calc").exists()


def test_import_psweep_into_itself_is_an_error(study_folder):
    write_old("calc", [(1, 2)])
    with pytest.raises(ps.PsweepError, match="name another folder"):
        ps.import_psweep("calc")
