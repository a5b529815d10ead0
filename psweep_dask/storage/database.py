"""Journals and ``database.pk`` become one DataFrame and go back to disk."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd

from psweep_dask.errors import PsweepError
from psweep_dask.storage import columns, frame, pickling
from psweep_dask.storage.atomic import replace_file

log = logging.getLogger("psweep_dask")


class DatabaseError(PsweepError):
    """A database that cannot be read or written as asked."""


class PassedFrame(NamedTuple):
    """A DataFrame of the user, and the ids of the runs that were on disk when it was passed."""

    df: pd.DataFrame
    runs: frozenset[str]


def df_read(path: str | os.PathLike[str], fmt: str = "pickle", **kwds: Any) -> pd.DataFrame:
    """Read a DataFrame that `df_write` has written. A pickle can run code: read only your own.

    Parameters
    ----------
    path : str or PathLike
    fmt : {'pickle', 'json'}, optional
    **kwds
        Passed to ``pickle.load`` or `pandas.read_json`.

    Returns
    -------
    DataFrame

    Raises
    ------
    DatabaseError
        If `fmt` is unknown.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     df_write(pd.DataFrame({"a": [1]}), f"{folder}/database.pk")
    ...     df_read(f"{folder}/database.pk")
       a
    0  1
    """
    if fmt == "pickle":
        with Path(path).open("rb") as stream:
            df: pd.DataFrame = pickling.load_rows(stream, **kwds)
            return df
    if fmt == "json":
        table: pd.DataFrame = pd.read_json(
            path, **{"orient": "records", "precise_float": True, **kwds}
        )
        return table
    raise DatabaseError(f"fmt must be 'pickle' or 'json', not {fmt!r}")


def df_write(
    df: pd.DataFrame, path: str | os.PathLike[str], fmt: str = "pickle", **kwds: Any
) -> None:
    """Write a DataFrame, replacing the file in one step and making its folder where needed.

    Parameters
    ----------
    df : DataFrame
    path : str or PathLike
    fmt : {'pickle', 'json'}, optional
    **kwds
        Passed to ``pickle.dump``, or to `df_to_json`.

    Raises
    ------
    DatabaseError
        If `fmt` is unknown or the arguments are the wrong way round.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     df_write(pd.DataFrame({"a": [1]}), f"{folder}/eval.json", fmt="json")
    ...     Path(folder, "eval.json").read_text()
    '[{"a":1}]'
    """
    if not isinstance(df, pd.DataFrame):
        raise DatabaseError(
            f"df_write(df, path) takes the DataFrame first, not {type(df).__name__}"
        )
    if fmt not in ("pickle", "json"):
        raise DatabaseError(f"fmt must be 'pickle' or 'json', not {fmt!r}")

    def write(stream: BinaryIO) -> None:
        if fmt == "pickle":
            # Classes of the user's script go along by value: any process can read them.
            pickling.dump(df, stream, **kwds)
        else:
            stream.write((frame.df_to_json(df, **kwds) or "").encode())

    replace_file(Path(path), write)


def read_or_empty(path: Path) -> pd.DataFrame:
    """Read the database of a study, empty where there is none yet.

    Raises
    ------
    DatabaseError
        If it is damaged: the file has been moved aside then, so that nothing overwrites it. Or
        if a module that it needs is missing: then it stays where it is.
    """
    try:
        df = df_read(path)
    except FileNotFoundError:
        return pd.DataFrame()
    except (ImportError, AttributeError) as err:
        raise DatabaseError(
            f"{str(path)!r} holds objects whose class cannot be imported here ({err}); make the "
            "modules importable that define them, or use the environment that wrote it"
        ) from err
    except (MemoryError, OSError):
        raise
    except Exception as err:  # damaged pickles raise almost anything
        raise _moved_aside(path, repr(err)) from err
    if not isinstance(df, pd.DataFrame):
        raise _moved_aside(path, f"it holds {type(df).__name__}, no DataFrame")
    return df


def merge(path: Path, rows: pd.DataFrame, base: PassedFrame | None = None) -> pd.DataFrame:
    """Merge rows into the database file. The caller holds the lock.

    Parameters
    ----------
    path : Path
        The database.
    rows : DataFrame
        Of the run; those that are in the database already are left out.
    base : PassedFrame, optional
        A DataFrame that takes the place of what the file held when the run began.

    Returns
    -------
    DataFrame
        The database as it is on disk now.
    """
    df = read_or_empty(path)
    if base is not None:
        df = _rebased(path, df, base)
    return replace(path, frame.append(df, rows))


def replace(path: Path, df: pd.DataFrame) -> pd.DataFrame:
    """Put a DataFrame in the place of the database file, and give it as it is on disk.

    The caller holds the lock.
    """
    df = columns.portable(df)
    try:
        df_write(df, path)
    except (OSError, MemoryError):
        raise
    except Exception:  # whatever a value of the user raises when it is pickled
        df = _storable(df, path)
        df_write(df, path)
    return df


def _storable(df: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Put a text in the place of each value that cannot be pickled: it must not cost the others."""
    df = df.copy(deep=False)
    for name in [one for one in df.columns if df[one].dtype == object]:
        cells = df[name].tolist()
        bad = [at for at, value in enumerate(cells) if not _can_be_stored(value)]
        if not bad:
            continue
        for at in bad:
            cells[at] = f"<{type(cells[at]).__name__} that cannot be pickled again>"
        df[name] = pd.Series(cells, index=df.index, dtype=object)
        log.warning(
            "%s: %d values of column %r cannot be pickled, texts stand in their place",
            path,
            len(bad),
            name,
        )
    return df


