"""Rows of a database that wait for a batch job: replaced by others, or completed; no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from psweep_dask.params.pset import OUR_FIELDS, SEED_FIELDS
from psweep_dask.storage.columns import MISSING, ColumnOrder, column
from psweep_dask.storage.pickling import Packed
from psweep_dask.storage.record import Record
from psweep_dask.storage.status import WAITING

_IN_EACH_ROW = frozenset(SEED_FIELDS + OUR_FIELDS) - {"_logs"}


def without_waiting(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take rows that wait for a batch job out of the old ones; the new ones keep their columns."""
    if "_status" not in old.columns:
        return old, new
    replaced = old["_status"].isin(WAITING) & old["_pset_id"].isin(new["_pset_id"])
    if not replaced.any():
        return old, new
    columns = ["_pset_id", *(name for name in old.columns if name not in new.columns)]
    kept = old.loc[replaced, columns].drop_duplicates("_pset_id").set_index("_pset_id")
    return old[~replaced], new.join(kept, on="_pset_id")


def complete(df: pd.DataFrame, changes: Mapping[str, Record]) -> pd.DataFrame:
    """Put what batch jobs have brought into the rows that wait for it.

    Parameters
    ----------
    df : DataFrame
        The database. What its owner made of it stays: other values, columns added or taken away,
        their types, the index.
    changes : Mapping
        What changes in a row, by its ``_pset_id``. Rows that do not wait are left alone.

    Returns
    -------
    DataFrame

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
    news = [_news(changes[pset_id], df) for pset_id in df["_pset_id"].iloc[places]]
    order = ColumnOrder()
    order.add(tuple(df.columns))
    for one in news:
        order.add(("_pset_id", *one))  # behind book-keeping stand results
    touched = {name for one in news for name in one}
    whole = pd.DataFrame(
        {
            name: _completed(name, df, places, news) if name in touched else _unnumbered(df[name])
            for name in order.names()
        },
        copy=False,
    )
    whole.index = df.index
    if "_time_utc" in df.columns and df.index.equals(pd.Index(df["_time_utc"])):
        whole.index = pd.DatetimeIndex(whole["_time_utc"].array)
    return whole


def _unnumbered(one: pd.Series) -> pd.Series:
    return one.reset_index(drop=True)


def _news(change: Record, df: pd.DataFrame) -> Record:
    """Leave book-keeping out whose column the owner of the database has taken away."""
    return {
        name: value
        for name, value in change.items()
        if name in df.columns or name not in _IN_EACH_ROW
    }


def _completed(
    name: str, df: pd.DataFrame, places: Sequence[int] | np.ndarray, news: Sequence[Record]
) -> Any:
    old = df[name] if name in df.columns else None
    if name == "_time_utc" and old is not None:
        return _completed_times(old, places, news)
    values = [MISSING] * len(df) if old is None else old.tolist()
    for place, new in zip(places, news, strict=True):
        if name in new:
            values[place] = new[name]
    if old is not None and _has_type_of_its_owner(old):
        opened = [one.open() if type(one) is Packed else one for one in values]
        kept = _as_type(opened, old)
        if kept is not None:
            return kept
    return column(name, values, len(df))


def _has_type_of_its_owner(old: pd.Series) -> bool:
    """Tell categories and nullable numbers, which we never make ourselves."""
    extension = isinstance(old.dtype, pd.api.extensions.ExtensionDtype)
    return extension and not isinstance(old.dtype, pd.StringDtype)


def _completed_times(old: pd.Series, places: Any, news: Sequence[Record]) -> Any:
    """Set times in the zone and the unit that the column has."""
    times = old.copy()
    zone = getattr(old.dt, "tz", None)
    for place, new in zip(places, news, strict=True):
        if "_time_utc" in new:
            stamp = pd.Timestamp(new["_time_utc"])
            times.iloc[place] = stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)
    return _unnumbered(times)


def _as_type(values: list[Any], old: pd.Series) -> Any:
    """Make a column of the type that it had, None if a value does not fit."""
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
