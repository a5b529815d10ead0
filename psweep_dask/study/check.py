"""What ``check`` finds in a study: rows and folders that do not fit, files that crashes left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from psweep_dask._format import format_count
from psweep_dask.params.pset import pset_id
from psweep_dask.storage import journal
from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout
from psweep_dask.study import recovery
from psweep_dask.study.load import load_from
from psweep_dask.study.runs import (
    UUID,
    StoredRun,
    all_runs,
    find_study,
    runs_of_database,
    stored_runs,
)


@dataclass(frozen=True)
class Finding:
    """Something in a study that its owner should know."""

    what: str
    names: tuple[str, ...]  # of the folders, psets, runs or files it is about
    advice: str
    fix: Callable[[], None] | None = None  # does what the advice says; None: only the owner can
    loses_data: bool = False  # the fix removes something of which there is no copy


def check_calc_dir(
    calc_dir: str | os.PathLike[str] = "calc", df: pd.DataFrame | None = None
) -> dict[str, set[str]]:
    """Compare the folders of psets in a study with the rows of its database.

    Parameters
    ----------
    calc_dir : str or PathLike, optional
        Folder of the study.
    df : DataFrame, optional
        By default all rows of the study, also those of runs that are at work.

    Returns
    -------
    dict
        Under "db_not_disk" the ``_pset_id`` of rows without a folder: this is normal if func
        writes no files. Under "disk_not_db" the names of folders without a row.

    Raises
    ------
    NoStudyError, DatabaseError
        If there is no study, or its database is damaged.

    See Also
    --------
    load : The rows of a study.
    delete : Delete rows, with the folders of their psets if asked.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync")
    >>> os.mkdir(f"calc/{df._pset_id.iloc[0]}")
    >>> check = check_calc_dir("calc")
    >>> check["db_not_disk"] == {df._pset_id.iloc[1]}, check["disk_not_db"]
    (True, set())
    """
    if df is None:
        df = load_from(find_study(calc_dir), is_plain=True)
    rows, folders = set(_pset_ids(df)), _pset_folders(Layout(calc_dir))
    return {"db_not_disk": rows - folders, "disk_not_db": folders - rows}


def inspect_study(layout: Layout) -> list[Finding]:
    """Return what its owner should know of a study. Nothing is changed."""
    # The folders are listed first: one that a new run makes later must not be taken for an old one.
    folders = _pset_folders(layout)
    runs = all_runs(layout)
    alive = {run.run_id for run in runs if run.is_alive()}
    dead = [run for run in runs if run.run_id not in alive]
    ids = _pset_ids(load_from(layout, is_plain=True))
    return [
        *_check_journals(layout, [run for run in stored_runs(layout) if run.run_id not in alive]),
        *_check_psets(layout, folders, ids, runs),
        *_check_leftovers(layout, set(ids), dead),
        *_check_aside(layout),
        *_check_records(layout, runs),
    ]


def _pset_ids(df: pd.DataFrame) -> pd.Series:
    return df.get("_pset_id", pd.Series(dtype=object)).dropna()


def _pset_folders(layout: Layout) -> set[str]:
    with os.scandir(layout.root) as entries:
        return {entry.name for entry in entries if UUID.fullmatch(entry.name) and entry.is_dir()}


def _check_journals(layout: Layout, dead: list[StoredRun]) -> Iterator[Finding]:
    unmerged = [run for run in dead if run.folder.journal_path.exists()]
    replays = [journal.replay(run.folder.journal_path, is_plain=True) for run in unmerged]
    rows = sum(len(columns[0]) for replay in replays for _, columns in replay)
    if rows:
        yield Finding(
            f"{rows} rows of runs that have died are not in {layout.relative_database()} yet",
            tuple(run.run_id for run in unmerged),
            "merge them, as the next run would",
            lambda: _recover(layout),
        )


def _recover(layout: Layout) -> None:
    with layout.lock():
        recovery.recover(layout)


def _check_psets(
    layout: Layout, folders: set[str], ids: pd.Series, runs: list[StoredRun]
) -> Iterator[Finding]:
    known = set(ids)
    without_row = folders - known
    ours = stored_runs(layout)
    for run in runs:
        # Psets that run or are left, and those of other databases, may have a folder without a row.
        if without_row and (run.ended_early or run not in ours):
            first, last = run.info["first_pset_seq"], run.last_seqs[1]
            without_row -= {pset_id(run.run_id, seq) for seq in range(first, last + 1)}
    if without_row and layout.database_path.exists():  # else it may be the rows that are lost
        paths = [layout.pset_folder(name).path for name in sorted(without_row)]
        yield Finding(
            f"{len(paths)} folders of psets have no row: it was deleted",
            tuple(path.name for path in paths),
            "remove these folders with all that is in them",
            lambda: _remove(paths),
            loses_data=True,
        )
    without_folder = known - folders
    if folders & known and without_folder:  # else func writes no files
        yield Finding(
            f"{len(without_folder)} rows have no folder, while others do",
            tuple(sorted(without_folder)),
            "nothing, if func does not always write files; else run these psets again",
        )
    if len(repeated := ids[ids.duplicated()]):
        yield Finding(
            f"{len(repeated)} rows have the _pset_id of another row",
            tuple(repeated),
            "delete the rows that should not be there from the database",
        )


def _check_leftovers(layout: Layout, known: set[str], dead: list[StoredRun]) -> Iterator[Finding]:
    partial = recovery.find_partial_databases(layout)
    useless = [run.folder.stop_path for run in dead if run.folder.stop_path.exists()]
    for run in dead:
        useless += run.folder.path.glob(f"{PRIVATE_PREFIX}*")
        folder = layout.tmpsave_path(run.run_id, "").parent
        if folder.is_dir() and all(path.stem in known for path in folder.glob("*.pk")):
            useless.append(folder)
    if partial or useless:
        yield Finding(
            f"{len(partial) + len(useless)} files or folders are of no use any more",
            _names(layout, [*partial, *useless]),
            "remove them",
            lambda: _remove_leftovers(layout, useless),
        )
    with_jobs = [run for run in dead if run.folder.jobs_path.exists()]
    if with_jobs:
        yield Finding(
            f"{len(with_jobs)} dead runs may have left batch jobs",
            tuple(run.run_id for run in with_jobs),
            "cancel them",
            lambda: _recover(layout),
        )


def _check_aside(layout: Layout) -> Iterator[Finding]:
    paths = [
        *layout.database_dir.glob(f"{layout.database_basename}.damaged-*"),
        *layout.database_dir.glob(f"{layout.database_basename}.replaced-*"),
        *layout.runs_dir.glob("*/journal.damaged*"),
    ]
    if paths:
        yield Finding(
            f"{len(paths)} files were moved aside, since they were damaged or replaced",
            _names(layout, paths),
            "look whether something in them is missing, then remove them by hand",
        )


def _check_records(layout: Layout, runs: list[StoredRun]) -> Iterator[Finding]:
    if lost := [run.run_id for run in runs if run.info.get("lost_records")]:
        yield Finding(
            f"{format_count(len(lost), 'run')} without run.json and plan.pk: only rows are known",
            tuple(lost),
            "put these files back if there is a copy; without them, psets that are missing cannot "
            "be resumed",
        )
    if message := recovery.missing_message(layout, runs_of_database(layout, runs)):
        yield Finding(f"there is no {layout.relative_database()}", (), message)


def _names(layout: Layout, paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted(os.path.relpath(path, layout.root) for path in paths))


def _remove_leftovers(layout: Layout, paths: Iterable[Path]) -> None:
    with layout.lock():  # so that no driver is writing the database now
        recovery.remove_partial_databases(layout)
    _remove(paths)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
