"""Import studies of the package psweep, versions 0.5 to 0.16."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask._logging import show_log_lines
from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import SEED_FIELDS, PsetError, enters_hash, pset_sha1
from psweep_dask.storage import columns, database
from psweep_dask.storage.df_functions import df_read
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.psets_of_rows import PsetRestorer, params_by_hash
from psweep_dask.study import recovery
from psweep_dask.study.merge import add_rows, copy_folders

log = logging.getLogger("psweep_dask")

_REQUIRED = ("_run_id", "_pset_id", "_time_utc", "_pset_seq", "_run_seq")
_PSWEEP_HASH = "_pset_hash"  # of newer versions of psweep, made in another way than ours


class PsweepImportError(PsweepError):
    """A file that cannot be imported as a database of psweep. Nothing was changed."""


def import_psweep(
    old_calc_dir: str | os.PathLike[str],
    calc_dir: str | os.PathLike[str] = "calc",
    *,
    params: Sequence[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Copy the rows of a study of psweep, and the folders of its psets, into a study of ours.

    Parameters
    ----------
    old_calc_dir : str or PathLike
        Folder of the study of psweep. Nothing in it is changed.
    calc_dir : str or PathLike, optional
        Folder of the study that gets the rows. It is made if it does not exist.
    params : list of str, optional
        The columns that are parameters; all others are results. By default these are the columns
        before the book-keeping. Behind it stand parameters that came with a later run: up to
        psweep 0.8 they are found by the hashes of the rows. If names of results end with an
        underscore, as psweep 0.13 and later ask for, all columns without one are parameters. A log
        message names the parameters.
    database_basename : str, optional
        File name of the old database.

    Returns
    -------
    DataFrame
        The whole database of `calc_dir`. Rows without a ``_pset_seq``, as psweep 0.5 leaves them
        with `poolsize`, get numbers in the order in which they stand. Columns that psweep 0.15 and
        later write as objects have types such as int again, and their NA is no value.
        ``_status`` is "ok", since psweep keeps no rows of failed psets.

    Raises
    ------
    PsweepImportError
        If there is no database, or it is not one of psweep, or `params` names a column that it
        does not have, or both folders are the same.

    See Also
    --------
    merge_studies : Merge studies of this package.

    Examples
    --------
    >>> import_psweep("nowhere")
    Traceback (most recent call last):
        ...
    psweep_dask.study.import_psweep.PsweepImportError: there is no database 'nowhere/database.pk'
    """
    path = Path(old_calc_dir, database_basename)
    if not path.is_file():
        raise PsweepImportError(f"there is no database {os.fspath(path)!r}")
    target = Layout(calc_dir)
    if path.parent.resolve() == target.root.resolve():
        raise PsweepImportError(
            f"{os.fspath(old_calc_dir)!r} stays as it is, so that nothing can be lost; name "
            "another folder for the new study: ps.import_psweep('calc', 'new_calc')"
        )
    old = _read(path)
    names = _params(old, params, path)
    show_log_lines()
    log.info("parameters: %s; all else are results or book-keeping", ", ".join(names) or "none")
    rows = _convert(old, names, os.fspath(calc_dir), path)
    target.make_writable()
    with target.lock(), target.numbers_lock():
        df, reserved = recovery.recover(target)
        reserved += recovery.numbers_elsewhere(target)
        copy_folders(rows["_pset_id"].tolist(), path.parent, target.root)
        df, _ = add_rows(df, rows, reserved)
        return database.replace(target.database_path, df)


