"""Copies of a study: for backup=True, and to try a run with simulate=True."""

from __future__ import annotations

import shutil

import pandas as pd

from psweep_dask.errors import PsweepError
from psweep_dask.storage.layout import Layout


class BackupError(PsweepError):
    """A backup that cannot be made as asked."""


def make_simulation_dir(layout: Layout) -> Layout:
    """Return the study that simulate=True writes to: it has nothing but a copy of the database."""
    simulated = layout.simulated()
    if simulated.root.exists():
        shutil.rmtree(simulated.root)
    simulated.root.mkdir(parents=True)
    if layout.database_path.exists():
        shutil.copy(layout.database_path, simulated.database_path)
    return simulated


def back_up_study(layout: Layout, df: pd.DataFrame) -> None:
    """Copy the whole study. The copy is named after the latest time and the last run in `df`."""
    if not {"_time_utc", "_run_id"} <= set(df.columns):
        raise BackupError(
            "backup=True names the copy after _time_utc and _run_id; the database lacks one of them"
        )
    stamp = pd.Timestamp(df["_time_utc"].max()).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    target = layout.backup_dir(stamp, df["_run_id"].iloc[-1])
    if target.exists():
        raise BackupError(
            f"the backup {str(target)!r} exists, and {layout.calc_dir!r} has no new rows since; "
            "leave backup=True away, or move that folder"
        )
    partial = target.with_name(target.name + ".partial")  # until the copy is complete
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(layout.root, partial, symlinks=True)
    if layout.database_dir != layout.root and layout.database_path.exists():
        shutil.copy2(layout.database_path, partial / layout.database_basename)
    partial.rename(target)
