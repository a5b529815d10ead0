"""Columns of values: their types, their gaps, their order."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math

import numpy as np
import pandas as pd
import pytest

from psweep_dask.storage.columns import (
    GAP,
    ColumnOrder,
    cells_of,
    column_roles,
    make_column,
    without_pyarrow,
)
from psweep_dask.storage.pickling import PackedValue, dumps

TIME = pd.Series([dt.datetime(2026, 1, 2)]).dtype.name  # of microseconds, in pandas 2 nanoseconds


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "int64"),
        ([1, 2.5], "float64"),
        ([True, False], "bool"),
        ([np.int8(1), np.int8(2)], "int8"),
        (["a", "b"], pd.Series(["a"]).dtype.name),  # "str", in pandas 2 "object"
        ([1j, 2.0], "complex128"),
        ([dt.datetime(2026, 1, 2), dt.datetime(2026, 1, 3)], TIME),
        ([1, None], "object"),
        ([True, 1], "object"),
        ([1, "a"], "object"),
        ([[1], [2]], "object"),
        ([Colour.RED, Colour.RED], "object"),
        ([decimal.Decimal(1)], "object"),
        ([2**70], "object"),
    ],
)
def test_column_has_a_type_that_keeps_its_values(values, dtype):
    column = make_column("a", values, len(values))
    assert column.dtype == dtype
    assert column.tolist() == values


@pytest.mark.parametrize("values", [[1, GAP, 3], [GAP, 2, 3], [1, 2]])
def test_gaps_are_filled_as_pandas_does(values):
    column = make_column("a", values, 3)
    assert column.dtype == "float64"
    assert column.dropna().tolist() == [value for value in values if value is not GAP]


@pytest.mark.parametrize(
    "values",
    [
        [1, GAP, 3],
        [True, GAP],
        ["a", GAP],
        [dt.datetime(2026, 1, 2), GAP],
        [1j, GAP],
        [[1], None, GAP],
        [Colour.RED, GAP],
        [GAP, GAP],
    ],
)
def test_gaps_that_pandas_has_filled_are_found_again(values):
    cells = cells_of(make_column("a", values, len(values) + 1))
    assert [cell is GAP for cell in cells] == [value is GAP for value in [*values, GAP]]
    assert [cell for cell in cells if cell is not GAP] == [v for v in values if v is not GAP]


def test_gaps_in_columns_of_objects_are_nan_but_not_none_and_nat():
    column = pd.Series([None, math.nan, pd.NaT, 1], dtype=object)
    assert cells_of(column) == [None, GAP, pd.NaT, 1]
    assert cells_of(pd.Series([None, 1], dtype="Int64")) == [GAP, 1]


def test_packed_value_that_cannot_be_restored_costs_no_other():
    column = make_column("a", [PackedValue(dumps([1])), PackedValue(b"damaged"), 3], 3)
    assert column.iloc[0] == [1]
    assert "cannot be restored here" in repr(column.iloc[1])
    assert column.iloc[2] == 3


def test_time_utc_is_in_nanoseconds():
    (time,) = make_column("_time_utc", [10**18 + 1], 1)
    assert (time.value, time.unit) == (10**18 + 1, "ns")


def test_column_order_is_parameters_seed_fields_results_our_fields():
    order = ColumnOrder()
    order.add(("b", "_run_id", "_pset_id", "y", "_status"))
    order.add(("a", "b", "_run_id", "_pset_id", "z", "y", "_status", "_exc_txt"))
    assert order.names() == ["b", "a", "_run_id", "_pset_id", "y", "z", "_status", "_exc_txt"]


def test_column_order_takes_a_name_for_what_it_was_first():
    order = ColumnOrder()
    order.add(("a", "_run_id", "y"))
    order.add(("a", "y", "_run_id", "z"))
    assert (order.roles().params, order.roles().results) == (["a"], ["y", "z"])


def test_column_roles_without_book_keeping_are_parameters():
    assert column_roles(["a", "y"]) == (["a", "y"], [], [], [])
    roles = column_roles(["a", "_pset_id", "y", "_status", "_pset_seq"])
    assert roles.book_keeping == ["_pset_id", "_pset_seq", "_status"]


def test_pyarrow_is_in_no_column_and_no_labels():
    pytest.importorskip("pyarrow")
    text = pd.array(["x", None], dtype=pd.StringDtype("pyarrow"))
    df = pd.DataFrame({"a": text, "b": [1, 2]}, index=pd.Index(text))
    df.columns = pd.Index(pd.array(["a", "b"], dtype=pd.StringDtype("pyarrow")))
    changed = without_pyarrow(df)
    dtypes = [changed["a"].dtype, changed.index.dtype, changed.columns.dtype]
    assert {dtype.storage for dtype in dtypes} == {"python"}
    ignored = {"check_dtype": False, "check_index_type": False, "check_column_type": False}
    pd.testing.assert_frame_equal(changed, df, **ignored)
    without_text = pd.DataFrame({0: [1]})
    assert without_pyarrow(without_text) is without_text
