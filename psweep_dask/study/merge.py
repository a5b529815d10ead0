"""Merge studies, such as those of several machines, into one."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from psweep_dask._logging import show_log_lines
from psweep_dask.errors import PsweepError
from psweep_dask.storage import database, frame, plan
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout
from psweep_dask.study import recovery
from psweep_dask.study.load import load_from
from psweep_dask.study.runs import all_runs, open_study, stored_runs, write_info

log = logging.getLogger("psweep_dask")


class MergeError(PsweepError):
    """Studies that cannot be merged. Nothing was changed."""


def merge_studies(
    calc_dir: str | os.PathLike[str], *sources: str | os.PathLike[str]
) -> pd.DataFrame:
    """Copy the rows, folders and runs of other studies into one study.

    Parameters
    ----------
    calc_dir : str or PathLike
        Folder of the study that gets them. It is made if it does not exist.
    *sources : str or PathLike
        Folders of the studies to copy from. Nothing in them is changed.

    Returns
    -------
    DataFrame
        The whole database of `calc_dir`.

    Raises
    ------
    MergeError
        If a run of a source is not finished, or `calc_dir` is one of the sources.
    NoStudyError, DatabaseError
        If a source is no study, or a database is damaged.

    See Also
    --------
    push, pull : Copy a study to another machine and back.
    import_psweep : Copy a study of the package psweep.

    Notes
    -----
    Rows that the study has already, by their ``_pset_id``, are left out: merging twice does no
    harm. Runs get new numbers if their ``_run_seq`` or ``_pset_seq`` are in use.

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
    layouts = [open_study(folder) for folder in sources]
    different = list({source.root.resolve(): source for source in layouts}.values())
    for source in different:
        if source.root.resolve() == target.root.resolve():
            raise MergeError(f"{source.calc_dir!r} cannot be merged into itself")
        _check_finished(source)
    target.make_writable()
    with target.lock(), target.numbers_lock():
        df, reserved = recovery.recover(target)
        reserved += recovery.numbers_elsewhere(target)
        for source in different:
            df = _copy_study(source, target, df, reserved)
        return database.replace(target.database_path, df)


def add_rows(
    df: pd.DataFrame, rows: pd.DataFrame, reserved: list[tuple[int, int]]
) -> tuple[pd.DataFrame, dict[str, tuple[int, int]]]:
    """Append the rows of another study that `df` lacks, with numbers above those that are in use.

    In use are those of `df`, and of `reserved`: the highest ``_run_seq`` and ``_pset_seq`` of runs.
    Rows without a number, as psweep 0.5 leaves them, come after all others of `rows`. Also return,
    for the id of each new run, its ``_run_seq``, and how much was added to each ``_pset_seq``.
    """
    known = set(df.get("_run_id", ()))
    moved: dict[str, tuple[int, int]] = {}
    rows = rows.copy(deep=False)
    seqs, run_seqs = _numbered(rows["_pset_seq"]), rows["_run_seq"].to_numpy().copy()
    taken = [*reserved, plan.last_seqs(df)]
    of_run = rows.groupby("_run_id", sort=False).indices
    for run_id, places in sorted(of_run.items(), key=lambda item: run_seqs[item[1]].min()):
        if run_id in known:
            continue  # the folder of the study was copied, and both copies went on
        run_seq, first = plan.next_seqs(taken)
        shift = max(0, first - int(seqs[places].min()))
        run_seq = max(run_seq, int(run_seqs[places].min()))
        seqs[places] += shift
        run_seqs[places] = run_seq
        moved[str(run_id)] = (run_seq, shift)
        taken.append((run_seq, int(seqs[places].max())))
    rows["_pset_seq"], rows["_run_seq"] = seqs, run_seqs
    return frame.append(df, rows), moved


def _numbered(seqs: pd.Series) -> np.ndarray:
    """Return the numbers of rows; those that have none get the next ones, in their order."""
    numbers = seqs.astype(float).to_numpy(copy=True)
    missing = np.isnan(numbers)
    if missing.any():
        highest = -1 if missing.all() else np.nanmax(numbers)
        numbers[missing] = highest + 1 + np.arange(missing.sum())
    return numbers.astype(int)


def copy_folders(names: Iterable[str], source: Path, target: Path) -> None:
    """Copy the folders of psets that `target` does not have. Each gets its name when complete."""
    for name in names:
        if (source / name).is_dir() and not (target / name).exists():
            partial = target / f".{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source / name, partial, symlinks=True)
            partial.rename(target / name)


def _check_finished(layout: Layout) -> None:
    for run in stored_runs(layout):
        if run.ended_early:
            state = "goes on" if run.is_alive() else "is not finished"
            raise MergeError(
                f"run {run.run_id} of {layout.calc_dir!r} {state}; merge when it is, so that its "
                f"numbers can change: ps.resume({layout.calc_dir!r}) finishes it"
            )


def _copy_study(
    source: Layout, target: Layout, df: pd.DataFrame, reserved: list[tuple[int, int]]
) -> pd.DataFrame:
    """Copy folders, rows and runs, and return the database with the new rows."""
    rows = load_from(source)
    if rows.empty:
        return df
    copy_folders(rows["_pset_id"].tolist(), source.root, target.root)
    old_length = len(df)
    df, moved = add_rows(df, rows.assign(_calc_dir=target.calc_dir), reserved)
    _copy_runs(source, target, moved)
    log.info("%d of %d rows of %s are new", len(df) - old_length, len(rows), source.calc_dir)
    return df


def _copy_runs(source: Layout, target: Layout, moved: dict[str, tuple[int, int]]) -> None:
    """Copy ``run.json`` and the plan of each new run, for `retry` and `reproduce`.

    The target may have such files already, of a merge that was cut off. They are replaced.
    """
    for run in all_runs(source):
        if run.run_id not in moved:
            continue
        run_seq, shift = moved[run.run_id]
        folder = target.run_folder(run.run_id)
        folder.path.mkdir(parents=True, exist_ok=True)
        if run.folder.patch_path.exists():
            shutil.copy2(run.folder.patch_path, folder.patch_path)
        for path in (*run.folder.kept_paths(), *run.folder.path.glob("deleted-*.json")):
            shutil.copy2(path, folder.path)
        if run.folder.plan_path.exists():
            _copy_plan(run.folder.plan_path, folder.plan_path, run_seq, shift)
        changes = {
            "run_seq": run_seq,
            "first_pset_seq": run.info["first_pset_seq"] + shift,
            "database": target.relative_database(),
            "seqs_moved_by": run.info.get("seqs_moved_by", 0) + shift,
            "merged_from": source.calc_dir,
        }
        write_info(target, run.info | changes)


def _copy_plan(path: Path, target: Path, run_seq: int, shift: int) -> None:
    """Copy a plan, with another ``_run_seq`` and with `shift` added to each ``_pset_seq``."""
    with path.open("rb") as stream:
        planned, work = plan.load(stream)
    seqs = [seq + shift for seq in planned.seqs]
    attempts = {seq + shift: number for seq, number in planned.attempts.items()}
    moved = dataclasses.replace(planned, run_seq=run_seq, seqs=seqs, attempts=attempts)
    replace_file(target, lambda stream: plan.dump(moved, work, stream))
