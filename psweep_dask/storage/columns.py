"""The columns of a database: their roles, their order, their types and their gaps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from psweep_dask._convert import is_gap, is_nan, time_of_pandas
from psweep_dask.params.pset import OUR_FIELDS, SEED_FIELDS
from psweep_dask.storage.pickling import PackedValue

_INT_TYPES = frozenset[type](
    {int} | {getattr(np, f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
)
_COMPLEX_TYPES = frozenset[type]({complex, np.complex64, np.complex128})
_NUMBER_TYPES = _INT_TYPES | _COMPLEX_TYPES | {float, np.float16, np.float32, np.float64}

# Of values of these types pandas makes a column of that type. All other values, also None and
# values of subclasses, are kept as they are, in a column of objects.
_COLUMN_TYPES = _NUMBER_TYPES | frozenset[type](
    {bool, str, dt.datetime, dt.timedelta, pd.Timestamp, pd.Timedelta, type(pd.NaT)}
    | {np.bool_, np.str_}
)

LARGEST_EXACT_INT = 2**53
"""Up to this number, a float holds each int; of larger ones it may lose digits."""

GAP = object()
"""In a list of values, a cell without a value, which pandas is to fill."""


class ColumnRoles(NamedTuple):
    """The names of the columns of a database by role, in the order in which they stand there."""

    params: list[Any]
    seed_fields: list[Any]
    results: list[Any]
    our_fields: list[Any]

    @property
    def book_keeping(self) -> list[Any]:
        """The columns that are filled by this package, not by the user."""
        return self.seed_fields + self.our_fields


def column_roles(names: Iterable[Any]) -> ColumnRoles:
    """Return which columns are parameters, which are results and which are book-keeping.

    Book-keeping is known by its names. Of the other columns, those before the first of the seed's
    fields are parameters, those behind it are results.

    Examples
    --------
    >>> column_roles(["a", "_run_id", "y", "_status"])
    ColumnRoles(params=['a'], seed_fields=['_run_id'], results=['y'], our_fields=['_status'])
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
    """Collects the columns of several tables or rows, and sorts them by their roles.

    If a column is a parameter in one table and a result in another, the first one counts.
    """

    def __init__(self) -> None:
        self._roles = ColumnRoles([], [], [], [])
        self._known: set[Any] = set()
        self._seen: set[tuple[Any, ...]] = set()

    def add(self, names: tuple[Any, ...]) -> None:
        """Add the columns of a table or the names of a row, in the order in which they stand."""
        if names in self._seen:
            return
        self._seen.add(names)
        for known, more in zip(self._roles, column_roles(names), strict=True):
            known += [name for name in more if name not in self._known]
            self._known.update(more)

    def roles(self) -> ColumnRoles:
        """Return all columns by role."""
        return self._roles

    def names(self) -> list[Any]:
        """Return all columns: parameters, the seed's fields, results, our fields."""
        return [name for names in self._roles for name in names]


def make_column(name: str, values: list[Any], length: int) -> pd.Series:
    """Return a column of values: of a type of pandas if that keeps the values, else of objects.

    Packed values are restored. There may be fewer values than cells, and some may be `GAP`: pandas
    fills these cells with NaN, or with what that type of column has instead. So it does where a
    value is masked. The values of ``_time_utc`` are nanoseconds since 1970.

    Ints beside gaps or floats become floats, as in pandas. If one of them is above 2**53, and might
    lose digits, the column has objects instead, and all numbers stay as they are.

    Examples
    --------
    >>> make_column("a", [1, GAP, 3], 4).tolist()
    [1.0, nan, 3.0, nan]
    >>> make_column("seed", [2**60 + 1, GAP], 2).tolist()
    [1152921504606846977, nan]
    """
    if name == "_time_utc":
        return pd.Series(np.array(values, dtype="int64").view("datetime64[ns]"))
    types = set(map(type, values))
    if PackedValue in types:
        values = opened(values)
        types = set(map(type, values))
    if len(values) == length and object not in types and _Masked not in types:
        return _series(values, types)
    known = {
        place: value
        for place, value in enumerate(values)
        if value is not GAP and value is not np.ma.masked
    }
    column = _series(list(known.values()), set(map(type, known.values())))
    if holds_large_ints(column):
        column = column.astype(object)
    return column.set_axis(list(known)).reindex(range(length))


