"""The database of a study: one DataFrame in a file, ``database.pk``."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd

from psweep_dask._query import DatabaseError, check_origin
from psweep_dask.storage import frame, pickling, plain
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.columns import without_pyarrow
from psweep_dask.storage.stand_ins import StandIn

log = logging.getLogger("psweep_dask")

_REBUILD = "psweep-dask rebuild"
_VERSIONS_MARK = b"\npsweep_dask database "
_VERSIONS_BYTES = 1000  # the mark and the versions are within so many bytes of the end


class PassedFrame(NamedTuple):
    """A DataFrame that the user has passed as ``df=``."""

    df: pd.DataFrame
    runs: frozenset[str]  # ids of those in the database on disk at that time


class DamagedError(DatabaseError):
    """A database of which only a part was written, or some bytes have changed."""


def read_or_empty(path: Path, is_plain: bool = False) -> pd.DataFrame:
    """Return the database of a study, or an empty DataFrame if there is no file yet.

    Nothing is written, moved or renamed. A value that cannot be restored in this process is a
    `StandIn`. With `is_plain`, no code of the user is run: see `psweep_dask.storage.plain`.

    Raises
    ------
    DamagedError
        If the file is damaged.
    DatabaseError
        If this version of pandas cannot read it, or it is no database of this package.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return pd.DataFrame()
    except IsADirectoryError as err:
        raise DatabaseError(
            f"{str(path)!r} is a folder; move it away, or give the database another name by "
            "database_basename="
        ) from err
    with stream:
        try:
            df, stand_ins = _load_plain(stream) if is_plain else pickling.load_rows_quietly(stream)
        except (MemoryError, OSError):
            raise
        except Exception as err:  # damaged pickles raise almost anything
            raise DamagedError(
                f"{str(path)!r} is damaged ({err!r}); put a good copy in its place, or make it "
                f"again from what the runs have kept: {_REBUILD} {path.parent}"
            ) from err
        if not isinstance(df, pd.DataFrame) or not _is_whole(df):
            raise _unreadable(path, df, stand_ins, _versions_at_end(stream))
    pickling.warn_of(stand_ins, str(path))
    check_origin(df, str(path))
    return df


def read_to_change(path: Path) -> pd.DataFrame:
    """Return what `read_or_empty` does; rename a damaged file, so that nothing overwrites it.

    The caller holds the lock.
    """
    try:
        return read_or_empty(path)
    except DamagedError as err:
        aside = aside_path(path, "damaged")
        path.rename(aside)
        raise DamagedError(f"{err} (it has been moved to {str(aside)!r})") from err


def _is_whole(df: pd.DataFrame) -> bool:
    """Return whether a DataFrame can be used: another version of pandas may have written it."""
    try:
        return bool(df.shape == (len(df.index), len(df.columns)) and df.dtypes.notna().all())
    except Exception:  # whatever its parts raise, where they are stand-ins
        return False


def _load_plain(stream: BinaryIO) -> tuple[Any, list[StandIn]]:
    return plain.load(stream), []  # stand-ins are meant to be there


def _unreadable(
    path: Path, content: Any, stand_ins: Sequence[StandIn], versions: Mapping[str, str]
) -> DatabaseError:
    if type(content) is not StandIn and not isinstance(content, pd.DataFrame):
        return DatabaseError(
            f"{str(path)!r} has a pickled {type(content).__name__}, no DataFrame; move it away, "
            "and put a good copy in its place"
        )
    why = f" ({stand_ins[0].reason})" if stand_ins else f" ({content!r})"
    by = (
        f"pandas {versions['pandas']} has written"
        if versions
        else "another version of pandas wrote, it seems,"
    )
    return DatabaseError(
        f"{by} {str(path)!r}, and pandas {pd.__version__} cannot read it{why}; install that "
        "version, or make the database again from what the runs have kept: "
        f"{_REBUILD} {path.parent}"
    )


def merge(path: Path, rows: pd.DataFrame, base: PassedFrame | None = None) -> pd.DataFrame:
    """Add rows to the database file, if they are not there yet, and return it as it is then.

    `base` replaces the rows that were in the file when the run began. The caller holds the lock.
    """
    df = read_to_change(path)
    if base is not None:
        df = _rebased(path, df, base)
    return replace(path, frame.append(df, rows))


def replace(path: Path, df: pd.DataFrame) -> pd.DataFrame:
    """Replace the database file, and return it as it is on disk. The caller holds the lock."""
    df = without_pyarrow(df)
    try:
        _write(df, path)
    except (OSError, MemoryError):
        raise
    except Exception:  # whatever a value of the user raises when it is pickled
        df = _storable(df, path)
        _write(df, path)
    return df


def _write(df: pd.DataFrame, path: Path) -> None:
    """Write a database, and behind it, where pandas does not read, which versions wrote it."""
    versions = {"pandas": pd.__version__, "numpy": np.__version__}
    end = _VERSIONS_MARK + json.dumps(versions).encode()

    def write(stream: BinaryIO) -> None:
        pickling.dump(df, stream)
        stream.write(end)

    replace_file(path, write)


def _versions_at_end(stream: BinaryIO) -> dict[str, str]:
    """Return the versions that `_write` has written; none if something else wrote the file."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - _VERSIONS_BYTES))
    _, mark, text = stream.read().rpartition(_VERSIONS_MARK)
    with suppress(ValueError):
        return dict(json.loads(text)) if mark else {}
    return {}


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
