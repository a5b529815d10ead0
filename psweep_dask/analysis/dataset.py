"""Databases as labelled arrays of many dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from psweep_dask._convert import of_python
from psweep_dask._imports import needed_for
from psweep_dask._query import check_df
from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import PsetError, pset_sha1
from psweep_dask.storage.columns import column_roles

if TYPE_CHECKING:
    import xarray as xr

REPEAT = "repeat"
"""The dimension of psets that are repeated."""

MOST_CELLS = 10_000_000
"""So many may be nearly all gaps."""

_WITH_RESULT = {"ok", "simulated"}


class LabelError(PsweepError):
    """Rows that do not make the array that was asked for."""


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
        Rows that have failed are gaps.
    dims : list of str
        The parameters that become dimensions. All others must have one value throughout, which
        becomes an attribute of the dataset; choose rows before, if they do not.
    values : list of str, optional
        The columns that become arrays; by default all results. Where each cell of a column holds
        an array or a list of numbers of one shape, that has dimensions of its own, named
        ``y_0``, ``y_1``.
    repeats : {'dim', 'mean'}, optional
        What to do with rows that are equal in all of `dims`: 'dim' gives a dimension "repeat",
        if there are any, and 'mean' their average.

    Returns
    -------
    xarray.Dataset
        Coordinates are sorted and keep their type. Where there is no row, there is NaN (or NaT),
        which makes floats of ints.

    Raises
    ------
    LabelError
        If a column is missing or cannot be a dimension, another parameter varies, what is to be
        averaged is no number, or a column is called as a dimension that must be made.
    MissingPackageError
        If xarray is not installed.

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
    dims = _checked(df, dims, repeats)
    params, results = params_and_results(df)
    attrs = {
        name: only_value(df, name, "make it a dimension, or ")
        for name in params
        if name not in dims
    }
    names = list(results if values is None else values)
    for name in names:
        if name not in df.columns:
            raise LabelError(f"no column {name!r}; there are {', '.join(map(str, df.columns))}")
    labels = [_codes(df, name) for name in dims]
    good = _with_result(df)
    df = df[good]
    places = [codes[good] for codes, _ in labels]
    shape = [len(known) for _, known in labels]
    _check_size(shape, len(df))
    number = _repeat_of(places, len(df))
    along = list(dims)
    if number.any():
        _check_free([REPEAT], [*dims, *names])
        places, shape, along = [*places, number], [*shape, int(number.max()) + 1], [*dims, REPEAT]
    arrays = {}
    for name in names:
        cells = _cells(df[name])
        more = [f"{name}_{axis}" for axis in range(cells.ndim - 1)]
        _check_free(more, [*along, *names])
        arrays[name] = ([*along, *more], _spread(cells, places, shape))
    coords = {name: known for name, (_, known) in zip(dims, labels, strict=True)}
    made = xr.Dataset(arrays, coords=coords, attrs=attrs)
    return _averaged(made) if repeats == "mean" and REPEAT in made.dims else made


def params_and_results(df: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Tell parameters from results by where they stand: before and behind the book-keeping.

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


def _checked(df: pd.DataFrame, dims: Sequence[str], repeats: str) -> list[str]:
    if isinstance(dims, str) or not isinstance(dims, Sequence):
        names = str(dims).split(",")
        raise LabelError(f"dims must be a list of columns, not {dims!r}; write {names!r}")
    if repeats not in ("dim", "mean"):
        raise LabelError(f"repeats must be 'dim' or 'mean', not {repeats!r}")
    if not dims or len(set(dims)) < len(dims):
        raise LabelError(f"dims must name columns, each once, not {list(dims)!r}")
    for name in dims:
        if name not in df.columns:
            raise LabelError(f"no column {name!r}; there are {', '.join(map(str, df.columns))}")
    return list(dims)


def _check_size(shape: list[int], rows: int) -> None:
    cells = math.prod(shape)
    if cells > max(MOST_CELLS, 100 * rows):
        raise LabelError(
            f"{' x '.join(map(str, shape))} cells are needed for {rows} rows: these parameters "
            "make no grid, as those of ps.sample do not; keep the DataFrame, or fewer dims"
        )


def _check_free(ours: Sequence[str], taken: Sequence[str]) -> None:
    """Make sure that dimensions which we name ourselves have no name of a column."""
    for name in ours:
        if name in taken:
            raise LabelError(
                f"there is a column {name!r}, and a dimension must be made that is called so; "
                f"rename the column: df.rename(columns={{{name!r}: ...}})"
            )


def _with_result(df: pd.DataFrame) -> np.ndarray:
    if "_status" not in df.columns:
        return np.ones(len(df), bool)
    return (df["_status"].isin(_WITH_RESULT) | df["_status"].isna()).to_numpy()


def only_value(df: pd.DataFrame, name: str, or_else: str = "") -> Any:
    """Give the value that a parameter has in all rows.

    Parameters
    ----------
    df : DataFrame
    name : str
    or_else : str, optional
        What else than choosing rows helps if it has more than one, for the error.

    Raises
    ------
    LabelError
        If it has more than one.
    """
    known = df.loc[~_marks(df[name]).duplicated(), name]
    values = [of_python(one) for one in known]
    if len(values) > 1:
        raise LabelError(
            f"{name!r} varies too, from {values[0]!r} to {values[-1]!r}: {or_else}"
            f"choose rows before, such as those where {f'{name} == {values[0]!r}'!r}"
        )
    return values[0] if values else None


def _marks(column: pd.Series) -> pd.Series:
    """Give what differs where values differ: 1, 1.0 and True do, as they do in a hash."""
    if column.dtype != object:
        return column
    return column.map(_mark)


def _mark(value: Any) -> str:
    try:
        return pset_sha1({"value": value})
    except PsetError:  # func can make, or book-keeping hold, what a pset cannot
        return repr(value)


def _codes(df: pd.DataFrame, name: str) -> tuple[np.ndarray, Any]:
    """Give the values of a dimension numbers, and the values in order."""
    column = df[name]
    if column.isna().any():
        raise LabelError(f"{int(column.isna().sum())} rows have no {name!r}, so no place along it")
    try:
        codes, known = pd.factorize(column, sort=True)
    except TypeError as err:
        try:
            codes, known = pd.factorize(column)  # in order of appearance: 1, "a"
        except TypeError:
            raise LabelError(f"{name!r} cannot be a dimension: {err}") from err
    if column.dtype == object and _marks(column).nunique() > len(known):
        raise LabelError(
            f"{name!r} has values that are equal and yet not the same, as 1 and True are: "
            "it cannot be a dimension; choose rows before"
        )
    return codes, known.to_numpy() if known.dtype == "str" else known


def _repeat_of(places: list[np.ndarray], length: int) -> np.ndarray:
    """Tell, for each row, how many before it have the same place."""
    where = pd.DataFrame(dict(enumerate(places)), index=range(length))
    return where.groupby(list(where.columns)).cumcount().to_numpy()


def _cells(column: pd.Series) -> np.ndarray:
    """Give the values of a column; with dimensions of their own, where all are of one shape."""
    if column.dtype != object:
        return column.to_numpy(object if column.dtype == "str" else None)
    known = column[column.notna().to_numpy()]
    if len(known) and all(isinstance(one, list | np.ndarray) for one in known):
        try:
            stacked = np.stack([np.asarray(one) for one in known])
        except ValueError:  # of different shapes, or ragged
            return column.to_numpy()
        if stacked.dtype.kind in "biufc" and len(known) == len(column):
            return stacked
        if stacked.dtype.kind in "biufc":
            return _spread(stacked, [np.flatnonzero(column.notna())], [len(column)])
    if len(known) and all(isinstance(one, bool | np.bool_) for one in known):
        return column.to_numpy(float)  # gaps are NaN, so it has no type for them
    return column.to_numpy()


def _spread(cells: np.ndarray, places: list[np.ndarray], shape: list[int]) -> np.ndarray:
    """Put cells in their places; gaps are NaN."""
    whole = [*shape, *cells.shape[1:]]
    if len(cells) == int(np.prod(shape)):  # no gap, so the type can stay
        spread = np.empty(whole, cells.dtype)
    elif cells.dtype.kind in "biu":
        spread = np.full(whole, np.nan)
    else:
        gap = np.array("NaT", cells.dtype) if cells.dtype.kind in "mM" else np.nan
        spread = np.full(whole, gap, cells.dtype)
    spread[tuple(places)] = cells
    return spread


def _averaged(made: xr.Dataset) -> xr.Dataset:
    for name, array in made.data_vars.items():
        if array.dtype.kind not in "biufc":
            raise LabelError(f"{name!r} cannot be averaged; choose the columns by values=")
    return made.mean(REPEAT, keep_attrs=True)
