"""``export``: write a database in a format that other languages read, and that runs no code."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from json.encoder import encode_basestring
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd
from pandas.api.types import is_object_dtype

from psweep_dask._convert import is_gap, to_json_text, to_json_value
from psweep_dask._imports import needed_for
from psweep_dask._query import check_df
from psweep_dask.analysis.dataset import as_array, to_xarray
from psweep_dask.errors import PsweepError
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.columns import as_objects, without_own_types

if TYPE_CHECKING:
    import xarray as xr

JSON_CHUNK_ROWS = 20_000  # are converted to JSON at a time

_CSV_TYPES = (int, float, complex, str, dt.date, dt.time, dt.timedelta, np.generic, type(None))
"""Types of values that pandas writes to CSV as they are."""

_PARQUET_TYPES = [{python_type} for python_type in (bool, int, float, str, bytes, dt.date)]
"""Types of values of which pyarrow can make a column, if all values have the same one."""


class ExportError(PsweepError):
    """A format that is not known, or that cannot hold the database."""


def export(
    df: pd.DataFrame, path: str | os.PathLike[str], *, dims: Sequence[str] | None = None
) -> None:
    """Write a database to a file for other people or other tools.

    Parameters
    ----------
    df : DataFrame
        A database, or some of its rows and columns.
    path : str or PathLike
        The file. Its suffix chooses the format: .parquet, .csv, .json or .nc (netCDF). An old
        file is replaced in one step.
    dims : list of str, optional
        For netCDF: the parameters that become dimensions, as in `to_xarray`. By default there is
        one dimension, "pset".

    Raises
    ------
    ExportError
        If the suffix is not known, or the format cannot hold the names of the columns or a value.
    LabelError
        If `dims` is given, and the rows do not fit, see `to_xarray`.
    NoDataFrameError
        If `df` is no DataFrame.
    MissingPackageError
        If a package is not installed that the format needs: pyarrow for parquet; xarray,
        h5netcdf and h5py for netCDF.

    See Also
    --------
    to_xarray : An array in memory instead of a file.
    df_write : Write a file that keeps all types, for Python only.

    Notes
    -----
    Numbers, text, dates and times keep their types as far as the format has types; CSV has none.
    The index is not written: it is the column ``_time_utc``.

    Lists, dicts, arrays, sets and the like are written as JSON. In .json they stand as they are.
    In parquet they are lists if all values of a column are lists of numbers of one type, and else
    text with JSON in it. Columns of mixed types are text with JSON as well, in parquet and netCDF.

    JSON has no NaN and no infinity: they are null. Complex numbers become two columns in parquet
    and netCDF. In netCDF, missing text is empty text, and times outside of the years 1678 to 2261
    are text.

    Examples
    --------
    >>> export(pd.DataFrame({"a": [1, 2], "y": [[0.5], [0.25, 2.0]]}), "results.json")
    >>> print(Path("results.json").read_text())
    [{"a": 1, "y": [0.5]},
    {"a": 2, "y": [0.25, 2.0]}]
    """
    check_df(df, "ps.export(df, path)")
    suffix = Path(path).suffix
    if suffix not in _FORMATS:
        raise ExportError(
            f"{os.fspath(path)!r} ends in {suffix!r}, which is no format that is known; there "
            f"are {', '.join(_FORMATS)}"
        )
    if dims is not None and suffix != ".nc":
        raise ExportError(f"dims is for netCDF, and a table such as {suffix} has none; drop it")
    table = _without_own_types(df)
    try:
        replace_file(Path(path), lambda stream: _FORMATS[suffix](table, dims, stream))
    except UnicodeEncodeError as err:
        raise ExportError(
            f"{suffix} cannot hold the text {err.object[:60]!r}, which is not UTF-8, as names of "
            "files may be; leave that column out, or write .json or .csv"
        ) from err


def _without_own_types(df: pd.DataFrame) -> pd.DataFrame:
    """Replace categories and nullable numbers by their values; ints beside gaps stay ints."""
    df = df.copy(deep=False)
    for place, dtype in enumerate(df.dtypes):
        if isinstance(dtype, np.dtype):
            continue
        column = df.iloc[:, place]
        is_int = getattr(dtype, "kind", "O") in "iu" and column.isna().any()
        plain_column: Any = as_objects(column) if is_int else without_own_types(column)
        df.isetitem(place, plain_column)
    return df


@contextmanager
def _error_names(column: Any) -> Iterator[None]:
    """Within the block, an error of a conversion becomes an `ExportError` that names the column."""
    try:
        yield
    except UnicodeEncodeError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError) as err:
        raise ExportError(
            f"column {column!r} has a value that this format cannot hold ({err}); leave the column "
            f"out: df.drop(columns={column!r})"
        ) from err


def _csv(df: pd.DataFrame, dims: Sequence[str] | None, stream: BinaryIO) -> None:
    table = _convert_objects(df, lambda values: [_csv_cell(value) for value in values])
    table.to_csv(stream, index=False, errors="surrogateescape")


def _json(df: pd.DataFrame, dims: Sequence[str] | None, stream: BinaryIO) -> None:
    names = [encode_basestring(str(name)).replace("%", "%%") for name in df.columns]
    row = "{" + ", ".join(f"{name}: %s" for name in names) + "}"
    separator = "["
    for start in range(0, len(df), JSON_CHUNK_ROWS):
        chunk = df.iloc[start : start + JSON_CHUNK_ROWS]
        columns = [_json_column(chunk.iloc[:, place]) for place in range(len(names))]
        rows = map(row.__mod__, zip(*columns, strict=True))
        stream.write((separator + ",\n".join(rows)).encode(errors="surrogateescape"))
        separator = ",\n"
    stream.write(b"]" if len(df) else b"[]")


def _json_column(column: pd.Series) -> list[str]:
    """Return each value of a column as JSON; by type, since that is much faster."""
    kind = column.dtype.kind
    if isinstance(column.dtype, np.dtype) and kind == "M":
        times = np.datetime_as_string(column.to_numpy()).tolist()
        return ["null" if time == "NaT" else f'"{time}"' for time in times]
    values = column.tolist()
    if kind in "iu":
        return list(map(repr, values))
    if kind == "f":
        return [repr(number) if math.isfinite(number) else "null" for number in values]
    if column.dtype == "str":
        return [encode_basestring(text) if isinstance(text, str) else "null" for text in values]
    if kind == "c":
        gaps = column.isna().tolist()
        values = [None if is_nan else value for value, is_nan in zip(values, gaps, strict=True)]
    with _error_names(column.name):
        return list(map(to_json_text, values))


def _csv_cell(value: Any) -> Any:
    if isinstance(value, _CSV_TYPES) and not isinstance(value, enum.Enum):
        return str(value) if isinstance(value, int) else value  # an error now if that is too long
    return _as_str(to_json_value(value))


def _as_str(value: Any) -> str:
    """Return text as it is, and other values that JSON can hold as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parquet(df: pd.DataFrame, dims: Sequence[str] | None, stream: BinaryIO) -> None:
    with needed_for("export to parquet"):
        import pyarrow as pa

    def can_be_a_column(values: list[Any]) -> bool:
        types = set(map(type, values)) - {type(None)}
        if types not in _PARQUET_TYPES and not _are_lists_of_numbers(values):
            return False
        try:
            pa.array(values)
        except (pa.ArrowException, OverflowError):  # such as 2**70
            return False
        return True

    def convert(values: list[Any]) -> list[Any]:
        if can_be_a_column(values):
            return values
        plain_values = [to_json_value(value) for value in values]
        if can_be_a_column(plain_values):
            return plain_values
        return [None if value is None else to_json_text(value) for value in values]

    table = _convert_objects(_split_complex(df), convert)
    table.columns = table.columns.map(str)
    table.to_parquet(stream, index=False)


