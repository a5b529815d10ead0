"""Databases handed to others, in formats that any language reads and that run no code."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from json.encoder import encode_basestring
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd
from pandas.api.types import is_object_dtype

from psweep_dask._convert import as_text, is_nan, plain
from psweep_dask._imports import needed_for
from psweep_dask._query import check_df
from psweep_dask.analysis.dataset import to_xarray
from psweep_dask.errors import PsweepError
from psweep_dask.storage.atomic import replace_file

if TYPE_CHECKING:
    import xarray as xr

CHUNK = 20_000
"""So many rows are written at a time, where rows are written one by one."""

_SCALARS = (bool, int, float, complex, str, dt.date, dt.time, dt.timedelta, np.generic, type(None))
_OF_PARQUET = [{one} for one in (bool, int, float, str, bytes, dt.date)]


class ExportError(PsweepError):
    """A format that is not known, or cannot hold what it should."""


def export(
    df: pd.DataFrame, path: str | os.PathLike[str], *, dims: Sequence[str] | None = None
) -> None:
    """Write a database in a format of the suffix of its name: for others, or for other tools.

    Parameters
    ----------
    df : DataFrame
    path : str or PathLike
        Ends in .parquet, .csv, .json or .nc (netCDF). The file is replaced in one step.
    dims : list of str, optional
        For netCDF: the parameters that become dimensions, as in `to_xarray`. Without it there is
        one dimension, "pset".

    Raises
    ------
    ExportError
        If the suffix is not known, or the format cannot hold the names of the columns.
    MissingPackageError
        If a package for it is not installed: pyarrow for parquet; xarray,
        h5netcdf and h5py for netCDF.

    Notes
    -----
    Numbers, text, dates and times keep their types as far as the format has types; the index is
    left out, since the column ``_time_utc`` has it. Lists, dicts, arrays, sets and the like are
    written as JSON: in .json as they are there, in parquet as lists where all are lists of numbers
    of one type, and else as text of JSON. That, too, is how parquet and netCDF get columns in which
    types are mixed. JSON has no NaN and no infinity: they are null. CSV has no types at all.
    Complex numbers become two columns in parquet and netCDF, and missing text is empty in netCDF.

    Examples
    --------
    >>> import tempfile
    >>> df = pd.DataFrame({"a": [1, 2], "y": [[0.5], [0.25, 2.0]]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "results.json")
    ...     export(df, path)
    ...     print(path.read_text())
    [{"a": 1, "y": [0.5]},
    {"a": 2, "y": [0.25, 2.0]}]
    """
    check_df(df, "ps.export(df, path)")
    suffix = Path(path).suffix
    write = _FORMATS.get(suffix)
    if write is None:
        raise ExportError(
            f"{os.fspath(path)!r} ends in {suffix!r}, which is no format that is known; there "
            f"are {', '.join(_FORMATS)}"
        )
    if dims is not None and suffix != ".nc":
        raise ExportError(f"dims is for netCDF, and a table such as {suffix} has none; drop it")
    content = write(df, dims)
    replace_file(Path(path), content)


Write = Callable[[BinaryIO], object]


def _csv(df: pd.DataFrame, dims: Sequence[str] | None) -> Write:
    table = _converted(df, lambda values: [_csv_cell(value) for value in values])
    return lambda stream: table.to_csv(stream, index=False)


def _json(df: pd.DataFrame, dims: Sequence[str] | None) -> Write:
    return lambda stream: stream.writelines(_json_chunks(df))


def _json_chunks(df: pd.DataFrame) -> Iterator[bytes]:
    names = [encode_basestring(str(name)).replace("%", "%%") for name in df.columns]
    row = "{" + ", ".join(f"{name}: %s" for name in names) + "}"
    before = "["
    for start in range(0, len(df), CHUNK):
        some = df.iloc[start : start + CHUNK]
        columns = [_json_column(some.iloc[:, at]) for at in range(len(names))]
        rows = map(row.__mod__, zip(*columns, strict=True))
        yield (before + ",\n".join(rows)).encode(errors="surrogateescape")
        before = ",\n"
    yield b"]" if len(df) else b"[]"


def _json_column(column: pd.Series) -> list[str]:
    """Write each value of a column as JSON: whole columns at once, which is quick."""
    kind = column.dtype.kind
    if kind in "iu":
        return list(map(repr, column.tolist()))
    if kind == "f":
        return [repr(one) if math.isfinite(one) else "null" for one in column.tolist()]
    if isinstance(column.dtype, np.dtype) and kind == "M":
        times = np.datetime_as_string(column.to_numpy()).tolist()
        return ["null" if one == "NaT" else f'"{one}"' for one in times]
    if column.dtype == "str":
        texts = column.tolist()
        return [encode_basestring(one) if isinstance(one, str) else "null" for one in texts]
    return list(map(as_text, column))


def _csv_cell(value: Any) -> Any:
    if isinstance(value, _SCALARS) and not isinstance(value, enum.Enum):
        return value
    known = plain(value)
    return known if isinstance(known, str) else json.dumps(known, ensure_ascii=False)


def _parquet(df: pd.DataFrame, dims: Sequence[str] | None) -> Write:
    with needed_for("export to parquet"):
        import pyarrow as pa

    def native(values: list[Any]) -> list[Any]:
        for some in (values, [plain(value) for value in values]):
            if set(map(type, some)) - {type(None)} in _OF_PARQUET or _are_lists_of_numbers(some):
                try:
                    pa.array(some)
                except (pa.ArrowException, OverflowError):  # such as 2**70
                    continue
                return some
        return [None if value is None else as_text(value) for value in values]

    table = _converted(_in_parts(df), native)
    table.columns = table.columns.map(str)
    return lambda stream: table.to_parquet(stream, index=False)


def _are_lists_of_numbers(values: list[Any]) -> bool:
    """Tell whether all are lists or arrays of numbers of one type, in one dimension."""
    known = [value for value in values if value is not None]
    if all(isinstance(one, np.ndarray) for one in known):
        return len({one.dtype for one in known}) == 1 and all(
            one.ndim == 1 and one.dtype.kind in "iuf" for one in known
        )
    if all(isinstance(one, list) for one in known):
        return {type(number) for one in known for number in one} in ({int}, {float})
    return False


def _netcdf(df: pd.DataFrame, dims: Sequence[str] | None) -> Write:
    with needed_for("export to netCDF"):
        import h5netcdf  # noqa: F401  (xarray uses it)
        import h5py  # noqa: F401  (h5netcdf uses it)
        import xarray as xr

    if bad := [name for name in df.columns if "/" in str(name)]:
        raise ExportError(f"netCDF has no names with '/': rename the column {bad[0]!r}")
    if dims is not None:
        made = to_xarray(df, dims)
    else:
        df = _in_parts(df)
        made = xr.Dataset(
            {name: ("pset", df[name].to_numpy(_dtype_of(df[name]))) for name in df.columns}
        )
    stored = _storable(made)

    def write(stream: BinaryIO) -> None:
        # It seeks while it writes, and some of its versions close the stream that they are given.
        stored.to_netcdf(stream.name, engine="h5netcdf")
        stream.seek(0, os.SEEK_END)

    return write


def _in_parts(df: pd.DataFrame) -> pd.DataFrame:
    """Make two columns of each that holds complex numbers."""
    columns: dict[Any, pd.Series] = {}
    for name in df.columns:
        if df[name].dtype.kind == "c":
            columns[f"{name}_real"] = np.real(df[name])
            columns[f"{name}_imag"] = np.imag(df[name])
        else:
            columns[name] = df[name]
    return pd.DataFrame(columns, index=df.index)


def _dtype_of(column: pd.Series) -> Any:
    return object if column.dtype == "str" else None


def _storable(made: xr.Dataset) -> xr.Dataset:
    """Turn what netCDF has no type for into text, and complex numbers into pairs."""
    for name in list(made.variables):
        array = made[name]
        if array.dtype.kind == "O":
            cells = [_text_cell(one) for one in array.to_numpy().ravel()]
            text = np.array(cells, dtype=object).reshape(array.shape)
            made[name] = (array.dims, text)
        elif array.dtype.kind == "c":
            made = made.assign({f"{name}_real": array.real, f"{name}_imag": array.imag})
            made = made.drop_vars([name])
    made.attrs = {
        str(name): value if isinstance(value, str | int | float) else as_text(value)
        for name, value in made.attrs.items()
    }
    return made


def _text_cell(value: Any) -> str:
    known = None if _is_gap(value) else plain(value)
    if isinstance(known, str):
        return known
    return "" if known is None else json.dumps(known, ensure_ascii=False)


def _converted(df: pd.DataFrame, convert: Callable[[list[Any]], list[Any]]) -> pd.DataFrame:
    """Convert the values of each column of objects; gaps are None."""
    df = df.copy(deep=False)
    for at, dtype in enumerate(df.dtypes):
        if is_object_dtype(dtype):
            values = [None if _is_gap(value) else value for value in df.iloc[:, at]]
            df.isetitem(at, pd.array(convert(values), dtype=object))
    return df


def _is_gap(value: Any) -> bool:
    return value is None or value is pd.NaT or is_nan(value)


_FORMATS: dict[str, Callable[[pd.DataFrame, Sequence[str] | None], Write]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".json": _json,
    ".nc": _netcdf,
}
