"""``to_xarray``: a database becomes an `xarray.Dataset` whose dimensions are parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from psweep_dask._convert import is_gap, to_python
from psweep_dask._imports import needed_for
from psweep_dask._query import check_database
from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import RESERVED_FIELDS, PsetError, pset_sha1
from psweep_dask.storage.columns import (
    LARGEST_EXACT_INT,
    column_roles,
    python_str,
    without_own_types,
)
from psweep_dask.storage.status import FAILED, FINAL

if TYPE_CHECKING:
    import xarray as xr

REPEAT_DIM = "repeat"  # the dimension of rows that are equal in all other dimensions


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
        The columns that become arrays; by default all results, or, if `df` has no book-keeping, all
        columns other than `dims`. If all cells of a column ``y``
        hold arrays or lists of numbers of the same shape, these get dimensions of their own,
        named ``y_0``, ``y_1`` and so on.
    repeats : {'dim', 'mean'}, optional
        What to do with rows that are equal in all of `dims`: 'dim' adds a dimension "repeat" if
        there are such rows, 'mean' takes their average.

    Returns
    -------
    xarray.Dataset
        Coordinates are sorted and keep their type. A cell without a row or a value is NaN, or NaT
        in times; integers become floats then, and objects if they are above 2**53, so that they
        keep all digits.

    Raises
    ------
    LabelError
        If a column is missing or cannot be a dimension, another parameter varies, a column to be
        averaged does not hold numbers, or a dimension would have the name of a column.
    NoDataFrameError, DatabaseError, MissingPackageError
        If `df` is no DataFrame, or a database of psweep, which `import_psweep` reads, or xarray is
        not installed.

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
    >>> float(array.y.sel(a=2, b=1.5)), array.y.dims, array.a.dtype.name
    (3.0, ('a', 'b'), 'int64')
    """
    with needed_for("to_xarray"):
        import xarray as xr

    check_database(df, "ps.to_xarray(df, dims)")
    _check_dims(df, dims, repeats)
    params, results = params_and_results(df)
    others = [name for name in params if name not in dims]
    attrs = {name: only_value(df, name, "make it a dimension, or ") for name in others}
    # Without book-keeping, all columns count as results.
    default = [name for name in results if name not in dims]
    names = _checked_values(df, default if values is None else values, dims)
    axes = [_axis(df, name) for name in dims]
    coords = {name: coordinates for name, (_, coordinates) in zip(dims, axes, strict=True)}
    if "_status" in df.columns:
        has_result = (df["_status"].isin(FINAL - FAILED) | df["_status"].isna()).to_numpy()
        df = df[has_result]
        axes = [(places[has_result], coordinates) for places, coordinates in axes]
    places = [places for places, _ in axes]
    shape = [len(coordinates) for _, coordinates in axes]
    if math.prod(shape) > max(10_000_000, 100 * len(df)):  # small arrays may be mostly gaps
        raise LabelError(
            f"{' x '.join(map(str, shape))} cells are needed for {len(df)} rows: these parameters "
            "make no grid, as those of ps.sample do not; keep the DataFrame, or fewer dims"
        )
    array_dims = list(dims)
    repeat = pd.DataFrame(dict(enumerate(places))).groupby(list(range(len(dims)))).cumcount()
    if repeat.any():
        places, shape = [*places, repeat.to_numpy()], [*shape, int(repeat.max()) + 1]
        array_dims.append(REPEAT_DIM)
    arrays = {name: _with_dims(name, _cells(df[name]), array_dims, places, shape) for name in names}
    _check_made_dims(arrays, dims)
    with python_str():  # in which text may also be what is no UTF-8
        dataset = xr.Dataset(arrays, coords=coords, attrs=attrs)
    if repeats == "dim" or REPEAT_DIM not in dataset.dims:
        return dataset
    return _means(dataset)