def _are_lists_of_numbers(values: list[Any]) -> bool:
    """Return whether all values are lists or arrays of numbers of one type, in one dimension."""
    lists = [value for value in values if value is not None]
    if all(isinstance(array, np.ndarray) for array in lists):
        if any(np.ma.is_masked(array) for array in lists):
            return False
        return len({array.dtype for array in lists}) == 1 and all(
            array.ndim == 1 and array.dtype.kind in "iuf" for array in lists
        )
    if all(isinstance(numbers, list) for numbers in lists):
        return {type(number) for numbers in lists for number in numbers} in ({int}, {float})
    return False


def _netcdf(df: pd.DataFrame, dims: Sequence[str] | None, stream: BinaryIO) -> None:
    with needed_for("export to netCDF"):
        import h5netcdf  # noqa: F401  (xarray uses it)
        import h5py  # noqa: F401  (h5netcdf uses it)
        import xarray as xr

    if bad := [name for name in df.columns if "/" in str(name)]:
        raise ExportError(f"netCDF has no names with '/': rename the column {bad[0]!r}")
    if dims is not None:
        dataset = _convert_variables(to_xarray(df, dims))
    else:
        columns = {name: as_array(column) for name, column in _split_complex(df).items()}
        dataset = xr.Dataset(
            {name: ("pset", _netcdf_cells(name, cells)) for name, cells in columns.items()}
        )
    # h5netcdf seeks while it writes, and some versions close the stream that they are given.
    dataset.to_netcdf(stream.name, engine="h5netcdf")
    stream.seek(0, os.SEEK_END)


