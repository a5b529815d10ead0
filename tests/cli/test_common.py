"""What the commands have in common: rows that are asked for, and errors in a line."""

from __future__ import annotations

import errno

import click
import pandas as pd
import pytest
from click.testing import CliRunner

import psweep_dask as ps
from psweep_dask._query import QueryError
from psweep_dask.cli.common import ShortErrors, check_columns, filter_rows


def test_check_columns_names_the_missing_one_and_those_there_are():
    df = pd.DataFrame({"a": [1], "b": [2]})
    check_columns([], df)
    check_columns(["b", "a"], df)
    with pytest.raises(click.UsageError, match="no column 'q'; there are a, b"):
        check_columns(["a", "q"], df)


def test_where_chooses_rows_and_a_wrong_one_is_an_error():
    df = pd.DataFrame({"a": [1, 2, 3]})
    assert filter_rows(df, None) is df
    assert filter_rows(df, "a > 1").a.tolist() == [2, 3]
    with pytest.raises(QueryError, match="'q > 1'"):
        filter_rows(df, "q > 1")


def test_where_of_a_study_without_rows_is_no_error():
    assert filter_rows(pd.DataFrame(), "a > 1").empty


def test_where_chooses_among_the_rows_of_a_study():
    ps.run(lambda pset: {}, ps.plist("a", [1, 2, 3]), cluster="sync")
    assert filter_rows(ps.load("calc"), None).a.tolist() == [1, 2, 3]
    assert filter_rows(ps.load("calc"), "a < 3").a.tolist() == [1, 2]


def command_that_raises(error):
    @click.command(cls=ShortErrors)
    def command():
        raise error

    return CliRunner().invoke(command, [])


@pytest.mark.parametrize(
    "error", [ps.PsweepError("no such study"), OSError(errno.ENOSPC, "no such study")]
)
def test_short_errors_are_a_line_with_exit_status_1(error):
    result = command_that_raises(error)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "no such study" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EINVAL, "a bug")])
def test_short_errors_let_bugs_keep_their_traceback(error):
    result = command_that_raises(error)
    assert result.exception is error
