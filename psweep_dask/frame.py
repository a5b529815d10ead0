"""Helpers on DataFrames: pure functions, no files."""

from __future__ import annotations

import datetime as dt
import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pandas as pd

from psweep_dask.errors import PsweepError
from psweep_dask.pset import OUR_FIELDS, SEED_FIELDS, UNFINISHED
from psweep_dask.record import Block, Packed

# Types of which pandas makes a column of that type. All else, None and subclasses of these
# included, is kept as it is in a column of objects: what goes in comes out.
_COLUMN_TYPES = frozenset(
    {bool, int, float, complex, str, dt.datetime, dt.timedelta, pd.Timestamp}
    | {pd.Timedelta, type(pd.NaT), np.bool_, np.str_}
    | {getattr(np, f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
    | {np.float16, np.float32, np.float64, np.complex64, np.complex128}
)
_MISSING = object()


class FrameError(PsweepError):
    """An argument that does not fit the DataFrame at hand."""


def from_blocks(blocks: Iterable[Block]) -> pd.DataFrame:
    """Build the rows of a database from blocks of records, in the order of ``_pset_seq``.

    Parameters
    ----------
    blocks : iterable of tuple
        Names and columns, as `psweep_dask.record.unpack` gives them. Blocks may differ in their
        names; gaps are filled as pandas does.

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
        order = _ColumnOrder()
        length = 0
        for names, columns in blocks:
            order.add(names)
            for name, column in zip(names, columns, strict=True):
                known = values.setdefault(name, [])
                known.extend([_MISSING] * (length - len(known)))
                known.extend(column)
            length += len(columns[0])
        data = {name: _column(name, values.pop(name), length) for name in order.names()}
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
        old, new = _without_waiting(old, new)
        known = new["_pset_id"].isin(old["_pset_id"])
        new = new[~known] if known.any() else new
    if old.empty and not len(old.columns):
        return new
    order = _ColumnOrder()
    order.add(tuple(old.columns))
    order.add(tuple(new.columns))
    if old.empty:  # all of it has been replaced, and must not decide on types
        return in_order(new.reindex(columns=order.names()))
    with _gc_off():
        return in_order(pd.concat([old, new], sort=False)[order.names()])


def _without_waiting(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take rows that wait for a batch job out of the old ones; the new ones keep their columns."""
    if "_status" not in old.columns:
        return old, new
    replaced = old["_status"].isin(UNFINISHED) & old["_pset_id"].isin(new["_pset_id"])
    if not replaced.any():
        return old, new
    columns = ["_pset_id", *(name for name in old.columns if name not in new.columns)]
    kept = old.loc[replaced, columns].drop_duplicates("_pset_id").set_index("_pset_id")
    return old[~replaced], new.join(kept, on="_pset_id")


def df_print(df: pd.DataFrame, index: bool = False) -> None:
    """Print a DataFrame without its index, all of it and all columns.

    Parameters
    ----------
    df : DataFrame
    index : bool, optional
        Print the index too.

    Examples
    --------
    >>> df_print(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
     a b
     1 x
     2 y
    """
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
        ``date_unit="s"``, ``date_format="iso"`` and ``double_precision=15``.

    Returns
    -------
    str or None
        None if ``path_or_buf`` says where to write.

    Examples
    --------
    >>> df_to_json(pd.DataFrame({"a": [1, 2]}))
    '[{"a":1},{"a":2}]'
    """
    defaults = {
        "orient": "records",
        "date_unit": "s",
        "date_format": "iso",
        "double_precision": 15,
    }
    text: str | None = df.to_json(**{**defaults, **kwds})
    return text


class _ColumnOrder:
    """Gathers names so that they come out as parameters, the seed's fields, results, ours."""

    def __init__(self) -> None:
        self._kinds: tuple[dict[Any, None], ...] = ({}, {}, {}, {})
        self._seen: set[tuple[Any, ...]] = set()

    def add(self, names: tuple[Any, ...]) -> None:
        if names in self._seen:
            return
        self._seen.add(names)
        params, seed, results, ours = self._kinds
        kind = params
        for name in names:
            if name in SEED_FIELDS:
                seed[name] = None
                kind = results
            elif name in OUR_FIELDS:
                ours[name] = None
            elif not any(name in known for known in self._kinds):
                kind[name] = None

    def names(self) -> list[Any]:
        return [name for kind in self._kinds for name in kind]


def _column(name: str, values: list[Any], length: int) -> pd.Series:
    if name == "_time_utc":
        return pd.Series(np.array(values, dtype="int64").view("datetime64[ns]"))
    types = set(map(type, values))
    if Packed in types:
        values = [value.open() if type(value) is Packed else value for value in values]
        types = set(map(type, values))
    if len(values) == length and object not in types:
        return _series(values, types)
    known = {place: value for place, value in enumerate(values) if value is not _MISSING}
    column = _series(list(known.values()), set(map(type, known.values())))
    return column.set_axis(list(known)).reindex(range(length))


def _series(values: list[Any], types: set[type]) -> pd.Series:
    if complex in types and types <= {complex, float}:  # pandas makes nan+infj of infj
        return pd.Series(np.array(values))
    if types <= _COLUMN_TYPES:
        with suppress(ValueError):  # dates of many zones, or text that Arrow cannot encode
            return pd.Series(values)
    return pd.Series(values, dtype=object)


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
