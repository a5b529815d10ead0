"""Values become columns of the type that they have, gaps included."""

from __future__ import annotations

import datetime as dt
import decimal
import enum

import numpy as np
import pandas as pd
import pytest

from psweep_dask.storage.columns import MISSING, ColumnOrder, column
from psweep_dask.storage.pickling import dumps
from psweep_dask.storage.pickling import Packed


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
def test_the_type_of_a_column_and_its_values(values, dtype):
    made = column("a", values, len(values))
    assert made.dtype == dtype
    assert made.tolist() == values


@pytest.mark.parametrize("values", [[1, MISSING, 3], [MISSING, 2, 3], [1, 2]])
def test_gaps_are_filled_as_pandas_does(values):
    made = column("a", values, 3)
    assert made.dtype == "float64"
    kept = [value for value in values if value is not MISSING]
    assert made.dropna().tolist() == kept


def test_what_cannot_be_restored_costs_no_other_value():
    made = column("a", [Packed(dumps([1])), Packed(b"damaged"), 3], 3)
    assert made.iloc[0] == [1]
    assert "cannot be restored here" in repr(made.iloc[1])
    assert made.iloc[2] == 3


def test_times_are_nanoseconds():
    (one,) = column("_time_utc", [10**18 + 1], 1)
    assert (one.value, one.unit) == (10**18 + 1, "ns")


def test_the_order_is_parameters_the_fields_of_the_seed_results_ours():
    order = ColumnOrder()
    order.add(("b", "_run_id", "_pset_id", "y", "_status"))
    order.add(("a", "b", "_run_id", "_pset_id", "z", "y", "_status", "_exc_txt"))
    assert order.names() == ["b", "a", "_run_id", "_pset_id", "y", "z", "_status", "_exc_txt"]
