"""How values become the columns of a DataFrame, and in which order these stand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from psweep_dask.params.pset import OUR_FIELDS, SEED_FIELDS
from psweep_dask.storage.pickling import Packed

# Types of which pandas makes a column of that type. All else, None and subclasses of these
# included, is kept as it is in a column of objects: what goes in comes out.
_COLUMN_TYPES = frozenset(
    {bool, int, float, complex, str, dt.datetime, dt.timedelta, pd.Timestamp}
    | {pd.Timedelta, type(pd.NaT), np.bool_, np.str_}
    | {getattr(np, f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
    | {np.float16, np.float32, np.float64, np.complex64, np.complex128}
)
MISSING = object()
"""Stands for a value that a row does not have."""


class ColumnRoles(NamedTuple):
    """What the columns of a database are, in the order in which they stand there."""

    params: list[Any]
    seed_fields: list[Any]
    results: list[Any]
    our_fields: list[Any]

    @property
    def book_keeping(self) -> list[Any]:
        """The columns that we fill."""
        return self.seed_fields + self.our_fields


def column_roles(names: Iterable[Any]) -> ColumnRoles:
    """Return which columns are parameters, results and book-keeping.

    Book-keeping is known by its names. Of the others, those before the first column of the seed's
    book-keeping are parameters, those behind it are results.

    Examples
    --------
    >>> roles = column_roles(["a", "_run_id", "_pset_seq", "y", "_status"])
    >>> roles.params, roles.results
    (['a'], ['y'])
    """
    roles = ColumnRoles([], [], [], [])
    for name in names:
        if name in SEED_FIELDS:
            roles.seed_fields.append(name)
        elif name in OUR_FIELDS:
            roles.our_fields.append(name)
        else:
            (roles.results if roles.seed_fields else roles.params).append(name)
    return roles


class ColumnOrder:
    """Gathers the columns of several tables or rows, and sorts them by their roles.

    A name that is a parameter in one table and a result in another stays what it was first.
    """

    def __init__(self) -> None:
        self._roles = ColumnRoles([], [], [], [])
        self._known: set[Any] = set()
        self._seen: set[tuple[Any, ...]] = set()

    def add(self, names: tuple[Any, ...]) -> None:
        """Take in the names of a table or of a row, in their order there."""
        if names in self._seen:
            return
        self._seen.add(names)
        for known, more in zip(self._roles, column_roles(names), strict=True):
            known += [name for name in more if name not in self._known]
            self._known.update(more)

    def roles(self) -> ColumnRoles:
        """Return all of them by role."""
        return self._roles

    def names(self) -> list[Any]:
        """Return all of them: parameters, the seed's fields, results, our fields."""
        return [name for names in self._roles for name in names]


def column(name: str, values: list[Any], length: int) -> pd.Series:
    """Make a column of the values in it: of a type of its own, or else of objects as they are.

    Parameters
    ----------
    name : str
        The values of ``_time_utc`` are nanoseconds since 1970.
    values : list
        May be shorter than the column, and may have `MISSING`; gaps are filled as pandas does.
    length : int

    Examples
    --------
    >>> column("a", [1, MISSING, 3], 4).tolist()
    [1.0, nan, 3.0, nan]
    """
    if name == "_time_utc":
        return pd.Series(np.array(values, dtype="int64").view("datetime64[ns]"))
    types = set(map(type, values))
    if Packed in types:
        values = [value.open() if type(value) is Packed else value for value in values]
        types = set(map(type, values))
    if len(values) == length and object not in types:
        return _series(values, types)
    known = {place: value for place, value in enumerate(values) if value is not MISSING}
    column = _series(list(known.values()), set(map(type, known.values())))
    return column.set_axis(list(known)).reindex(range(length))


def portable(df: pd.DataFrame) -> pd.DataFrame:
    """Give a DataFrame that can be read where pyarrow is missing, as it may be on a cluster.

    pandas keeps text in arrays of pyarrow where that is installed; these become its own ones, of
    the same type but for that.

    Examples
    --------
    >>> df = portable(pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}))
    >>> {one.storage for one in (df["a"].dtype, df.columns.dtype) if hasattr(one, "storage")}
    {'python'}
    """
    texts = {at: one for at, one in enumerate(df.dtypes) if _in_arrow(one)}
    names_too = _in_arrow(df.columns.dtype) or _in_arrow(df.index.dtype)
    if not texts and not names_too:
        return df
    df = df.copy(deep=False)
    for at, dtype in texts.items():
        df.isetitem(at, df.iloc[:, at].astype(_python_text(dtype)).array)
    for axis in (0, 1):
        labels = df.axes[axis]
        if _in_arrow(labels.dtype):
            df = df.set_axis(labels.astype(_python_text(labels.dtype)), axis=axis)
    return df


def text_in_python() -> AbstractContextManager[None]:
    """Let pandas keep text in arrays of its own, whether or not pyarrow is installed."""
    return pd.option_context("mode.string_storage", "python")


def _in_arrow(dtype: Any) -> bool:
    return isinstance(dtype, pd.StringDtype) and dtype.storage != "python"


def _python_text(dtype: Any) -> Any:
    return pd.StringDtype("python", na_value=dtype.na_value)


def _series(values: list[Any], types: set[type]) -> pd.Series:
    if complex in types and types <= {complex, float}:  # pandas makes nan+infj of infj
        return pd.Series(np.array(values))
    if types <= _COLUMN_TYPES:
        with suppress(ValueError), text_in_python():  # ValueError: dates of many zones
            return pd.Series(values)
    return pd.Series(values, dtype=object)
