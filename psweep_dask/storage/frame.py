"""Helpers on DataFrames: pure functions, no files."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from psweep_dask._query import check_df
from psweep_dask.errors import PsweepError
from psweep_dask.storage import pending_rows
from psweep_dask.storage.columns import MISSING, ColumnOrder, column, text_in_python
from psweep_dask.storage.record import Block


class FrameError(PsweepError):
    """An argument that does not fit the DataFrame at hand."""


def from_blocks(blocks: Iterable[Block]) -> pd.DataFrame:
    """Build the rows of a database from blocks of records, in the order of ``_pset_seq``.

    Parameters
    ----------
    blocks : iterable of tuple
        Names and columns, as `psweep_dask.storage.record.unpack` returns them. Blocks may differ
        in their names; gaps are filled as pandas does.

    Returns
    -------
    DataFrame
        Columns in the order parameters, the seed's fields, results, ours. The index holds
        ``_time_utc``.

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
                known = values.setdefault(name, [])
                known.extend([MISSING] * (length - len(known)))
                known.extend(cells)
            length += len(columns[0])
        order = ColumnOrder()
        for names in sorted(first_with, key=lambda names: first_with[names]):
            order.add(names)  # as the psets stand, whichever was ready first
        data = {name: column(name, values.pop(name), length) for name in order.names()}
        with text_in_python():
            df = pd.DataFrame(data, copy=False)
        df.index = pd.DatetimeIndex(df["_time_utc"].to_numpy()) if length else df.index
        return in_order(df)


def in_order(df: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by ``_pset_seq``; rows without one go last, equal ones stay as they stand.

    Examples
    --------
    >>> in_order(pd.DataFrame({"_pset_seq": [1, 0], "a": ["x", "y"]}))
       _pset_seq  a
    1          0  y
    0          1  x
    """
    if "_pset_seq" not in df.columns or df["_pset_seq"].is_monotonic_increasing:
        return df
    return df.sort_values("_pset_seq", kind="stable", na_position="last")


def append(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Append the rows of a run to a database that may have been edited meanwhile.

    Parameters
    ----------
    old : DataFrame
        The database, with whatever rows and columns its owner made of it.
    new : DataFrame
        Rows of a run. Those whose ``_pset_id`` the database has already are left out, unless that
        row waits for its batch job: then the new one takes its place, and columns that it does
        not have stay as they are.

    Returns
    -------
    DataFrame
        New columns stand where their kind stands: parameters, the seed's fields, results, ours.

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
    if old.empty:  # all of it has been replaced, and must not decide on types
        return in_order(new.reindex(columns=order.names()))
    with _gc_off():
        return in_order(stacked([old, new])[order.names()])


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put tables one below the other, whatever their values are.

    Dates and time differences that no common unit can hold stay as they are, in a column of
    objects.

    Examples
    --------
    >>> fine = pd.DataFrame({"t": [pd.Timestamp("2026-01-01 00:00:00.000000001")]})
    >>> far = pd.DataFrame({"t": pd.Series(["3000-01-01"]).astype("datetime64[s]")})
    >>> [one.year for one in stacked([fine, far]).t]
    [2026, 3000]
    """
    try:
        return pd.concat(tables, sort=False)
    except (ValueError, OverflowError):
        columns = [(name, one[name]) for one in tables for name in one.columns]
        times = {name for name, cells in columns if cells.dtype.kind in "mM"} - {"_time_utc"}
        loose = [one.astype(dict.fromkeys(times & set(one.columns), object)) for one in tables]
        return pd.concat(loose, sort=False)


def df_print(df: pd.DataFrame, index: bool = False) -> None:
    """Print a DataFrame without its index, all of it and all columns.

    Parameters
    ----------
    df : DataFrame
    index : bool, optional
        Print the index too.

    Raises
    ------
    NoDataFrameError
        If it is something else.

    Examples
    --------
    >>> df_print(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
     a b
     1 x
     2 y
    """
    check_df(df, "ps.df_print(df)")
    print(df.to_string(index=index))  # noqa: T201  (printing is what it is for)


def df_filter_conds(
    df: pd.DataFrame, conds: Sequence[Sequence[bool] | pd.Series | np.ndarray], op: str = "and"
) -> pd.DataFrame:
    """Filter rows by conditions that a program has put together.

    Parameters
    ----------
    df : DataFrame
    conds : sequence
        Boolean masks, each as long as `df`.
    op : {'and', 'or', 'xor'}, optional
        How the masks are combined.

    Returns
    -------
    DataFrame

    Raises
    ------
    FrameError
        If `op` is unknown or a mask has another length than `df`.

    Examples
    --------
    >>> df = pd.DataFrame({"a": range(10), "b": range(4, 14)})
    >>> df_filter_conds(df, [df.a > 3, df.b < 9, df.a % 2 == 0])
       a  b
    4  4  8
    """
    check_df(df, "ps.df_filter_conds(df, conds)")
    combine = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}.get(op)
    if combine is None:
        raise FrameError(f"op must be 'and', 'or' or 'xor', not {op!r}")
    masks = [np.asarray(cond, dtype=bool) for cond in conds]
    for number, mask in enumerate(masks):
        if mask.shape != (len(df),):
            raise FrameError(
                f"conds[{number}] has shape {mask.shape}, but the DataFrame has {len(df)} rows; "
                "make each condition from that same DataFrame"
            )
    return df[combine.reduce(masks)] if masks else df


def df_to_json(df: pd.DataFrame, **kwds: Any) -> str | None:
    """Convert to JSON as pandas does, with defaults that suit a database.

    Parameters
    ----------
    df : DataFrame
    **kwds
        Passed to `pandas.DataFrame.to_json`, over our defaults ``orient="records"``,
        ``date_unit="s"``, ``date_format="iso"`` and ``double_precision=15``. Where the index
        makes the keys, ``date_unit`` is "ns": in one second there may be many rows.

    Returns
    -------
    str or None
        None if ``path_or_buf`` says where to write.

    Raises
    ------
    NoDataFrameError
        If it is something else.

    Examples
    --------
    >>> df_to_json(pd.DataFrame({"a": [1, 2]}))
    '[{"a":1},{"a":2}]'
    """
    check_df(df, "ps.df_to_json(df)")
    defaults = {
        "orient": "records",
        "date_unit": "s",
        "date_format": "iso",
        "double_precision": 15,
    }
    if kwds.get("orient") in ("index", "columns"):
        defaults["date_unit"] = "ns"
    text: str | None = df.to_json(**{**defaults, **kwds})
    return text


@contextmanager
def _gc_off() -> Iterator[None]:
    """Switch the garbage collector off: building objects that all stay is slow with it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
