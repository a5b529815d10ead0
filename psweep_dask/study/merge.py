"""Studies made on several machines become one."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask._logging import show_log_lines
from psweep_dask.errors import PsweepError
from psweep_dask.storage import database, frame, plan
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout
from psweep_dask.study import recovery
from psweep_dask.study.load import load_from
from psweep_dask.study.runs import all_runs, check_study, stored_runs, write_info

log = logging.getLogger("psweep_dask")


class MergeError(PsweepError):
    """Studies that cannot be merged yet; nothing was changed."""


def merge_studies(
    calc_dir: str | os.PathLike[str], *sources: str | os.PathLike[str]
) -> pd.DataFrame:
    """Bring the rows, the folders and the runs of other studies into one.

    Parameters
    ----------
    calc_dir : str or PathLike
        The study that gets them; it may be new.
    *sources : str or PathLike
        The studies that they come from. These stay as they are.

    Returns
    -------
    DataFrame
        The whole database of `calc_dir`.

    Raises
    ------
    MergeError
        If a run of a source goes on, or was not finished.
    PsweepError
        If a source is no study.

    Notes
    -----
    Rows that are there already, by their ``_pset_id``, are left out, so that merging twice is as
    good as once. Runs whose ``_run_seq`` or ``_pset_seq`` are taken get the next free ones.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> for name in ("one", "other"):
    ...     _ = ps.run(lambda pset: {}, ps.plist("a", [1, 2]), calc_dir=name, cluster="sync")
    >>> df = merge_studies("both", "one", "other")
    >>> df._pset_seq.tolist(), df._run_seq.tolist()
    ([0, 1, 2, 3], [0, 0, 1, 1])
    """
    if not sources:
        raise MergeError("name the studies to merge: ps.merge_studies('all', 'one', 'other')")
    target = Layout(calc_dir)
    show_log_lines()
    layouts = [Layout(one) for one in sources]
    others = list({one.root.resolve(): one for one in layouts}.values())
    for one in others:
        check_study(one)
        if one.root.resolve() == target.root.resolve():
            raise MergeError(f"{one.calc_dir!r} cannot be merged into itself")
        _check_finished(one)
    target.make_writable()
    with target.lock():
        df, reserved = recovery.recover(target, database.read_or_empty(target.database_path))
        for one in others:
            df = _merged(df, load_from(one), reserved, one, target)
        return database.replace(target.database_path, df)


def add_rows(
    df: pd.DataFrame, rows: pd.DataFrame, reserved: list[tuple[int, int]]
) -> tuple[pd.DataFrame, dict[str, tuple[int, int]]]:
    """Append rows of other studies, with numbers that are free.

    Parameters
    ----------
    df, rows : DataFrame
    reserved : list of (int, int)
        The last numbers of runs that are not finished.

    Returns
    -------
    df : DataFrame
    moved : dict
        By the id of each run that is new, its ``_run_seq`` and what was added to its
        ``_pset_seq``.

    Examples
    --------
    >>> old = pd.DataFrame(
    ...     {"_run_id": ["r"], "_pset_id": ["x"], "_pset_seq": [0], "_run_seq": [0]}
    ... )
    >>> df, moved = add_rows(old, old.assign(_run_id="s", _pset_id="y"), [])
    >>> df._pset_seq.tolist(), moved
    ([0, 1], {'s': (1, 1)})
    """
    known = set(df["_run_id"]) if "_run_id" in df.columns else set()
    moved: dict[str, tuple[int, int]] = {}
    rows = rows.copy(deep=False)
    seqs, run_seqs = rows["_pset_seq"].to_numpy().copy(), rows["_run_seq"].to_numpy().copy()
    taken = [*reserved, plan.last_seqs(df)]
    of_run = rows.groupby("_run_id", sort=False).indices
    for run_id in sorted(of_run, key=lambda one: run_seqs[of_run[one]].min()):
        if run_id in known:
            continue  # a study that was copied, and went on in both places
        places = of_run[run_id]
        run_seq, first = plan.next_seqs(taken)
        shift = max(0, first - int(seqs[places].min()))
        run_seq = max(run_seq, int(run_seqs[places].min()))
        seqs[places] += shift
        run_seqs[places] = run_seq
        moved[str(run_id)] = (run_seq, shift)
        taken.append((run_seq, int(seqs[places].max())))
    rows["_pset_seq"], rows["_run_seq"] = seqs, run_seqs
    return frame.append(df, rows), moved


def copy_folders(names: Iterable[str], source: Path, target: Path) -> None:
    """Copy the folders of psets that the target lacks."""
    for name in names:
        if (source / name).is_dir() and not (target / name).exists():
            partial = target / f".{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source / name, partial, symlinks=True)
            partial.rename(target / name)


def _check_finished(layout: Layout) -> None:
    for one in stored_runs(layout):
        if one.ended_early:
            state = "goes on" if one.is_alive() else "is not finished"
            raise MergeError(
                f"run {one.run_id} of {layout.calc_dir!r} {state}; merge when it is, so that its "
                f"numbers can change: ps.resume({layout.calc_dir!r}) finishes it"
            )


def _merged(
    df: pd.DataFrame,
    rows: pd.DataFrame,
    reserved: list[tuple[int, int]],
    source: Layout,
    target: Layout,
) -> pd.DataFrame:
    if rows.empty:
        return df
    ids = rows["_pset_id"].tolist()
    before = len(df)
    copy_folders(ids, source.root, target.root)
    df, moved = add_rows(df, rows.assign(_calc_dir=target.calc_dir), reserved)
    _copy_runs(source, target, moved)
    log.info("%d of %d rows of %s are new", len(df) - before, len(rows), source.calc_dir)
    return df


def _copy_runs(source: Layout, target: Layout, moved: dict[str, tuple[int, int]]) -> None:
    """Take the stories of runs along, and their plans, for `retry` and `reproduce`."""
    for one in all_runs(source):
        if one.run_id not in moved:
            continue  # a story that is there of a run that is new is of a merge that was cut off
        run_seq, shift = moved[one.run_id]
        changed: dict[str, Any] = {
            "run_seq": run_seq,
            "first_pset_seq": one.info["first_pset_seq"] + shift,
            "database": target.relative_database(),
            "merged_from": source.calc_dir,
        }
        target.run_folder(one.run_id).path.mkdir(parents=True, exist_ok=True)
        if source.run_folder(one.run_id).patch_path.exists():
            shutil.copy2(
                source.run_folder(one.run_id).patch_path, target.run_folder(one.run_id).patch_path
            )
        _copy_plan(
            source.run_folder(one.run_id).plan_path,
            target.run_folder(one.run_id).plan_path,
            run_seq,
            shift,
        )
        write_info(target, one.info | changed)


def _copy_plan(path: Path, target: Path, run_seq: int, shift: int) -> None:
    if not path.exists():
        return
    with path.open("rb") as stream:
        planned, work = plan.load(stream)
    moved = dataclasses.replace(
        planned,
        run_seq=run_seq,
        seqs=[seq + shift for seq in planned.seqs],
        attempts={seq + shift: number for seq, number in planned.attempts.items()},
    )
    replace_file(target, lambda stream: plan.dump(moved, work, stream))
