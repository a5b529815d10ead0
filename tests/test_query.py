"""Rows are found by expressions and by the beginning of their ids."""

from __future__ import annotations

import pandas as pd
import pytest

from psweep_dask._query import (
    NoDataFrameError,
    QueryError,
    check_df,
    find_position,
    find_row,
    select_rows,
)

DF = pd.DataFrame(
    {"a": [1, 2, 3], "my b": ["x", "y", None], "_status": ["ok", "error", "ok"]},
    index=pd.to_datetime([1, 1, 2], unit="s"),
)


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("a > 1", [2, 3]),
        ("a > 1 and _status == 'ok'", [3]),
        ("`my b` == 'x' or a == 3", [1, 3]),
        ("`my b`.isna()", [3]),
        ("a in [1, 3]", [1, 3]),
        ("a > 10", []),
    ],
)
def test_select_rows_with_any_index(expression, chosen):
    assert select_rows(DF, expression).a.tolist() == chosen


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("c > 1", "name 'c' is not defined; there are the columns a, my b, _status"),
        ("a >", "invalid syntax"),
        ("a", "is not true or false for each row"),
        ("a == @DF", "'@' begins the name of a variable"),
        ("", "there are the columns"),
    ],
)
def test_select_rows_by_a_wrong_expression_is_an_error(expression, message):
    with pytest.raises(QueryError, match=message):
        select_rows(DF, expression)


@pytest.mark.parametrize("dtype", [object, "Int64"])
def test_select_rows_leaves_out_na(dtype):
    df = pd.DataFrame({"a": pd.Series([1, pd.NA, 3], dtype=dtype)})
    assert select_rows(df, "a > 1").a.tolist() == [3]


def test_find_row_by_the_beginning_of_one_id():
    df = pd.DataFrame({"_pset_id": ["12ab", "12cd", None], "a": [1, 2, 3]})
    assert find_row(df, "12c")["a"] == 2
    with pytest.raises(QueryError, match="2 psets have an id that begins with it: 12ab, 12cd"):
        find_row(df, "12")
    with pytest.raises(QueryError, match="no pset has an id that begins with it"):
        find_row(df, "x")
    with pytest.raises(QueryError, match="no column _pset_id"):
        find_row(DF, "x")


def test_find_row_by_a_number_of_two_psets_is_an_error_with_their_ids():
    df = pd.DataFrame({"_pset_id": ["12ab", "34cd", "5"], "_pset_seq": [7, 7, 8]})
    with pytest.raises(QueryError, match="2 psets have the number 7; .* its _pset_id: 12ab, 34cd"):
        find_row(df, "7")
    assert find_row(df, "8")["_pset_id"] == "5"


@pytest.mark.parametrize("prefix", [None, "", 3])
def test_find_position_needs_a_text(prefix):
    with pytest.raises(QueryError, match=f"beginning of one is needed, not {prefix!r}"):
        find_position(pd.DataFrame({"_pset_id": ["12ab"]}), prefix)


def test_find_position_is_that_of_the_row():
    assert find_position(pd.DataFrame({"_pset_id": ["12ab", None, "34cd"]}), "34") == 2


def test_check_df_names_what_is_not_a_dataframe():
    check_df(DF, "ps.refine")
    with pytest.raises(NoDataFrameError, match="ps.refine takes a DataFrame, not a dict; ps.load"):
        check_df({}, "ps.refine")
    with pytest.raises(NoDataFrameError, match="not 'calc'; ps.load"):
        check_df("calc", "ps.refine")