def holds_large_ints(column: pd.Series) -> bool:
    """Return whether a column of ints has some that would lose digits if it got floats.

    Its ints may also be nullable ones, or categories.

    Examples
    --------
    >>> holds_large_ints(pd.Series([1, 2**60])), holds_large_ints(pd.Series([1, 2]))
    (True, False)
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.categories.to_series()
    if getattr(column.dtype, "kind", "O") not in "iu":
        return False
    ints = column.dropna()
    return bool(len(ints)) and bool(
        ints.max() > LARGEST_EXACT_INT or ints.min() < -LARGEST_EXACT_INT
    )


def as_objects(column: pd.Series) -> pd.Series:
    """Return a column with the same values as objects, and NaN for its gaps."""
    return column.astype(object).where(column.notna(), np.nan)


def without_own_types(column: pd.Series) -> pd.Series:
    """Return a column of a type of NumPy, of text, or of times of one zone, if its values allow.

    Else it has objects. All gaps are the same then, whether they were None, NaN, NA or masked;
    categories and nullable numbers are replaced by their values.

    Examples
    --------
    >>> without_own_types(pd.Series([1, None], dtype="Int64")).tolist()
    [1.0, nan]
    """
    dtype = column.dtype
    if dtype.kind != "O" and isinstance(dtype, np.dtype):
        return column
    if isinstance(dtype, pd.StringDtype | pd.DatetimeTZDtype):
        return column
    cells: list[Any] = [GAP if is_gap(value) else value for value in column.tolist()]
    if set(map(type, cells)) - {object} in ({np.datetime64}, {np.timedelta64}):
        cells = [cell if cell is GAP else time_of_pandas(cell) for cell in cells]
    return make_column("", cells, len(cells)).set_axis(column.index)


def cells_of(column: pd.Series) -> list[Any]:
    """Return the values of a column, with `GAP` for each cell that pandas has filled.

    In a column of objects, pandas fills with NaN, so that None and NaT are values there.
    """
    if column.dtype == object:
        return [GAP if is_nan(value) else value for value in column.tolist()]
    pairs = zip(column.tolist(), column.isna().tolist(), strict=True)
    return [GAP if is_filled else value for value, is_filled in pairs]


def opened(values: list[Any]) -> list[Any]:
    """Return values, the packed ones restored where that is possible."""
    return [value.open() if type(value) is PackedValue else value for value in values]


def without_pyarrow(df: pd.DataFrame) -> pd.DataFrame:
    """Return a DataFrame that can also be read where pyarrow is missing, as it may be on a cluster.

    Where pyarrow is installed, pandas keeps str in arrays of pyarrow. These become arrays of
    Python's str.
    """
    in_pyarrow = {place: dtype for place, dtype in enumerate(df.dtypes) if _is_in_pyarrow(dtype)}
    if not in_pyarrow and not any(_is_in_pyarrow(labels.dtype) for labels in df.axes):
        return df
    df = df.copy(deep=False)
    for place, dtype in in_pyarrow.items():
        df.isetitem(place, df.iloc[:, place].astype(_python_str(dtype)).array)
    for axis in (0, 1):
        labels = df.axes[axis]
        if _is_in_pyarrow(labels.dtype):
            df = df.set_axis(labels.astype(_python_str(labels.dtype)), axis=axis)
    return df


def python_str() -> AbstractContextManager[None]:
    """Within the block, let pandas keep str without pyarrow, even where that is installed."""
    return pd.option_context("mode.string_storage", "python")


def _is_in_pyarrow(dtype: Any) -> bool:
    return isinstance(dtype, pd.StringDtype) and dtype.storage != "python"


def _python_str(dtype: Any) -> Any:
    if dtype.na_value is pd.NA:  # the only one that pandas 2.2 knows
        return pd.StringDtype("python")
    return pd.StringDtype("python", na_value=dtype.na_value)


def _series(values: list[Any], types: set[type]) -> pd.Series:
    if types <= _COLUMN_TYPES:
        with suppress(ValueError), python_str():  # ValueError: dates of several time zones
            if types & _COMPLEX_TYPES and types <= _NUMBER_TYPES:
                column = pd.Series(np.array(values))  # pandas would make nan+infj of infj
            else:
                column = pd.Series(values)
            if not _loses_digits(column, values, types):
                return column
    return pd.Series(values, dtype=object)


def _loses_digits(column: pd.Series, values: list[Any], types: set[type]) -> bool:
    """Return whether ints among the values have become floats that may not equal them."""
    if column.dtype.kind not in "fc" or not types & _INT_TYPES:
        return False
    if not column.abs().max() >= LARGEST_EXACT_INT:
        return False
    return any(
        type(value) in _INT_TYPES and abs(int(value)) > LARGEST_EXACT_INT for value in values
    )


_Masked = type(np.ma.masked)
