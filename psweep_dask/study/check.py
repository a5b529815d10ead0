"""Whether the folder of a study and its database fit together, and what a crash has left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from psweep_dask.params.pset import pset_id
from psweep_dask.storage import database, journal
from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout
from psweep_dask.study import recovery
from psweep_dask.study.load import load, load_from
from psweep_dask.study.runs import UUID, StoredRun, all_runs, stored_runs, study_in


@dataclass(frozen=True)
class Finding:
    """Something in a study that its owner may want to know of.

    Parameters
    ----------
    what : str
        For people.
    names : tuple of str
        Of folders, psets, runs or files.
    cure : str
        What could be done.
    mend : callable or None
        Does it; None if that is not for us.
    loses : bool
        Whether that removes what nothing else has.
    """

    what: str
    names: tuple[str, ...]
    cure: str
    mend: Callable[[], None] | None = None
    loses: bool = False


def check_calc_dir(
    calc_dir: str | os.PathLike[str] = "calc", df: pd.DataFrame | None = None
) -> dict[str, set[str]]:
    """Compare the folders of psets in a study with the rows of its database.

    Parameters
    ----------
    calc_dir : str or PathLike
    df : DataFrame, optional
        By default all rows of the study, those of runs at work included.

    Returns
    -------
    dict
        Under "db_not_disk" the ``_pset_id`` of rows without a folder, which is as it should be
        where func writes no files, and under "disk_not_db" the folders without a row.

    Raises
    ------
    PsweepError
        If there is no study.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync")
    >>> os.mkdir(f"calc/{df._pset_id.iloc[0]}")
    >>> check = check_calc_dir("calc")
    >>> check["db_not_disk"] == {df._pset_id.iloc[1]}, check["disk_not_db"]
    (True, set())
    """
    layout = Layout(calc_dir)
    if df is None:
        df = load(calc_dir)
    known, folders = _ids(df), _pset_folders(layout)
    return {"db_not_disk": known - folders, "disk_not_db": folders - known}


def findings(calc_dir: str | os.PathLike[str]) -> list[Finding]:
    """Look at all of a study; nothing is changed.

    Raises
    ------
    PsweepError
        If there is no study, or its database is damaged.
    """
    layout = study_in(calc_dir)
    folders = _pset_folders(layout)  # first: a run that makes one later is none of the runs below
    runs = all_runs(layout)
    alive = {one.run_id for one in runs if one.is_alive()}
    dead = [one for one in runs if one.run_id not in alive]
    df = load_from(layout)
    return [
        *_journals(layout, [one for one in stored_runs(layout) if one.run_id not in alive]),
        *_folders(layout, folders, _ids(df), runs),
        *_doubled(df),
        *_leftovers(layout, _ids(df), dead),
        *_kept(layout),
    ]


def _ids(df: pd.DataFrame) -> set[str]:
    return set(df["_pset_id"].dropna()) if "_pset_id" in df.columns else set()


def _pset_folders(layout: Layout) -> set[str]:
    with os.scandir(layout.root) as entries:
        return {one.name for one in entries if UUID.fullmatch(one.name) and one.is_dir()}


def _journals(layout: Layout, dead: list[StoredRun]) -> Iterator[Finding]:
    found = [one for one in dead if one.journal_path.exists()]
    rows = sum(_rows_in(one.journal_path) for one in found)
    if rows:
        yield Finding(
            f"{rows} rows of runs that have died are not in {layout.relative_database()} yet",
            tuple(one.run_id for one in found),
            "merge them, as the next run would",
            lambda: _recover(layout),
        )


def _rows_in(path: Path) -> int:
    return sum(len(columns[0]) for _, columns in journal.replay(path))


def _recover(layout: Layout) -> None:
    with layout.lock():
        recovery.recover(layout, database.read_or_empty(layout.database_path))


def _folders(
    layout: Layout, folders: set[str], known: set[str], runs: list[StoredRun]
) -> Iterator[Finding]:
    without_row = folders - known
    ours = stored_runs(layout)
    for one in runs:  # psets that are at work, or left, may have a folder; others have their rows
        if without_row and (one.ended_early or one not in ours):
            first, last = one.info["first_pset_seq"], one.last_seqs[1]
            without_row -= {pset_id(one.run_id, seq) for seq in range(first, last + 1)}
    if without_row and layout.database_path.exists():  # else it may be the rows that are gone
        paths = [layout.pset_folder(name).path for name in sorted(without_row)]
        yield Finding(
            f"{len(paths)} folders of psets have no row: it was deleted",
            tuple(path.name for path in paths),
            "remove these folders with all that is in them",
            lambda: _remove(paths),
            loses=True,
        )
    without_folder = known - folders
    if folders & known and without_folder:  # else func writes no files, and all is well
        yield Finding(
            f"{len(without_folder)} rows have no folder, while others do",
            tuple(sorted(without_folder)),
            "nothing, if func does not always write files; else run these psets again",
        )


def _doubled(df: pd.DataFrame) -> Iterator[Finding]:
    if "_pset_id" in df.columns:
        ids = df["_pset_id"].dropna()
        if len(doubled := ids[ids.duplicated()]):
            yield Finding(
                f"{len(doubled)} rows have the _pset_id of another row",
                tuple(doubled),
                "delete what is superfluous from the database",
            )


def _leftovers(layout: Layout, known: set[str], dead: list[StoredRun]) -> Iterator[Finding]:
    torn = recovery.leftovers_of_writing(layout)
    files = [path for one in dead if (path := layout.stop_path(one.run_id)).exists()]
    for one in dead:
        files += layout.run_dir(one.run_id).glob(f"{PRIVATE_PREFIX}*")
        folder = layout.tmpsave_path(one.run_id, "").parent
        if folder.is_dir() and all(path.stem in known for path in folder.glob("*.pk")):
            files.append(folder)
    if torn or files:
        yield Finding(
            f"{len(torn) + len(files)} files or folders are of no use any more",
            _named(layout, [*torn, *files]),
            "remove them",
            lambda: _clear(layout, files),
        )
    with_jobs = [one for one in dead if one.jobs_path.exists()]
    if with_jobs:
        yield Finding(
            f"{len(with_jobs)} dead runs may have left batch jobs",
            tuple(one.run_id for one in with_jobs),
            "cancel them",
            lambda: _recover(layout),
        )


def _kept(layout: Layout) -> Iterator[Finding]:
    name = layout.database_basename
    found = [
        path
        for why in ("damaged", "replaced")
        for path in layout.database_dir.glob(f"{name}.{why}-*")
    ]
    found += layout.runs_dir.glob("*/journal.damaged*")
    if found:
        yield Finding(
            f"{len(found)} files were moved aside, since they were damaged or replaced",
            _named(layout, found),
            "look whether something in them is missing, then remove them by hand",
        )


def _named(layout: Layout, paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted(os.path.relpath(path, layout.root) for path in paths))


def _clear(layout: Layout, files: Iterable[Path]) -> None:
    with layout.lock():  # nobody is writing the database, so what is torn stays so
        recovery.remove_leftovers(layout)
    _remove(files)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
