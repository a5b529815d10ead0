"""``rebuild``: make the database again from what the runs of a study have kept."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from psweep_dask._convert import is_nan
from psweep_dask._format import format_count, short_repr
from psweep_dask._logging import show_log_lines
from psweep_dask._query import DatabaseError
from psweep_dask.errors import PsweepError
from psweep_dask.storage import database, frame, journal, pickling
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import Block
from psweep_dask.storage.status import WAITING
from psweep_dask.study import recovery
from psweep_dask.study.runs import StoredRun, all_runs, find_study, runs_of_database

log = logging.getLogger("psweep_dask")


class RebuildError(PsweepError):
    """A database that cannot be made again. Nothing was changed."""


def rebuild(
    calc_dir: str | os.PathLike[str] = "calc",
    *,
    deleted: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> pd.DataFrame:
    """Make the database of a study again, from the rows that its runs have kept.

    This helps when the database is lost or damaged, when this version of pandas cannot read it, or
    after an edit that went wrong. The old file is kept beside the new one. Log lines say what is
    not the same as before.

    Parameters
    ----------
    calc_dir : str or PathLike, optional
        Folder of the study.
    deleted : bool, optional
        Bring back also the rows that `delete` has deleted.
    database_dir : str or PathLike, optional
        Folder of the database; by default `calc_dir`.
    database_basename : str, optional
        File name of the database. If it does not exist, and all runs of the study write to one
        other database, that one is made.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    RebuildError
        If no run has kept rows.
    NoStudyError
        If there is no study, or its runs write to other databases only.

    See Also
    --------
    load : Read the rows.
    delete : Delete rows, so that they stay deleted here.

    Notes
    -----
    Values are those that func has returned. If the old database can be read, it is compared:
    columns and rows that only it has are taken over. Values that were edited, rows that were
    deleted by other means than `delete`, and deleted columns are as the runs have made them.

    Rows of batch jobs (`prep_batch`) come back as they were prepared, and `collect` brings their
    results again. Rows that were imported by `import_psweep`, and those of runs that have kept
    nothing, are only taken over from the old database.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"y": pset["a"] ** 2}, ps.plist("a", [1, 2]), cluster="sync")
    >>> os.remove("calc/database.pk")
    >>> rebuild("calc")[["a", "y"]].to_dict("list")
    {'a': [1, 2], 'y': [1, 4]}
    """
    layout = find_study(calc_dir, database_dir, database_basename)
    show_log_lines()
    with layout.lock():
        runs = all_runs(layout)
        ours = runs_of_database(layout, runs)
        rows = rows_of_runs(ours, deleted)
        if rows.empty and not any(run.folder.journal_path.exists() for run in ours):
            raise RebuildError(
                f"none of the {format_count(len(ours), 'run')} in {layout.calc_dir!r} has kept "
                "rows: they were made by an older version, or with psweep.keep-journal: false"
            )
        old = _old_database(layout)
        df = rows if old is None else with_old(rows, old)
        if layout.database_path.exists():
            copy = database.aside_path(layout.database_path, "replaced")
            shutil.copy2(layout.database_path, copy)
            log.warning("the old database is kept as %s", copy)
        df = database.replace(layout.database_path, df)
        df, _ = recovery.recover(layout, df, runs)
        _tell_what_is_missing(ours, df)
        log.warning("made %s again, with %s", layout.database_path, format_count(len(df), "row"))
        return df


def rows_of_runs(runs: Iterable[StoredRun], deleted: bool = False) -> pd.DataFrame:
    """Return the rows that runs have kept; with `deleted`, also those that `delete` has deleted."""
    rows = frame.from_blocks(block for run in runs for block in _blocks(run, deleted))
    if "_pset_id" in rows.columns and (repeated := rows["_pset_id"].duplicated(keep="last")).any():
        rows = rows[~repeated]  # a deleted pset has run again
    return rows


def note_deleted(layout: Layout, rows: pd.DataFrame) -> None:
    """Note in the folders of their runs that rows are deleted, so that they stay so."""
    if not {"_run_id", "_pset_id"} <= set(rows.columns):
        return
    for run_id, ids in rows.groupby("_run_id")["_pset_id"]:
        folder = layout.run_folder(str(run_id))
        if kept := len(folder.kept_paths()):
            path = folder.deleted_path(kept)
            known = _deleted_ids(path)
            _write_ids(path, sorted(known.union(ids.dropna().astype(str))))


def _blocks(run: StoredRun, deleted: bool) -> Iterator[Block]:
    """Yield the rows that a run has kept, with the numbers that the run has here."""
    paths = run.folder.kept_paths()
    gone = [
        set[str]() if deleted else _deleted_ids(run.folder.deleted_path(kept))
        for kept in range(1, len(paths) + 1)
    ]
    for place, path in enumerate(paths):
        replay = journal.replay(path)
        ids = set[str]().union(*gone[place:])
        for names, columns in replay:
            table = dict(zip(names, columns, strict=True))
            if shift := run.info.get("seqs_moved_by", 0):
                table["_pset_seq"] = [seq + shift for seq in table["_pset_seq"]]
            if "merged_from" in run.info:
                table["_run_seq"] = [run.info["run_seq"]] * len(columns[0])
                table["_calc_dir"] = [run.layout.calc_dir] * len(columns[0])
            if ids:
                kept = [n for n, id_ in enumerate(table["_pset_id"]) if id_ not in ids]
                table = {name: [cells[n] for n in kept] for name, cells in table.items()}
            if table["_pset_id"]:
                yield names, list(table.values())
        if replay.unread_bytes:
            log.warning("%s is damaged: only a part of its rows can be read", path)


def _deleted_ids(path: Path) -> set[str]:
    return set(json.loads(path.read_bytes())) if path.exists() else set()


def _write_ids(path: Path, ids: list[str]) -> None:
    replace_file(path, lambda stream: stream.write(json.dumps(ids).encode()))


def _old_database(layout: Layout) -> pd.DataFrame | None:
    try:
        old = database.read_or_empty(layout.database_path)
        database.check(old, str(layout.database_path))
    except DatabaseError as err:
        log.warning("the old database cannot be compared: %s", err)
        return None
    return old if "_pset_id" in old.columns and len(old) else None


def with_old(rows: pd.DataFrame, old: pd.DataFrame) -> pd.DataFrame:
    """Return rows of runs with what only an old database has: rows, columns and collected results.

    Log lines say what else is not the same.
    """
    old = old[~old["_pset_id"].duplicated()]
    is_here = rows["_pset_id"].isin(old["_pset_id"])
    _tell("the old database had not: they are back", rows["_pset_id"][~is_here])
    _tell(
        "only the old database has: they are taken over",
        old["_pset_id"][~old["_pset_id"].isin(rows["_pset_id"])],
    )
    by_id = old.set_index("_pset_id")
    more = [name for name in by_id.columns if name not in rows.columns]
    if more:
        cells = by_id[more].reindex(rows["_pset_id"]).set_axis(rows.index)
        rows = pd.concat([rows, cells], axis=1)
        log.warning("columns that only the old database has are taken over: %s", ", ".join(more))
    if lost := [name for name in rows.columns if name not in old.columns]:
        log.warning("columns that the old database had not are back: %s", ", ".join(lost))
    _tell_edits(rows[is_here.to_numpy()], by_id)
    return frame.append(rows, old)


def _tell_edits(rows: pd.DataFrame, by_id: pd.DataFrame) -> None:
    """Say which values an old database has instead of those of the runs."""
    if "_status" in rows.columns:
        rows = rows[~rows["_status"].isin(WAITING)]
    others = by_id.reindex(rows["_pset_id"])
    for name in rows.columns:
        if name in others.columns and (places := _different(rows[name], others[name])):
            ids, new, old = rows["_pset_id"].array, rows[name].array, others[name].array
            shown = "; ".join(
                f"pset {ids[place][:8]}: {_text(old[place])} was there, {_text(new[place])} is"
                for place in places[:3]
            )
            log.warning("column %r: %d values had been edited (%s)", name, len(places), shown)


def _text(value: Any) -> str:
    return short_repr(value.item() if isinstance(value, np.generic) else value)


def _different(one: pd.Series, other: pd.Series) -> list[int]:
    if one.dtype == other.dtype and one.dtype != object:
        same = (one.array == other.array) | (one.isna().to_numpy() & other.isna().to_numpy())
        return [place for place, equal in enumerate(pd.array(same).fillna(False)) if not equal]
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return [place for place, (value, old) in enumerate(pairs) if not _same(value, old)]


def _same(one: Any, other: Any) -> bool:
    with suppress(Exception):  # arrays, and whatever a class of the user raises
        if bool(one is other or one == other or (is_nan(one) and is_nan(other))):
            return True
    with suppress(Exception):
        return pickling.dumps(one) == pickling.dumps(other)
    return False


def _tell(what: str, ids: pd.Series) -> None:
    if len(ids):
        shown = ", ".join(ids.astype(str).str[:8].head(5)) + (", ..." if len(ids) > 5 else "")
        log.warning("%s that %s (%s)", format_count(len(ids), "row"), what, shown)


def _tell_what_is_missing(runs: Sequence[StoredRun], df: pd.DataFrame) -> None:
    """Say which runs have kept nothing, and which rows wait for their results."""
    here = set(df["_run_id"].unique())
    without = [
        str(run.info["run_seq"])
        for run in runs
        if run.run_id not in here and any((run.info.get("counts") or {}).values())
    ]
    if without:
        log.warning("no row of run %s was kept: these are missing", ", ".join(without))
    if "_status" in df.columns and (waiting := int(df["_status"].isin(WAITING).sum())):
        log.warning(
            "%s are as they were prepared; ps.collect brings their results again",
            format_count(waiting, "row"),
        )
