"""Psets from files: numbers are numbers, text is text, and ints stay ints."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

import psweep_dask as ps
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import PsetError


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_read_params_from_csv(tmp_path):
    text = 'a, b,c,d\n1,x,true,"[1, 2]"\n,1e-3,False,001\n2.0,"a ""b""",,null\n'
    rows = ps.read_params(written(tmp_path, "x.csv", "\ufeff" + text))
    assert rows == [
        {"a": 1, "b": "x", "c": True, "d": [1, 2]},
        {"b": 0.001, "c": False, "d": "001"},
        {"a": 2.0, "b": 'a "b"', "d": None},
    ]
    assert type(rows[0]["a"]) is int
    assert type(rows[2]["a"]) is float


def test_read_params_from_json_and_yaml(tmp_path):
    params = [{"a": 1, "b": {"c": [1.5, None]}}, {"a": "x"}]
    assert ps.read_params(written(tmp_path, "x.json", json.dumps(params))) == params
    text = "- {a: 1, b: 1e-3, c: 2E5, e: abc}\n- a: 2026-01-02\n  b: -1.5e+3\n  c: 12e\n"
    assert ps.read_params(written(tmp_path, "x.yaml", text)) == [
        {"a": 1, "b": 0.001, "c": 200000.0, "e": "abc"},
        {"a": dt.date(2026, 1, 2), "b": -1500.0, "c": "12e"},
    ]


def test_read_params_from_a_dataframe():
    df = pd.DataFrame(
        {"a": [1, 2], "b": [0.5, np.nan], "c": ["x", None], "t": pd.to_datetime(["2026-01-02"] * 2)}
    )
    time = dt.datetime(2026, 1, 2)
    rows = ps.read_params(df)
    assert rows == [{"a": 1, "b": 0.5, "c": "x", "t": time}, {"a": 2, "t": time}]
    assert type(rows[0]["a"]) is int
    assert type(rows[0]["t"]) is dt.datetime


def test_read_params_of_what_export_wrote(tmp_path):
    params = [{"a": 1, "b": [1, 2]}, {"a": 2, "c": "x"}, {"a": 3, "d": True}]
    for suffix in ("csv", "json"):
        ps.export(pd.DataFrame(params, dtype=object), tmp_path / f"x.{suffix}")
    assert ps.read_params(tmp_path / "x.csv") == params
    from_json = ps.read_params(tmp_path / "x.json")
    assert [{k: v for k, v in pset.items() if v is not None} for pset in from_json] == params


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("params.json", '[{"a": 1, "b": {"c": 1, "d": 2, "c": 3}}]'),
        ("params.yaml", "- a: 1\n  b: {c: 1, d: 2, c: 3}\n"),
    ],
)
def test_read_params_names_a_key_that_is_written_twice(name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ParamsError, match="the key 'c' is written twice"):
        ps.read_params(path)


def test_read_params_merges_mappings_of_yaml(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("- &first {a: 1, b: 2}\n- {<<: *first, b: 3}\n")
    assert ps.read_params(path) == [{"a": 1, "b": 2}, {"a": 1, "b": 3}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "{", "cannot be read: Expecting property name"),
        ("x.json", '{"a": 1}', "must hold a list of mappings"),
        ("x.yaml", "a: [", "cannot be read"),
        ("x.csv", "a,a\n1,2\n", "each column needs a name of its own, not 'a', 'a'"),
        ("x.csv", "a\n1,2\n", "line 2 has more cells"),
        ("x.txt", "", "ends in '.txt'; params are read from .csv"),
    ],
)
def test_read_params_names_what_cannot_be_read(name, text, message, tmp_path):
    with pytest.raises(ParamsError, match=message):
        ps.read_params(written(tmp_path, name, text))


def test_read_params_with_a_reserved_name_or_without_a_file_is_an_error(tmp_path):
    with pytest.raises(PsetError, match="'_run_id' is reserved"):
        ps.read_params(written(tmp_path, "x.csv", "_run_id\n1\n"))
    with pytest.raises(FileNotFoundError):
        ps.read_params(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_read_params_of_an_export_is_an_error_that_names_to_params(suffix, tmp_path):
    df = ps.run(lambda pset: {"y": 1}, ps.plist("a", [1, 2]), cluster="sync", save=False)
    ps.export(df, tmp_path / f"x{suffix}")
    with pytest.raises(ParamsError, match=r"is an export of the database of a study: ps.to_params"):
        ps.read_params(tmp_path / f"x{suffix}")
    ps.export(df[["a"]], tmp_path / f"x{suffix}")
    assert ps.read_params(tmp_path / f"x{suffix}") == [{"a": 1}, {"a": 2}]


def test_read_params_takes_times_of_numpy_as_times():
    df = pd.DataFrame({"t": pd.Series([np.datetime64("2026-01-02", "ns"), 1], dtype=object)})
    assert ps.read_params(df) == [{"t": dt.datetime(2026, 1, 2)}, {"t": 1}]


def test_read_params_refuses_other_sources_and_separators(tmp_path):
    with pytest.raises(ParamsError, match="separated by commas, not by semicolons"):
        ps.read_params(written(tmp_path, "x.csv", "a;b\n1;2\n"))
    with pytest.raises(ParamsError, match="ps.to_params returns its psets"):
        ps.read_params(ps.run(lambda p: {}, [{"a": 1}], cluster="sync", save=False))
    with pytest.raises(ParamsError, match="must be a path or a DataFrame, not int"):
        ps.read_params(3)


def test_read_params_of_yaml_follows_version_1_2(tmp_path):
    text = "- {a: 12:30, b: 010, c: 0x10, d: -1_000, e: .5, f: 1., g: .inf, h: 2026, i: yes}\n"
    assert ps.read_params(written(tmp_path, "x.yaml", text)) == [
        {"a": "12:30", "b": 10, "c": 16, "d": -1000, "e": 0.5, "f": 1.0}
        | {"g": float("inf"), "h": 2026, "i": "yes"}
    ]


def test_read_params_of_a_dataframe_with_arrays():
    rows = ps.read_params(pd.DataFrame({"a": [np.arange(2), np.arange(3)]}))
    assert [pset["a"].tolist() for pset in rows] == [[0, 1], [0, 1, 2]]
