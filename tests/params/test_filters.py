"""Psets by conditions, and those that are not done."""

from __future__ import annotations

import pytest

import psweep_dask as ps
from psweep_dask._query import QueryError
from psweep_dask.params.grid import ParamsError

PARAMS = ps.pgrid(ps.plist("a", [1, 2, 3]), ps.plist("b", [1, 2]))


def test_where_takes_an_expression_or_a_function():
    chosen = ps.where(PARAMS, "a < b or a == 3")
    assert chosen == ps.where(PARAMS, lambda p: p["a"] < p["b"] or p["a"] == 3)
    assert chosen == [{"a": 1, "b": 2}, {"a": 3, "b": 1}, {"a": 3, "b": 2}]
    assert type(chosen[0]["a"]) is int
    assert ps.where([], "a < b") == []


def test_where_leaves_out_psets_without_the_key():
    params = [{"a": 1}, {"a": 2, "c": 5}, {"c": 7}]
    assert ps.where(params, "c > 4") == params[1:]
    assert ps.where(params, "a > 1") == [{"a": 2, "c": 5}]


def test_where_chooses_rows_of_a_database(study_folder):
    df = ps.run(lambda p: {"y": p["a"]}, PARAMS, cluster="sync")
    assert ps.where(df, "y > 2").equals(df[df.y > 2])
    assert ps.where(df, lambda row: row["y"] > 2).equals(df[df.y > 2])
    assert ps.query("calc", "y > 2").equals(df[df.y > 2])
    for condition in ("y > 2", lambda row: row["y"] > 2):
        assert ps.where(df[:0], condition).columns.equals(df.columns)
    with pytest.raises(QueryError, match="name 'q' is not defined"):
        ps.query("calc", "q > 2")


def test_where_with_a_wrong_condition_is_an_error():
    with pytest.raises(QueryError, match="name 'q' is not defined; there are the columns a, b"):
        ps.where(PARAMS, "q > 1")
    with pytest.raises(QueryError, match="is not true or false for each row"):
        ps.where(PARAMS, "a + b")
    with pytest.raises(QueryError, match="a str such as 'a > 3' or a function of a pset, not 3"):
        ps.where(PARAMS, 3)


def test_conditional_adds_all_combinations():
    more = ps.plist("c", [1, 2]), ps.plist("d", ["x"])
    assert ps.conditional(PARAMS[:2], "b == 2", *more) == [
        {"a": 1, "b": 1},
        {"a": 1, "b": 2, "c": 1, "d": "x"},
        {"a": 1, "b": 2, "c": 2, "d": "x"},
    ]


def test_missing_are_psets_never_run_and_psets_that_failed():
    def func(pset):
        if pset["a"] == 2:
            raise ValueError("no 2")
        return {}

    df = ps.run(func, PARAMS[:4], cluster="sync", save=False)
    assert ps.missing(df, PARAMS) == PARAMS[2:]
    assert ps.missing(df[:0], PARAMS) == PARAMS
    with pytest.raises(ParamsError, match="no column _pset_sha1"):
        ps.missing(df.drop(columns="_pset_sha1"), PARAMS)


def test_filter_params_leaves_out_many_duplicates():
    params = ps.plist("a", range(20_000))
    hashes = [ps.pset_sha1(pset) for pset in params]
    assert ps.filter_params_dup_hash([*params, {"a": -1}], hashes) == [{"a": -1}]
    assert ps.filter_params_unique(params * 2) == params
