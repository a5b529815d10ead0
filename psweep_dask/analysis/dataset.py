"""``to_xarray``: a database becomes an `xarray.Dataset` whose dimensions are parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from psweep_dask._convert import to_python
from psweep_dask._imports import needed_for
from psweep_dask._query import check_df
from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import PsetError, pset_sha1
from psweep_dask.storage.columns import column_roles
from psweep_dask.storage.status import FAILED, FINAL

if TYPE_CHECKING:
    import xarray as xr

REPEAT_DIM = "repeat"
"""The dimension of rows that are equal in all other dimensions."""

MAX_CELLS = 10_000_000
"""Up to this size, an array may consist of gaps nearly everywhere."""


class LabelError(PsweepError):
    """Rows from which the array that was asked for cannot be made."""


def to_xarray(
    df: pd.DataFrame,
    dims: Sequence[str],
    *,
    values: Sequence[str] | None = None,
    repeats: str = "dim",
) -> xr.Dataset:
    """Make an `xarray.Dataset` whose dimensions are parameters.

    Parameters
    ----------
    df : DataFrame
        A database. Psets that have failed become gaps.
    dims : list of str
        The parameters that become dimensions. Each other parameter must have the same value in
        all rows, and becomes an attribute of the dataset. If it has several values, choose rows
        first.
    values : list of str, optional
        The columns that become arrays; by default all results. If all cells of a column ``y``
        hold arrays or lists of numbers of the same shape, these get dimensions of their own,
        named ``y_0``, ``y_1`` and so on.
    repeats : {'dim', 'mean'}, optional
        What to do with rows that are equal in all of `dims`: 'dim' adds a dimension "repeat" if
        there are such rows, 'mean' takes their average.

    Returns
    -------
    xarray.Dataset
        Coordinates are sorted and keep their type. A cell without a row is NaN, or NaT in times;
        integers become floats then.

    Raises
    ------
    LabelError
        If a column is missing or cannot be a dimension, another parameter varies, a column to be
        averaged does not hold numbers, or a dimension would have the name of a column.
    NoDataFrameError
        If `df` is no DataFrame.
    MissingPackageError
        If xarray is not installed.

    See Also
    --------
    export : Write a database to netCDF and other formats.
    query : Choose rows of a study.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> params = ps.pgrid(ps.plist("a", [1, 2, 3]), ps.plist("b", [0.5, 1.5]))
    >>> df = ps.run(lambda pset: {"y": pset["a"] * pset["b"]}, params, cluster="sync", save=False)
    >>> array = to_xarray(df, ["a", "b"])
    >>> float(array.y.sel(a=2, b=1.5))
    3.0
    >>> array.y.dims, array.a.dtype.name
    (('a', 'b'), 'int64')
    """
    with needed_for("to_xarray"):
        import xarray as xr

    check_df(df, "ps.to_xarray(df, dims)")
    _check_dims(df, dims, repeats)
    params, results = params_and_results(df)
    attrs = {
        name: only_value(df, name, "make it a dimension, or ")
        for name in params
        if name not in dims
    }
    names = list(results if values is None else values)
    check_columns(df, names, LabelError)
    axes = [_axis(df, name) for name in dims]
    has_result = _has_result(df)
    df = df[has_result]
    places = [places[has_result] for places, _ in axes]
    shape = [len(coordinates) for _, coordinates in axes]
    _check_size(shape, len(df))
    repeat = _count_repeats(places, len(df))
    array_dims = list(dims)
    if repeat.any():
        _check_unused([REPEAT_DIM], [*dims, *names])
        places, shape = [*places, repeat], [*shape, int(repeat.max()) + 1]
        array_dims.append(REPEAT_DIM)
    arrays = {}
    for name in names:
        cells = _cells(df[name])
        cell_dims = [f"{name}_{axis}" for axis in range(cells.ndim - 1)]
        _check_unused(cell_dims, [*array_dims, *names])
        arrays[name] = ([*array_dims, *cell_dims], _spread(cells, places, shape))
    coords = {name: coordinates for name, (_, coordinates) in zip(dims, axes, strict=True)}
    dataset = xr.Dataset(arrays, coords=coords, attrs=attrs)
    return _average(dataset) if repeats == "mean" and REPEAT_DIM in dataset.dims else dataset


def params_and_results(df: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the names of parameters and of results: the columns before and behind book-keeping.

    Names that begin with an underscore are neither. Without book-keeping, all are results.

    Examples
    --------
    >>> params_and_results(pd.DataFrame(columns=["a", "_vary", "_run_id", "_pset_seq", "y"]))
    (['a'], ['y'])
    """
    roles = column_roles(df.columns)
    params, results = (roles.params, roles.results) if roles.seed_fields else ([], roles.params)
    return _without_private(params), _without_private(results)


def _without_private(names: list[str]) -> list[str]:
    return [name for name in names if not str(name).startswith("_")]


def check_columns(df: pd.DataFrame, names: Sequence[str], error: type[PsweepError]) -> None:
    """Make sure that a DataFrame has these columns; else raise an error of this class."""
    for name in names:
        if name not in df.columns:
            raise error(f"no column {name!r}; there are {', '.join(map(str, df.columns))}")


def _check_dims(df: pd.DataFrame, dims: Sequence[str], repeats: str) -> None:
    if isinstance(dims, str) or not isinstance(dims, Sequence):
        names = str(dims).split(",")
        raise LabelError(f"dims must be a list of columns, not {dims!r}; write {names!r}")
    if repeats not in ("dim", "mean"):
        raise LabelError(f"repeats must be 'dim' or 'mean', not {repeats!r}")
    if not dims or len(set(dims)) < len(dims):
        raise LabelError(f"dims must name columns, each once, not {list(dims)!r}")
    check_columns(df, dims, LabelError)


