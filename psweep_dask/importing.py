"""Databases of the package psweep, from 0.5 to 0.16."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask import columns, database, recovery
from psweep_dask.errors import PsweepError
from psweep_dask.layout import Layout
from psweep_dask.merging import add_rows, copy_folders
from psweep_dask.pset import SEED_FIELDS, PsetError, pset_sha1

_NEEDED = ("_run_id", "_pset_id", "_time_utc", "_pset_seq", "_run_seq")
_HASH = "_pset_hash"
"""The hash of newer versions, made in another way than ours."""


class PsweepImportError(PsweepError):
    """What is to be imported is no database of psweep; nothing was changed."""


def import_psweep(
    old_calc_dir: str | os.PathLike[str],
    calc_dir: str | os.PathLike[str] = "calc",
    *,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Bring a study of psweep into one of ours, with the folders of its psets.

    Parameters
    ----------
    old_calc_dir : str or PathLike
        Stays as it is.
    calc_dir : str or PathLike, optional
        The study that gets the rows; it may be new.
    database_basename : str, optional
        Of the old database.

    Returns
    -------
    DataFrame
        The whole database of `calc_dir`. Columns of objects, as psweep 0.15 and later write them,
        have types again. ``_status`` is "ok", as psweep keeps no rows of psets that failed.

    Raises
    ------
    PsweepError
        If there is no database, or it is none of psweep.

    Examples
    --------
    >>> import_psweep("nowhere")
    Traceback (most recent call last):
        ...
    psweep_dask.importing.PsweepImportError: there is no database 'nowhere/database.pk'
    """
    path = Path(old_calc_dir, database_basename)
    if not path.is_file():
        raise PsweepImportError(f"there is no database {os.fspath(path)!r}")
    rows = _converted(_read(path), os.fspath(calc_dir), path)
    target = Layout(calc_dir)
    target.make_writable()
    with target.lock():
        df, reserved = recovery.recover(target, database.read_or_empty(target.database_path))
        copy_folders(rows["_pset_id"].tolist(), path.parent, target.root)
        df, _ = add_rows(df, rows, reserved)
        return database.replace(target.database_path, df)


def _read(path: Path) -> pd.DataFrame:
    try:
        df = database.df_read(path)
    except Exception as err:  # what is no pickle, or a damaged one, raises almost anything
        raise PsweepImportError(f"{os.fspath(path)!r} cannot be read: {err!r}") from err
    if not isinstance(df, pd.DataFrame) or not set(_NEEDED) <= set(df.columns):
        raise PsweepImportError(
            f"{os.fspath(path)!r} is no database of psweep 0.5 or later: it needs the columns "
            f"{', '.join(_NEEDED)}"
        )
    return df


def _converted(old: pd.DataFrame, calc_dir: str, path: Path) -> pd.DataFrame:
    ours = [at for at, name in enumerate(old.columns) if name in (*_NEEDED, _HASH, "_calc_dir")]
    params = list(old.columns[: min(ours)])
    cells = {str(name): _cells(old[name]) for name in old.columns if name != _HASH}
    cells["_calc_dir"] = [calc_dir] * len(old)
    if "_pset_sha1" not in cells:
        named = [str(name) for name in params]
        rows = zip(*(cells[name] for name in named), strict=True)
        cells["_pset_sha1"] = (
            [_hash(dict(zip(named, row, strict=True))) for row in rows]
            if params
            else [pset_sha1({})] * len(old)
        )
    cells["_time_utc"] = [pd.Timestamp(one).value for one in cells["_time_utc"]]
    for name, value in (("_status", "ok"), ("_exc_txt", None), ("_attempt", 1)):
        cells.setdefault(name, [value] * len(old))
    order = columns.ColumnOrder()
    order.add((*map(str, params), *(name for name in SEED_FIELDS if name in cells), *cells))
    df = pd.DataFrame({name: columns.column(name, cells[name], len(old)) for name in order.names()})
    df.index = pd.DatetimeIndex(df["_time_utc"].array)
    if df["_pset_id"].duplicated().any():
        raise PsweepImportError(f"{os.fspath(path)!r} has rows with the same _pset_id")
    return df


def _cells(column: pd.Series) -> list[Any]:
    """Give the values of a column; of gaps, None where an object stands there."""
    gaps = column.isna().tolist()
    return [
        value if value is None or not gap else columns.MISSING
        for value, gap in zip(column.tolist(), gaps, strict=True)
    ]


def _hash(pset: dict[str, Any]) -> str | None:
    try:
        return pset_sha1(
            {name: value for name, value in pset.items() if value is not columns.MISSING}
        )
    except PsetError:  # psweep can hash more than has the same hash everywhere
        return None
