"""Rows of a database that wait for a batch job: they are replaced or completed; no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from psweep_dask.params.pset import OUR_FIELDS, SEED_FIELDS
from psweep_dask.storage.columns import (
    GAP,
    ColumnOrder,
    as_objects,
    cells_of,
    holds_large_ints,
    make_column,
    opened,
)
from psweep_dask.storage.record import Record
from psweep_dask.storage.status import WAITING

_FIELDS_OF_EACH_ROW = frozenset(SEED_FIELDS + OUR_FIELDS) - {"_logs"}


def without_waiting(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop the old rows that wait for a batch job and that the new rows replace.

    The new rows get the values of columns that only the old rows have.
    """
    if "_status" not in old.columns:
        return old, new
    replaced = old["_status"].isin(WAITING) & old["_pset_id"].isin(new["_pset_id"])
    if not replaced.any():
        return old, new
    columns = ["_pset_id", *(name for name in old.columns if name not in new.columns)]
    kept = old.loc[replaced, columns].drop_duplicates("_pset_id").set_index("_pset_id")
    if not new["_pset_id"].isin(kept.index).all():  # there will be gaps
        large = [name for name, column in kept.items() if holds_large_ints(column)]
        kept = kept.assign(**{str(name): as_objects(kept[name]) for name in large})
    return old[~replaced], new.join(kept, on="_pset_id")


def complete(df: pd.DataFrame, changes: Mapping[str, Record]) -> pd.DataFrame:
    """Return a database with the results of batch jobs in the rows that wait for them.

    `changes` has the new values of a row by its ``_pset_id``. What the owner of the database has
    changed stays: values, added or deleted columns, types, the index.

    Examples
    --------
    >>> df = pd.DataFrame({"a": [1, 2], "_pset_id": ["x", "y"], "_status": ["prepared", "ok"]})
    >>> complete(df, {"x": {"b": 7, "_status": "ok"}, "y": {"b": 8}})
       a _pset_id    b _status
    0  1        x  7.0      ok
    1  2        y  NaN      ok
    """
    waiting = df["_pset_id"].isin(changes) & df["_status"].isin(WAITING)
    places = np.flatnonzero(waiting.to_numpy())
    new_values = [_without_deleted(changes[pset_id], df) for pset_id in df["_pset_id"].iloc[places]]
    order = ColumnOrder()
    order.add(tuple(df.columns))
    for values in new_values:
        order.add(("_pset_id", *values))  # results stand behind book-keeping
    changed = {name for values in new_values for name in values}
    completed = pd.DataFrame(
        {
            name: _completed(name, df, places, new_values)
            if name in changed
            else df[name].reset_index(drop=True)
            for name in order.names()
        },
        copy=False,
    )
    completed.index = df.index
    if "_time_utc" in df.columns and df.index.equals(pd.Index(df["_time_utc"])):
        completed.index = pd.DatetimeIndex(completed["_time_utc"].array)
    return completed


def _without_deleted(change: Record, df: pd.DataFrame) -> Record:
    """Leave out book-keeping whose column the owner of the database has deleted."""
    return {
        name: value
        for name, value in change.items()
        if name in df.columns or name not in _FIELDS_OF_EACH_ROW
    }


def _completed(
    name: str, df: pd.DataFrame, places: Sequence[int] | np.ndarray, new_values: Sequence[Record]
) -> Any:
    old = df[name] if name in df.columns else None
    if name == "_time_utc" and old is not None:
        return _completed_times(old, places, new_values)
    cells = [GAP] * len(df) if old is None else cells_of(old)
    for place, values in zip(places, new_values, strict=True):
        if name in values:
            cells[place] = values[name]
    if old is not None and _has_type_of_its_owner(old):
        column = _column_of_type(opened(cells), old)
        if column is not None:
            return column
    return make_column(name, cells, len(df))


def _has_type_of_its_owner(old: pd.Series) -> bool:
    """Return whether it has categories or nullable numbers, which this package never makes."""
    extension = isinstance(old.dtype, pd.api.extensions.ExtensionDtype)
    return extension and not isinstance(old.dtype, pd.StringDtype)


def _completed_times(old: pd.Series, places: Any, new_values: Sequence[Record]) -> Any:
    """Return the times in the zone and the unit that the column has."""
    times = old.copy()
    zone = getattr(old.dt, "tz", None)
    for place, values in zip(places, new_values, strict=True):
        if "_time_utc" in values:
            stamp = pd.Timestamp(values["_time_utc"])
            times.iloc[place] = stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)
    return times.reset_index(drop=True)


def _column_of_type(cells: list[Any], old: pd.Series) -> Any:
    """Return a column of the type of the old one; None if a value does not fit."""
    values = [None if cell is GAP else cell for cell in cells]
    given = pd.Series(values, dtype=object)
    try:
        if isinstance(old.dtype, pd.CategoricalDtype) and not (
            (given.isin(old.dtype.categories) | given.isna()).all()
        ):
            return None
        made = pd.Series(values, dtype=old.dtype)
    except (TypeError, ValueError):
        return None
    lost = made.isna() & ~given.isna()
    return None if lost.any() else made
