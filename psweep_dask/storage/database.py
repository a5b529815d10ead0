"""The database of a study: one DataFrame in a file, ``database.pk``."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from psweep_dask._query import DatabaseError, check_origin
from psweep_dask.storage import frame, pickling
from psweep_dask.storage.columns import without_pyarrow
from psweep_dask.storage.df_functions import df_read, df_write

log = logging.getLogger("psweep_dask")


class PassedFrame(NamedTuple):
    """A DataFrame that the user has passed as ``df=``."""

    df: pd.DataFrame
    runs: frozenset[str]  # ids of those in the database on disk at that time


def read_or_empty(path: Path) -> pd.DataFrame:
    """Return the database of a study, or an empty DataFrame if there is no file yet.

    Raises
    ------
    DatabaseError
        If the file is damaged: then it has been renamed, so that nothing overwrites it. Or if a
        module that it needs cannot be imported, or it is a database of psweep: then the file
        stays where it is.
    """
    try:
        df = df_read(path)
    except FileNotFoundError:
        return pd.DataFrame()
    except (ImportError, AttributeError) as err:
        raise DatabaseError(
            f"{str(path)!r} has objects whose class cannot be imported here ({err}); make the "
            "modules importable that define them, or use the environment that wrote it"
        ) from err
    except (MemoryError, OSError):
        raise
    except Exception as err:  # damaged pickles raise almost anything
        raise _moved_aside(path, repr(err)) from err
    if not isinstance(df, pd.DataFrame):
        raise _moved_aside(path, f"it is a pickled {type(df).__name__}, no DataFrame")
    check_origin(df, str(path))
    return df


def merge(path: Path, rows: pd.DataFrame, base: PassedFrame | None = None) -> pd.DataFrame:
    """Add rows to the database file, if they are not there yet, and return it as it is then.

    `base` replaces the rows that were in the file when the run began. The caller holds the lock.
    """
    df = read_or_empty(path)
    if base is not None:
        df = _rebased(path, df, base)
    return replace(path, frame.append(df, rows))


def replace(path: Path, df: pd.DataFrame) -> pd.DataFrame:
    """Replace the database file, and return it as it is on disk. The caller holds the lock."""
    df = without_pyarrow(df)
    try:
        df_write(df, path)
    except (OSError, MemoryError):
        raise
    except Exception:  # whatever a value of the user raises when it is pickled
        df = _storable(df, path)
        df_write(df, path)
    return df


def _storable(df: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Replace each value that cannot be pickled by a text, so that all others can be stored."""
    df = df.copy(deep=False)
    for name in [name for name in df.columns if df[name].dtype == object]:
        cells = df[name].tolist()
        bad = [place for place, value in enumerate(cells) if not _can_be_stored(value)]
        if not bad:
            continue
        for place in bad:
            cells[place] = f"<{type(cells[place]).__name__} that cannot be pickled again>"
        df[name] = pd.Series(cells, index=df.index, dtype=object)
        log.warning(
            "%s: %d values of column %r cannot be pickled, and are replaced by texts",
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
    """Make sure that rows can be appended to a database, which its owner may have edited.

    Raises
    ------
    DatabaseError
        If two columns have the same name, ``_run_seq`` and ``_pset_seq`` are not numbers, or it is
        a database of psweep.
    """
    if df.columns.nlevels > 1 or not df.columns.is_unique:
        doubled = list(df.columns[df.columns.duplicated()]) or list(df.columns)
        raise DatabaseError(f"{name}: no two columns may have the same name, rename {doubled}")
    check_origin(df, name)
    for column in ("_run_seq", "_pset_seq"):
        if column in df.columns:
            numbers = pd.to_numeric(df[column].astype(object), errors="coerce")
            bad = df[column][~np.isfinite(numbers.astype(float)) & df[column].notna()]
            if len(bad):
                raise DatabaseError(
                    f"{name}: {column} has {bad.tolist()[0]!r}, but must have whole numbers; "
                    "correct that, or drop the column"
                )


def aside_path(path: Path, why: str) -> Path:
    """Return a free path beside a file, such as ``database.pk.damaged-20260101T120000``."""
    name = f"{path.name}.{why}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(1)))
    return next(free for free in map(path.with_name, names) if not free.exists())


def _rebased(path: Path, on_disk: pd.DataFrame, base: PassedFrame) -> pd.DataFrame:
    """Return the user's DataFrame with the rows that have come to disk since it was passed.

    If it lacks other rows of the file, a copy of the file is kept.
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
