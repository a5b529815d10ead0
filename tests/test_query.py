from __future__ import annotations

import pandas as pd
import pytest

from psweep_dask._query import QueryError, by_name, where

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
def test_rows_are_chosen_whatever_the_index(expression, chosen):
    assert where(DF, expression).a.tolist() == chosen


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("c > 1", "name 'c' is not defined; there are the columns a, my b, _status"),
        ("a >", "invalid syntax"),
        ("a", "does not say yes or no for each row"),
        ("a == @DF", "'@' stands for a variable"),
        ("", "there are the columns"),
    ],
)
def test_what_cannot_be_understood_is_told(expression, message):
    with pytest.raises(QueryError, match=message):
        where(DF, expression)


def test_an_id_must_be_of_one_pset():
    df = pd.DataFrame({"_pset_id": ["12ab", "12cd", None], "a": [1, 2, 3]})
    assert by_name(df, "12c")["a"] == 2
    with pytest.raises(QueryError, match="2 psets have an id that begins with it: 12ab, 12cd"):
        by_name(df, "12")
    with pytest.raises(QueryError, match="no pset has an id that begins so"):
        by_name(df, "x")
    with pytest.raises(QueryError, match="no column _pset_id"):
        by_name(DF, "x")


def test_a_number_that_two_psets_have_is_told_with_their_ids():
    df = pd.DataFrame({"_pset_id": ["12ab", "34cd", "5"], "_pset_seq": [7, 7, 8]})
    with pytest.raises(QueryError, match="2 psets have the number 7; .* its _pset_id: 12ab, 34cd"):
        by_name(df, "7")
    assert by_name(df, "8")["_pset_id"] == "5"