def _with_dims(
    name: str, cells: np.ndarray, dims: list[str], places: list[np.ndarray], shape: list[int]
) -> tuple[list[str], np.ndarray]:
    """Return the dimensions of a variable and its array; of cells with axes, these are dimensions.

    Examples
    --------
    >>> _with_dims("y", np.array([[1, 2], [3, 4]]), ["a"], [np.array([1, 0])], [2])
    (['a', 'y_0'], array([[3, 4],
           [1, 2]]))
    """
    cell_dims = [f"{name}_{axis}" for axis in range(cells.ndim - 1)]
    return [*dims, *cell_dims], _spread(cells, places, shape)


def _check_made_dims(arrays: dict[str, tuple[list[str], np.ndarray]], dims: Sequence[str]) -> None:
    made_dims = [name for array_dims, _ in arrays.values() for name in array_dims[len(dims) :]]
    if taken := [name for name in made_dims if name in (*dims, *arrays)]:
        raise LabelError(
            f"there is a column {taken[0]!r}, and a dimension must be made that is called so; "
            f"rename the column: df.rename(columns={{{taken[0]!r}: ...}})"
        )


def _means(dataset: xr.Dataset) -> xr.Dataset:
    """Return the means along the dimension of repeats."""
    for name, array in dataset.data_vars.items():
        if array.dtype == object and _are_numbers(array):
            dataset[name] = array.astype(float)  # exact ints, whose mean is a float
        if dataset[name].dtype.kind not in "biufc":
            raise LabelError(f"{name!r} cannot be averaged; choose the columns by values=")
    return dataset.mean(REPEAT_DIM, keep_attrs=True)


def _are_numbers(array: xr.DataArray) -> bool:
    return all(isinstance(cell, int | float | np.number) for cell in array.to_numpy().ravel())