def _can_be_stored(value: Any) -> bool:
    try:
        pickling.dumps(pd.DataFrame({"": pd.Series([value], dtype=object)}))
    except Exception:  # as above
        return False
    return True


def check(df: pd.DataFrame, name: str) -> None:
    """Make sure that rows can be appended to a database that its owner may have edited.

    Raises
    ------
    DatabaseError
        If two columns have the same name, or the counters are no numbers any more.

    Examples
    --------
    >>> check(pd.DataFrame({"_run_seq": ["first"]}), "calc/database.pk")
    Traceback (most recent call last):
        ...
    psweep_dask.storage.database.DatabaseError: calc/database.pk: _run_seq holds 'first'; ...
    """
    if df.columns.nlevels > 1 or not df.columns.is_unique:
        doubled = list(df.columns[df.columns.duplicated()]) or list(df.columns)
        raise DatabaseError(f"{name}: columns need names of their own, rename {doubled}")
    if "_pset_hash" in df.columns and "_pset_sha1" not in df.columns:
        raise DatabaseError(
            f"{name} was written by the package psweep: "
            "ps.import_psweep('its folder', 'new folder') makes a study of it that can go on"
        )
    for column in ("_run_seq", "_pset_seq"):
        if column in df.columns:
            numbers = pd.to_numeric(df[column].astype(object), errors="coerce")
            bad = df[column][~np.isfinite(numbers.astype(float)) & df[column].notna()]
            if len(bad):
                raise DatabaseError(
                    f"{name}: {column} holds {bad.iloc[0]!r}; it counts runs and psets and "
                    "must hold whole numbers, or drop the column"
                )


def aside_path(path: Path, why: str) -> Path:
    """Make up a free name beside a file, such as ``database.pk.damaged-20260101T120000``."""
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S")
    candidates = (f"{path.name}.{why}-{stamp}{suffix}" for suffix in _suffixes())
    return next(one for one in map(path.with_name, candidates) if not one.exists())


def _suffixes() -> Iterator[str]:
    yield ""
    yield from (f"-{number}" for number in itertools.count(1))


def _rebased(path: Path, on_disk: pd.DataFrame, base: PassedFrame) -> pd.DataFrame:
    """Put the user's DataFrame in the place of the rows that it was made from.

    Rows that came to disk since are kept, and where others vanish, so is the old file.
    """
    if "_run_id" not in on_disk.columns:
        return base.df
    old = on_disk["_run_id"].isin(base.runs)
    kept = base.df.get("_pset_id", pd.Series(dtype=object))
    if "_pset_id" in on_disk.columns and not on_disk["_pset_id"][old].isin(kept).all():
        shutil.copy2(path, aside_path(path, "replaced"))
    return frame.append(base.df, on_disk[~old])


def _moved_aside(path: Path, reason: str) -> DatabaseError:
    aside = aside_path(path, "damaged")
    path.rename(aside)
    return DatabaseError(
        f"{str(path)!r} is damaged ({reason}) and has been moved to {str(aside)!r}; put a good "
        "copy in its place, or run again to start a new database"
    )
