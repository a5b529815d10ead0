"""Psets by conditions, and those that are not done."""

from __future__ import annotations

import pytest

import psweep_dask as ps
from psweep_dask._query import QueryError
from psweep_dask.params.grid import ParamsError

PARAMS = ps.pgrid(ps.plist("a", [1, 2, 3]), ps.plist("b", [1, 2]))


def test_an_expression_and_a_function_choose_the_same():
    chosen = ps.where(PARAMS, "a < b or a == 3")
    assert chosen == ps.where(PARAMS, lambda p: p["a"] < p["b"] or p["a"] == 3)
    assert chosen == [{"a": 1, "b": 2}, {"a": 3, "b": 1}, {"a": 3, "b": 2}]
    assert type(chosen[0]["a"]) is int
    assert ps.where([], "a < b") == []


def test_a_pset_without_the_key_is_not_chosen_and_types_stay():
    params = [{"a": 1}, {"a": 2, "c": 5}, {"c": 7}]
    assert ps.where(params, "c > 4") == params[1:]
    assert ps.where(params, "a > 1") == [{"a": 2, "c": 5}]


def test_rows_of_a_database_are_chosen_too(study_folder):
    df = ps.run(lambda p: {"y": p["a"]}, PARAMS, cluster="sync")
    assert ps.where(df, "y > 2").equals(df[df.y > 2])
    assert ps.where(df, lambda row: row["y"] > 2).equals(df[df.y > 2])
    assert ps.query("calc", "y > 2").equals(df[df.y > 2])
    with pytest.raises(QueryError, match="name 'q' is not defined"):
        ps.query("calc", "q > 2")


def test_a_condition_that_is_none_is_named():
    with pytest.raises(QueryError, match="name 'q' is not defined; there are the columns a, b"):
        ps.where(PARAMS, "q > 1")
    with pytest.raises(QueryError, match="does not say yes or no"):
        ps.where(PARAMS, "a + b")


def test_conditional_parameters_may_be_more_than_one():
    more = ps.plist("c", [1, 2]), ps.plist("d", ["x"])
    found = ps.conditional(PARAMS[:2], "b == 2", *more)
    assert found == [
        {"a": 1, "b": 1},
        {"a": 1, "b": 2, "c": 1, "d": "x"},
        {"a": 1, "b": 2, "c": 2, "d": "x"},
    ]


def test_missing_are_those_never_run_and_those_that_failed():
    def func(pset):
        if pset["a"] == 2:
            raise ValueError("no 2")
        return {}

    df = ps.run(func, PARAMS[:4], cluster="sync", save=False)
    assert ps.missing(df, PARAMS) == PARAMS[2:]
    assert ps.missing(df[:0], PARAMS) == PARAMS
    with pytest.raises(ParamsError, match="no column _pset_sha1"):
        ps.missing(df.drop(columns="_pset_sha1"), PARAMS)


def test_many_duplicates_go():
    params = ps.plist("a", range(20_000))
    hashes = [ps.pset_sha1(one) for one in params]
    assert ps.filter_params_dup_hash([*params, {"a": -1}], hashes) == [{"a": -1}]
    assert ps.filter_params_unique(params * 2) == params