def params_and_results(df: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the names of parameters and of results: the columns before and behind book-keeping.

    Names that begin with an underscore are neither. Without book-keeping, all are results.
    """
    public = [name for name in df.columns if name in RESERVED_FIELDS or str(name)[:1] != "_"]
    roles = column_roles(public)
    return (roles.params, roles.results) if roles.seed_fields else ([], roles.params)


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


def _checked_values(df: pd.DataFrame, values: Sequence[str], dims: Sequence[str]) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise LabelError(f"values must be a list of columns, not {values!r}")
    if both := [name for name in values if name in dims]:
        raise LabelError(f"{both[0]!r} is one of dims, so it cannot be one of values, too")
    check_columns(df, values, LabelError)
    return list(dict.fromkeys(values))


def only_value(df: pd.DataFrame, name: str, alternative: str = "") -> Any:
    """Return the value that a parameter has in all rows; a `LabelError` if it has several.

    `alternative` is for the message: what the user can do instead of choosing rows.
    """
    column = df[name]
    hashes = column.map(_sha1_or_repr) if column.dtype == object else column
    values = [to_python(value) for value in column[~hashes.duplicated()]]
    if len(values) > 1:
        raise LabelError(
            f"{name!r} varies too, from {values[0]!r} to {values[-1]!r}: {alternative}"
            f"choose rows before, such as those where {f'{name} == {values[0]!r}'!r}"
        )
    return values[0] if values else None


def _sha1_or_repr(value: Any) -> str:
    """Return what differs for 1 and True, which are equal to Python, and for different arrays."""
    try:
        return pset_sha1({"value": value})
    except PsetError:  # a pset cannot hold this value, but a result can
        return repr(value)


def _axis(df: pd.DataFrame, name: str) -> tuple[np.ndarray, Any]:
    """Return the place of each row along a dimension, and the sorted coordinates."""
    column = without_own_types(df[name])
    if column.isna().any():
        raise LabelError(f"{int(column.isna().sum())} rows have no {name!r}, so no place along it")
    if column.dtype == np.float16:  # pandas has no index of this type
        column = column.astype(np.float32)
    try:
        places, coordinates = pd.factorize(column)
    except (TypeError, UnicodeEncodeError) as err:
        raise LabelError(f"{name!r} cannot be a dimension: {err}") from err
    with suppress(TypeError):  # values without an order, such as 1 and "a"
        places, coordinates = pd.factorize(column, sort=True)
    if column.dtype == object and column.map(_sha1_or_repr).nunique() > len(coordinates):
        raise LabelError(
            f"{name!r} has values that are equal and yet not the same, as 1 and True are: "
            "it cannot be a dimension; choose rows before"
        )
    return places, _labels(coordinates)


def _labels(coordinates: pd.Index) -> Any:
    """Return coordinates in a type that xarray has: text and times of a zone become objects."""
    if isinstance(coordinates.dtype, np.dtype) and not isinstance(coordinates, pd.MultiIndex):
        return coordinates
    labels = np.empty(len(coordinates), dtype=object)
    for place, label in enumerate(coordinates):  # one by one, since labels may be tuples
        labels[place] = label
    return labels


def _cells(column: pd.Series) -> np.ndarray:
    """Return the values of a column; with more dimensions if they are arrays of one shape."""
    if column.dtype == object:
        gaps = column.map(is_gap).to_numpy(bool)
        values = column[~gaps].tolist()
        if values and all(isinstance(value, list | np.ndarray) for value in values):
            stacked = _stacked(values)
            if stacked is not None:
                return _spread(stacked, [np.flatnonzero(~gaps)], [len(column)])
    return as_array(column)


def as_array(column: pd.Series) -> np.ndarray:
    """Return a column as an array of a type of NumPy, with NaN or NaT for its gaps.

    True and false beside gaps become 1.0 and 0.0, since bool has no NaN.
    """
    column = without_own_types(column)
    if column.dtype == object and set(column.dropna().map(type)) in ({bool}, {np.bool_}):
        return column.to_numpy(float)
    return column.to_numpy(None if isinstance(column.dtype, np.dtype) else object)


def _stacked(values: list[Any]) -> np.ndarray | None:
    """Return one array of lists and arrays; None if they differ in shape or hold no numbers.

    Masked numbers become NaN. If ints would lose digits, the array has objects.
    """
    arrays = [array for value in values if (array := _numbers(value)) is not None]
    if len(arrays) < len(values) or len({array.shape for array in arrays}) > 1:
        return None
    has_floats = np.result_type(*arrays).kind not in "biu"
    if has_floats and any(map(_loses_digits, arrays)):
        return np.stack([array.astype(object) for array in arrays])
    return np.stack([array.astype(float) if array.dtype == object else array for array in arrays])


def _numbers(value: list[Any] | np.ndarray) -> np.ndarray | None:
    """Return a list or an array of numbers as an array, with NaN where it is masked; else None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # masked numbers in lists become NaN
            array: Any = np.ma.asarray(value)
    except ValueError:  # a list of lists of different lengths
        return None
    if array.dtype.kind not in "biufc":
        return None
    if isinstance(value, list) and array.dtype.kind in "fc":
        objects = np.array(value, dtype=object)
        if _loses_digits(objects):
            return objects
    if array.mask.any() and array.dtype.kind in "biu":
        array = array.astype(object)
    numbers: np.ndarray = array.filled(np.nan) if array.mask.any() else array.data
    return numbers


def _loses_digits(array: np.ndarray) -> bool:
    """Return whether ints of an array of numbers may lose digits if they become floats."""
    if array.dtype == object:
        ints = [number for number in array.ravel() if isinstance(number, int | np.integer)]
        return any(abs(int(number)) > LARGEST_EXACT_INT for number in ints)
    if array.dtype.kind not in "iu" or not array.size:
        return False
    return bool(array.max() > LARGEST_EXACT_INT or array.min() < -LARGEST_EXACT_INT)


def _spread(cells: np.ndarray, places: list[np.ndarray], shape: list[int]) -> np.ndarray:
    """Return an array of this shape with each cell in its place. Gaps are NaN."""
    full_shape = [*shape, *cells.shape[1:]]
    if len(cells) == math.prod(shape):  # there is no gap, so the type can stay
        spread = np.empty(full_shape, cells.dtype)
    else:
        dtype = cells.dtype
        if dtype.kind in "biu":
            dtype = np.dtype(object if _loses_digits(cells) else float)
        spread = np.full(full_shape, "NaT" if dtype.kind in "mM" else np.nan, dtype)
    spread[tuple(places)] = cells
    return spread
