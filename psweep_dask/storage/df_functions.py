"""The functions ``ps.df_*`` that read, write, print and filter DataFrames."""

from __future__ import annotations

import fractions
import os
import pathlib
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_object_dtype

from psweep_dask._convert import to_json_value
from psweep_dask._query import check_df
from psweep_dask.errors import PsweepError
from psweep_dask.options import takes_old_names
from psweep_dask.storage import pickling
from psweep_dask.storage.atomic import replace_file


class FrameError(PsweepError):
    """An argument that does not fit the DataFrame, or a format that is not known."""


@takes_old_names(fn="path")
def df_read(path: str | os.PathLike[str], fmt: str = "pickle", **kwargs: Any) -> pd.DataFrame:
    """Read a DataFrame that `df_write` has written.

    To read a pickle can run code that is in it: read only files that you trust.

    Parameters
    ----------
    path : str or PathLike
        The file; psweep calls it `fn`, which works, too.
    fmt : {'pickle', 'json'}, optional
        Its format.
    **kwargs
        Passed to ``pickle.load`` or `pandas.read_json`.

    Returns
    -------
    DataFrame

    Raises
    ------
    FrameError
        If `fmt` is unknown.
    FileNotFoundError
        If there is no such file.

    See Also
    --------
    load : Read the database of a study, also while a run goes on.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     df_write(pd.DataFrame({"a": [1]}), f"{folder}/database.pk")
    ...     df_read(f"{folder}/database.pk")
       a
    0  1
    """
    if Path(path).is_dir():
        raise FrameError(f"{str(path)!r} is a folder; pass the path of a database in it")
    if fmt == "pickle":
        with Path(path).open("rb") as stream:
            df: pd.DataFrame = pickling.load_rows(stream, **kwargs)
            return df
    if fmt == "json":
        defaults = {"orient": "records", "precise_float": True}
        table: pd.DataFrame = pd.read_json(path, **{**defaults, **kwargs})
        return table
    raise FrameError(f"fmt must be 'pickle' or 'json', not {fmt!r}")


@takes_old_names(fn="path")
def df_write(
    df: pd.DataFrame, path: str | os.PathLike[str], fmt: str = "pickle", **kwargs: Any
) -> None:
    """Write a DataFrame to a file.

    The file is replaced in one step: a crash leaves the old or the new one. Its folder is made if
    it is missing.

    Parameters
    ----------
    df : DataFrame
        What to write.
    path : str or PathLike
        The file; psweep calls it `fn`, which works, too. As in psweep 0.16, it may come first.
    fmt : {'pickle', 'json'}, optional
        Its format.
    **kwargs
        Passed to ``pickle.dump``, or to `df_to_json`.

    Raises
    ------
    FrameError
        If `fmt` is unknown, or `df` is no DataFrame.

    See Also
    --------
    export : Write parquet, csv, json or netCDF.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     df_write(pd.DataFrame({"a": [1]}), f"{folder}/eval.json", fmt="json")
    ...     Path(folder, "eval.json").read_text()
    '[{"a":1}]'
    """
    if isinstance(path, pd.DataFrame):
        df, path = path, df
    if not isinstance(df, pd.DataFrame):
        raise FrameError(f"df_write(df, path) needs a DataFrame, not {type(df).__name__}")
    if fmt == "pickle":
        # Classes of the user's script are pickled by value, so that any process can read them.
        replace_file(Path(path), lambda stream: pickling.dump(df, stream, **kwargs))
    elif fmt == "json":
        text = df_to_json(df, **kwargs) or ""
        replace_file(Path(path), lambda stream: stream.write(text.encode()))
    else:
        raise FrameError(f"fmt must be 'pickle' or 'json', not {fmt!r}")


@takes_old_names()
def df_print(df: pd.DataFrame, index: bool = False) -> None:
    """Print all rows and columns of a DataFrame.

    Parameters
    ----------
    df : DataFrame
        What to print.
    index : bool, optional
        Print the index, too.

    Raises
    ------
    NoDataFrameError
        If `df` is no DataFrame.

    Examples
    --------
    >>> df_print(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
     a b
     1 x
     2 y
    """
    check_df(df, "ps.df_print(df)")
    print(df.to_string(index=index))  # noqa: T201  (that is its purpose)


def df_filter_conds(
    df: pd.DataFrame, conds: Sequence[Sequence[bool] | pd.Series | np.ndarray], op: str = "and"
) -> pd.DataFrame:
    """Return the rows that meet several conditions, combined by a logical operator.

    Parameters
    ----------
    df : DataFrame
        The rows to choose from.
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
        If `op` is unknown, or a mask has another length than `df`.
    NoDataFrameError
        If `df` is no DataFrame.

    See Also
    --------
    query : The rows of a study that meet a condition, written as text.

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


def df_to_json(df: pd.DataFrame, **kwargs: Any) -> str | None:
    """Return a DataFrame as JSON.

    Parameters
    ----------
    df : DataFrame
        What to convert.
    **kwargs
        Passed to `pandas.DataFrame.to_json`. Defaults that differ from those of pandas are
        ``orient="records"``, ``date_unit="s"``, ``date_format="iso"`` and
        ``double_precision=15``. With ``orient="index"`` or ``"columns"``, ``date_unit`` is "ns":
        there may be many rows in one second, and their keys must differ.

    Returns
    -------
    str or None
        None if it is written to a file, by ``path_or_buf=...``.

    Raises
    ------
    NoDataFrameError
        If `df` is no DataFrame.
    FrameError
        If pandas cannot write one of the values, or an argument is wrong.

    See Also
    --------
    export : Write parquet, csv, json or netCDF.

    Examples
    --------
    >>> df_to_json(pd.DataFrame({"a": [1, 2]}))
    '[{"a":1},{"a":2}]'
    """
    check_df(df, "ps.df_to_json(df)")
    unit = "ns" if kwargs.get("orient") in ("index", "columns") else "s"
    defaults = {"orient": "records", "date_format": "iso", "double_precision": 15}
    df = df.copy(deep=False)
    for place, dtype in enumerate(df.dtypes):
        if is_object_dtype(dtype):
            cells = [_for_pandas(value) for value in df.iloc[:, place]]
            df.isetitem(place, pd.array(cells, dtype=object))
    try:
        text: str | None = df.to_json(**{"date_unit": unit, **defaults, **kwargs})
    except (TypeError, ValueError, OverflowError) as err:
        raise FrameError(
            f"pandas cannot write this as JSON ({err}); ps.export(df, 'x.json') writes all types"
        ) from err
    return text


def _for_pandas(value: Any) -> Any:
    """Return a value in a form that pandas can write as JSON, if it would fail or lose its mask."""
    is_odd = isinstance(value, _NOT_FOR_PANDAS) or (
        isinstance(value, np.ndarray) and not value.ndim
    )
    return to_json_value(value) if is_odd else value


_NOT_FOR_PANDAS = (
    np.ma.MaskedArray,
    np.longdouble,
    bytes,
    fractions.Fraction,
    pathlib.PurePath,
    pd.Period,
    pd.Interval,
    uuid.UUID,
)