def _read(path: Path) -> pd.DataFrame:
    try:
        df = df_read(path)
    except Exception as err:  # unpickling a damaged file can raise almost anything
        raise PsweepImportError(f"{os.fspath(path)!r} cannot be read: {err!r}") from err
    if not isinstance(df, pd.DataFrame) or not set(_REQUIRED) <= set(df.columns):
        raise PsweepImportError(
            f"{os.fspath(path)!r} is no database of psweep 0.5 or later: it needs the columns "
            f"{', '.join(_REQUIRED)}"
        )
    for name in _REQUIRED:
        empty = [place for place, is_gap in enumerate(df[name].isna()) if is_gap]
        if empty and name != "_pset_seq":  # psweep 0.5 leaves none with poolsize
            raise PsweepImportError(
                f"{os.fspath(path)!r}: row {empty[0]} has no {name}; complete it, or leave such "
                f"rows out: ps.df_write(df[df.{name}.notna()], path)"
            )
    return df


def _params(old: pd.DataFrame, asked: Sequence[str] | None, path: Path) -> list[str]:
    """Return the parameters; those that come with a later run stand behind the results."""
    names = [str(name) for name in old.columns]
    if asked is not None:
        if missing := [name for name in asked if name not in names]:
            raise PsweepImportError(f"{os.fspath(path)!r} has no column {missing[0]!r}, in params=")
        return list(asked)
    ours = {*_REQUIRED, *SEED_FIELDS, _PSWEEP_HASH}
    first = min(at for at, name in enumerate(names) if name in ours)
    before, behind = names[:first], [name for name in names[first:] if not name.startswith("_")]
    if _PSWEEP_HASH in names and any(name.endswith("_") for name in behind):
        before += [name for name in behind if not name.endswith("_")]
    if "_pset_sha1" in names:
        cells = {name: columns.cells_of(old[name]) for name in (*before, *behind, "_pset_sha1")}
        return params_by_hash(cells, before, behind)
    return before


def _convert(old: pd.DataFrame, params: list[str], calc_dir: str, path: Path) -> pd.DataFrame:
    cells = {str(name): columns.cells_of(old[name]) for name in old.columns if name != _PSWEEP_HASH}
    if _PSWEEP_HASH in old.columns:  # such versions write NA where a pset or a result has no value
        for name, values in cells.items():
            cells[name] = [columns.GAP if value is pd.NA else value for value in values]
    cells["_calc_dir"] = [calc_dir] * len(old)
    cells["_pset_sha1"] = _hashes(cells, params, len(old))
    cells["_time_utc"] = [pd.Timestamp(time).value for time in cells["_time_utc"]]
    for name, value in (("_status", "ok"), ("_exc_txt", None), ("_attempt", 1)):
        cells.setdefault(name, [value] * len(old))
    order = columns.ColumnOrder()
    order.add((*params, *(name for name in SEED_FIELDS if name in cells), *cells))
    made = {name: columns.make_column(name, cells[name], len(old)) for name in order.names()}
    df = pd.DataFrame(made)
    df.index = pd.DatetimeIndex(df["_time_utc"].array)
    if df["_pset_id"].duplicated().any():
        raise PsweepImportError(f"{os.fspath(path)!r} has rows with the same _pset_id")
    return df


def _hashes(cells: dict[str, list[Any]], params: list[str], length: int) -> list[str | None]:
    """Return our hash of each row. Those of psweep 0.5 are the same, but for keys with underscores.

    psweep 0.5 has none for values that JSON does not know.
    """
    old = cells.get("_pset_sha1", [None] * length)
    rows = zip(*(cells[name] for name in params), strict=True) if params else [()] * length
    restorer = PsetRestorer(all_keys=True)
    same = all(map(enters_hash, params))
    hashes: list[str | None] = []
    for row, sha1 in zip(rows, old, strict=True):
        if same and isinstance(sha1, str):
            hashes.append(sha1)
        else:
            pset = restorer.restore(params, row, sha1) or dict(zip(params, row, strict=True))
            hashes.append(_hash(pset))
    return hashes


def _hash(pset: dict[str, Any]) -> str | None:
    try:
        return pset_sha1({name: value for name, value in pset.items() if value is not columns.GAP})
    except PsetError:  # psweep hashes values that do not have the same hash on each machine
        return None
