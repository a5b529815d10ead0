"""Finding rows of a database: by an expression of pandas, or by the beginning of an id."""

from __future__ import annotations

import numpy as np
import pandas as pd

from psweep_dask._format import kind_of, short_repr
from psweep_dask.errors import PsweepError


class QueryError(PsweepError):
    """An expression or an id by which no rows can be found."""


def select_rows(df: pd.DataFrame, expression: str) -> pd.DataFrame:
    """Return the rows for which an expression is true, as `pandas.DataFrame.query` takes it.

    Raises
    ------
    QueryError
        If the expression cannot be evaluated, or is not true or false for each row.

    Examples
    --------
    >>> df = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "x"]})
    >>> select_rows(df, 'a > 1 and b == "x"').a.tolist()
    [3]
    """
    if not isinstance(expression, str):
        raise QueryError(
            f"an expression must be a str such as 'a > 3', not {short_repr(expression)}"
        )
    if "@" in expression:  # pandas would look for a variable of this function
        raise QueryError(
            f"{expression!r}: '@' begins the name of a variable; write the value instead"
        )
    try:
        mask = df.reset_index(drop=True).eval(expression, engine="python")
    except Exception as err:  # parsing and comparing raise errors of all kinds
        names = ", ".join(map(str, df.columns))
        raise QueryError(f"{expression!r}: {err}; there are the columns {names}") from err
    if isinstance(mask, pd.Series) and mask.dtype == "boolean":  # of columns with pandas' own types
        mask = mask.fillna(False).astype(bool)
    if not isinstance(mask, pd.Series) or mask.dtype != bool:
        raise QueryError(
            f"{expression!r} is not true or false for each row; compare a column with a value"
        )
    return df[mask.to_numpy()]


def find_row(df: pd.DataFrame, name: str) -> pd.Series:
    """Return the row of a pset, by its ``_pset_seq`` or the beginning of its ``_pset_id``.

    Raises
    ------
    QueryError
        If there is no such row, or more than one.
    """
    if name.isdecimal() and "_pset_seq" in df.columns:
        positions = np.flatnonzero(df["_pset_seq"] == int(name))
        if len(positions) == 1:
            return df.iloc[int(positions[0])]
        if len(positions) > 1:  # of runs on two machines, which push or pull has merged
            ids = ", ".join(df["_pset_id"].iloc[positions].astype(str).str[:8])
            raise QueryError(
                f"{len(positions)} psets have the number {name}; name one by its _pset_id: {ids}"
            )
    return df.iloc[find_position(df, name)]


def find_position(df: pd.DataFrame, id_prefix: str) -> int:
    """Return the position of a row, by the beginning of its ``_pset_id``, as in `find_row`."""
    if not isinstance(id_prefix, str) or not id_prefix:
        raise QueryError(
            f"a _pset_id or the beginning of one is needed, not {short_repr(id_prefix)}"
        )
    if "_pset_id" not in df.columns:
        raise QueryError("the database has no column _pset_id, so its rows cannot be found")
    ids = df["_pset_id"].astype(str)
    positions = np.flatnonzero(ids.str.startswith(id_prefix))
    if len(positions) == 1:
        return int(positions[0])
    if not len(positions):
        raise QueryError(f"{id_prefix!r}: no pset has an id that begins with it")
    first = ", ".join(ids.iloc[positions[:5]])
    raise QueryError(
        f"{id_prefix!r}: {len(positions)} psets have an id that begins with it: {first}"
    )


class NoDataFrameError(PsweepError):
    """An argument that must be a DataFrame is not one."""


class DatabaseError(PsweepError):
    """A database that cannot be read, or that no row can be appended to."""


def check_database(df: object, call: str) -> None:
    """Check an argument that must be a database of ours, as `check_df` and `check_origin` do."""
    check_df(df, call)
    if isinstance(df, pd.DataFrame):
        check_origin(df, "the DataFrame")


def check_origin(df: pd.DataFrame, name: str) -> None:
    """Raise a `DatabaseError` if a database is one of psweep, in which other hashes are used.

    Its columns are in another order, too, so that results could be taken for parameters.
    """
    if "_pset_hash" in df.columns and "_pset_sha1" not in df.columns:
        raise DatabaseError(
            f"{name} was written by the package psweep: "
            "ps.import_psweep('its folder', 'new folder') makes a study of it for this package"
        )


def check_df(df: object, call: str) -> None:
    """Raise a `NoDataFrameError` if an argument is not a DataFrame. Its message names the call."""
    if not isinstance(df, pd.DataFrame):
        shown = repr(df) if isinstance(df, str) else kind_of(df)
        raise NoDataFrameError(
            f'{call} takes a DataFrame, not {shown}; ps.load("calc") returns one'
        )
