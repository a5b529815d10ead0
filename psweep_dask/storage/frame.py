"""Rows of the database: built from records, sorted and appended. Pure functions, no files."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionDtype

from psweep_dask.storage import pending_rows
from psweep_dask.storage.columns import (
    GAP,
    ColumnOrder,
    as_objects,
    holds_large_ints,
    make_column,
    python_str,
)
from psweep_dask.storage.record import Block


def from_blocks(blocks: Iterable[Block]) -> pd.DataFrame:
    """Return the rows of blocks of records, in the order of ``_pset_seq``.

    Blocks may differ in their names: pandas fills the gaps. The columns are in the order of
    `ColumnOrder`. The index has the times of ``_time_utc``.

    Examples
    --------
    >>> names = ("a", "_time_utc", "_pset_seq", "y")
    >>> from_blocks([(names, [[7, 5], [2, 1], [1, 0], [0.7, 0.5]])])[["a", "_pset_seq", "y"]]
                                   a  _pset_seq    y
    1970-01-01 00:00:00.000000001  5          0  0.5
    1970-01-01 00:00:00.000000002  7          1  0.7
    """
    with _gc_off():
        values: dict[str, list[Any]] = {}
        first_with: dict[tuple[Any, ...], float] = {}
        length = 0
        for names, columns in blocks:
            first = columns[names.index("_pset_seq")][0] if "_pset_seq" in names else math.inf
            first_with[names] = min(first, first_with.get(names, math.inf))
            for name, cells in zip(names, columns, strict=True):
                column = values.setdefault(name, [])
                column.extend([GAP] * (length - len(column)))
                column.extend(cells)
            length += len(columns[0])
        order = ColumnOrder()
        for names in sorted(first_with, key=lambda names: first_with[names]):
            order.add(names)  # in the order of the psets, whichever was done first
        data = {name: make_column(name, values.pop(name), length) for name in order.names()}
        with python_str():
            df = pd.DataFrame(data, copy=False)
        df.index = pd.DatetimeIndex(df["_time_utc"].to_numpy()) if length else df.index
        return in_order(df)


def in_order(df: pd.DataFrame) -> pd.DataFrame:
    """Return rows sorted by ``_pset_seq``; equal ones keep their order.

    A row without a number, of the user or of psweep, stays behind the row before it.

    Examples
    --------
    >>> in_order(pd.DataFrame({"_pset_seq": [1.0, float("nan"), 0.0]}))["_pset_seq"].tolist()
    [0.0, 1.0, nan]
    """
    if "_pset_seq" not in df.columns or df["_pset_seq"].is_monotonic_increasing:
        return df
    seqs = pd.to_numeric(df["_pset_seq"], errors="coerce").ffill().fillna(-1).to_numpy()
    return df.iloc[np.argsort(seqs, kind="stable")]


def append(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return a database with the new rows of a run appended, its columns in `ColumnOrder`.

    A new row whose ``_pset_id`` the database has is left out. But if the row of the database waits
    for a batch job, the new row replaces it; values of columns that only the old row has are kept.

    Examples
    --------
    >>> old = pd.DataFrame({"a": [1], "_pset_id": ["x"], "_pset_seq": [0]})
    >>> new = pd.DataFrame({"a": [2], "b": [3], "_pset_id": ["y"], "_pset_seq": [1]})
    >>> append(old, new)
       a    b _pset_id  _pset_seq
    0  1  NaN        x          0
    0  2  3.0        y          1
    """
    if new.empty:
        return in_order(old)
    if "_pset_id" in old.columns:
        old, new = pending_rows.without_waiting(old, new)
        known = new["_pset_id"].isin(old["_pset_id"])
        new = new[~known] if known.any() else new
    if old.empty and not len(old.columns):
        return new
    order = ColumnOrder()
    order.add(tuple(old.columns))
    order.add(tuple(new.columns))
    if old.empty:  # all its rows have been replaced: their types do not matter any more
        return in_order(new.reindex(columns=order.names()))
    with _gc_off():
        return in_order(stacked([old, new])[order.names()])


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several tables in one.

    Dates and time differences that need different units, such as nanoseconds and years, become a
    column of objects. So do ints above 2**53 that floats or gaps join, since they might lose digits
    as floats, and true and false beside numbers, since pandas would make 1 and 0 of them.

    Examples
    --------
    >>> tables = [pd.DataFrame({"seed": [2**60 + 1]}), pd.DataFrame({"seed": [0.5]})]
    >>> stacked(tables)["seed"].tolist()
    [1152921504606846977, 0.5]
    """
    df = _concat(tables)
    kinds = {name: _kind(dtype) for name, dtype in df.dtypes.items()}
    changed = {
        name for table in tables for name, column in table.items() if _changes(column, kinds[name])
    }
    return _concat([_with_objects(table, changed) for table in tables]) if changed else df


def _kind(dtype: Any) -> str:
    """Return the kind of a type as NumPy has it, but "T" for text that is no object."""
    return "T" if isinstance(dtype, pd.StringDtype) else getattr(dtype, "kind", "O")


def _changes(column: pd.Series, kind: str) -> bool:
    """Return whether values would change in a column of this kind: true is not 1.

    Among objects, NaN alone is a gap, so the NaT and NA of gaps must become NaN.
    """
    was = getattr(column.dtype, "kind", "O")
    if was == "b":
        return kind != "b"  # pandas 2 makes 1.0 of true even among objects
    if kind == "O":
        has_own_gaps = was in "mMc" or isinstance(column.dtype, ExtensionDtype)
        return has_own_gaps and bool(column.isna().any())
    return kind in "fc" and holds_large_ints(column)


def _concat(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    try:
        return pd.concat(tables, sort=False)
    except (ValueError, OverflowError):  # of times, or of large ints that pyarrow holds
        names = {
            name
            for table in tables
            for name, column in table.items()
            if column.dtype.kind in "mM" or isinstance(column.dtype, pd.ArrowDtype)
        }
        return pd.concat(
            [_with_objects(table, names - {"_time_utc"}) for table in tables], sort=False
        )


def _with_objects(table: pd.DataFrame, names: Iterable[Any]) -> pd.DataFrame:
    return table.assign(**{name: as_objects(table[name]) for name in names if name in table})


@contextmanager
def _gc_off() -> Iterator[None]:
    """Within the block, switch the garbage collector off: with it, making many objects is slow."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