def _split_complex(df: pd.DataFrame) -> pd.DataFrame:
    """Make two columns, real and imaginary, of each column of complex numbers."""
    columns: dict[Any, pd.Series] = {}
    for name in df.columns:
        if df[name].dtype.kind == "c":
            columns[f"{name}_real"] = np.real(df[name])
            imag = pd.Series(np.imag(df[name]), df.index)
            columns[f"{name}_imag"] = imag.where(df[name].notna())  # a gap is nan + 0j
        else:
            columns[name] = df[name]
    return pd.DataFrame(columns, index=df.index)


def _netcdf_text(value: Any) -> str:
    plain_value = None if is_gap(value) else to_json_value(value)
    text = "" if plain_value is None else _as_str(plain_value)
    text.encode()  # an error that says more than that of h5py
    return text


def _netcdf_attribute(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, int) and not -(2**63) <= value < 2**64):
        return to_json_text(value)
    return value if isinstance(value, str | int | float) else to_json_text(value)


def _netcdf_cells(name: Any, cells: np.ndarray) -> np.ndarray:
    """Return cells of a type that netCDF has: objects become text.

    So do times that do not fit 64 bits of nanoseconds: most readers fail at them.
    """
    if cells.dtype != object and not _has_years_without_nanoseconds(cells):
        return cells
    with _error_names(name):
        texts = [_netcdf_text(cell) for cell in cells.ravel()]
    return np.array(texts, dtype=object).reshape(cells.shape)


def _has_years_without_nanoseconds(cells: np.ndarray) -> bool:
    """Return whether there are times that only dates with another unit can hold, such as 1600."""
    if cells.dtype.kind != "M":
        return False
    times = cells.astype("datetime64[s]")
    times = times[~np.isnat(times)]
    limits = np.datetime64("1678-01-01", "s"), np.datetime64("2262-01-01", "s")
    return bool(len(times)) and not (limits[0] < times.min() and times.max() < limits[1])


def _convert_variables(dataset: xr.Dataset) -> xr.Dataset:
    """Make text of objects, and two variables of complex numbers: netCDF has no type for them."""
    for name in list(dataset.variables):
        array = dataset[name]
        if array.dtype.kind == "c":
            imag = array.imag.where(array.notnull())  # a gap is nan + 0j
            parts = {f"{name}_real": array.real, f"{name}_imag": imag}
            dataset = dataset.assign(parts).drop_vars([name])
        elif array.dtype.kind in "OM":
            dataset[name] = (array.dims, _netcdf_cells(name, array.to_numpy()))
    dataset.attrs = {str(name): _netcdf_attribute(value) for name, value in dataset.attrs.items()}
    return dataset


def _convert_objects(df: pd.DataFrame, convert: Callable[[list[Any]], list[Any]]) -> pd.DataFrame:
    """Convert the values of each column of objects, with None for gaps."""
    df = df.copy(deep=False)
    for place, dtype in enumerate(df.dtypes):
        if is_object_dtype(dtype):
            values = [None if is_gap(value) else value for value in df.iloc[:, place]]
            with _error_names(df.columns[place]):
                df.isetitem(place, pd.array(convert(values), dtype=object))
    return df


_FORMATS = {".parquet": _parquet, ".csv": _csv, ".json": _json, ".nc": _netcdf}