def _check_size(shape: list[int], rows: int) -> None:
    cells = math.prod(shape)
    if cells > max(MAX_CELLS, 100 * rows):
        raise LabelError(
            f"{' x '.join(map(str, shape))} cells are needed for {rows} rows: these parameters "
            "make no grid, as those of ps.sample do not; keep the DataFrame, or fewer dims"
        )


def _check_unused(new: Sequence[str], used: Sequence[str]) -> None:
    """Make sure that dimensions which get their name from us do not have that of a column."""
    for name in new:
        if name in used:
            raise LabelError(
                f"there is a column {name!r}, and a dimension must be made that is called so; "
                f"rename the column: df.rename(columns={{{name!r}: ...}})"
            )


def _has_result(df: pd.DataFrame) -> np.ndarray:
    """Return, for each row, whether its pset has not failed."""
    if "_status" not in df.columns:
        return np.ones(len(df), bool)
    return (df["_status"].isin(FINAL - FAILED) | df["_status"].isna()).to_numpy()


def only_value(df: pd.DataFrame, name: str, alternative: str = "") -> Any:
    """Return the value that a parameter has in all rows.

    Parameters
    ----------
    df : DataFrame
    name : str
    alternative : str, optional
        For the error: what the user can do instead of choosing rows.

    Raises
    ------
    LabelError
        If it has more than one value.
    """
    different = df.loc[~_comparable(df[name]).duplicated(), name]
    values = [to_python(value) for value in different]
    if len(values) > 1:
        raise LabelError(
            f"{name!r} varies too, from {values[0]!r} to {values[-1]!r}: {alternative}"
            f"choose rows before, such as those where {f'{name} == {values[0]!r}'!r}"
        )
    return values[0] if values else None


def _comparable(column: pd.Series) -> pd.Series:
    """Return a column in which values are equal only if they have the same hash.

    Python takes 1, 1.0 and True for equal, and cannot compare arrays.
    """
    return column.map(_sha1_or_repr) if column.dtype == object else column


def _sha1_or_repr(value: Any) -> str:
    try:
        return pset_sha1({"value": value})
    except PsetError:  # a pset cannot hold this value, but a result can
        return repr(value)


def _axis(df: pd.DataFrame, name: str) -> tuple[np.ndarray, Any]:
    """Return the place of each row along a dimension, and the sorted coordinates."""
    column = df[name]
    if column.isna().any():
        raise LabelError(f"{int(column.isna().sum())} rows have no {name!r}, so no place along it")
    try:
        places, coordinates = pd.factorize(column, sort=True)
    except TypeError as err:
        try:
            places, coordinates = pd.factorize(column)  # not sorted, such as 1, "a"
        except TypeError:
            raise LabelError(f"{name!r} cannot be a dimension: {err}") from err
    if column.dtype == object and _comparable(column).nunique() > len(coordinates):
        raise LabelError(
            f"{name!r} has values that are equal and yet not the same, as 1 and True are: "
            "it cannot be a dimension; choose rows before"
        )
    return places, coordinates.to_numpy() if coordinates.dtype == "str" else coordinates


def _count_repeats(places: list[np.ndarray], length: int) -> np.ndarray:
    """Return, for each row, how many rows before it have the same place."""
    table = pd.DataFrame(dict(enumerate(places)), index=range(length))
    return table.groupby(list(table.columns)).cumcount().to_numpy()


def _cells(column: pd.Series) -> np.ndarray:
    """Return the values of a column; with more dimensions if they are arrays of one shape."""
    if column.dtype != object:
        return column.to_numpy(object if column.dtype == "str" else None)
    values = column[column.notna().to_numpy()]
    if len(values) and all(isinstance(value, list | np.ndarray) for value in values):
        try:
            stacked = np.stack([np.asarray(value) for value in values])
        except ValueError:  # they have different shapes
            return column.to_numpy()
        if stacked.dtype.kind in "biufc":
            if len(values) == len(column):
                return stacked
            return _spread(stacked, [np.flatnonzero(column.notna())], [len(column)])
    if len(values) and all(isinstance(value, bool | np.bool_) for value in values):
        return column.to_numpy(float)  # bool has no NaN for the gaps
    return column.to_numpy()


def _spread(cells: np.ndarray, places: list[np.ndarray], shape: list[int]) -> np.ndarray:
    """Return an array of this shape with each cell in its place. Gaps are NaN."""
    full_shape = [*shape, *cells.shape[1:]]
    if len(cells) == math.prod(shape):  # there is no gap, so the type can stay
        spread = np.empty(full_shape, cells.dtype)
    elif cells.dtype.kind in "biu":
        spread = np.full(full_shape, np.nan)
    else:
        gap = np.array("NaT", cells.dtype) if cells.dtype.kind in "mM" else np.nan
        spread = np.full(full_shape, gap, cells.dtype)
    spread[tuple(places)] = cells
    return spread


def _average(dataset: xr.Dataset) -> xr.Dataset:
    for name, array in dataset.data_vars.items():
        if array.dtype.kind not in "biufc":
            raise LabelError(f"{name!r} cannot be averaged; choose the columns by values=")
    return dataset.mean(REPEAT_DIM, keep_attrs=True)
