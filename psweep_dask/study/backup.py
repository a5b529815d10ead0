"""Copies of a study: its backup, and the folder in which a simulation plays."""

from __future__ import annotations

import shutil

import pandas as pd

from psweep_dask.errors import PsweepError
from psweep_dask.storage.layout import Layout


class BackupError(PsweepError):
    """A backup that cannot be made as asked."""


def simulation(layout: Layout) -> Layout:
    """Make the folder in which simulate=True plays: empty but for a copy of the database."""
    simulated = layout.simulated()
    if simulated.root.exists():
        shutil.rmtree(simulated.root)
    simulated.root.mkdir(parents=True)
    if layout.database_path.exists():
        shutil.copy(layout.database_path, simulated.database_path)
    return simulated


def back_up(layout: Layout, df: pd.DataFrame) -> None:
    """Copy the whole study; the copy gets its name when it is complete."""
    if not {"_time_utc", "_run_id"} <= set(df.columns):
        raise BackupError(
            "backup=True names the copy after _time_utc and _run_id: both are missing"
        )
    stamp = pd.Timestamp(df["_time_utc"].max()).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    target = layout.backup_dir(stamp, df["_run_id"].iloc[-1])
    if target.exists():
        raise BackupError(
            f"the backup {str(target)!r} exists: there is nothing new in {layout.calc_dir!r} "
            "since; leave backup=True away, or move that folder"
        )
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(layout.root, partial, symlinks=True)
    if layout.database_dir != layout.root and layout.database_path.exists():
        shutil.copy2(layout.database_path, partial / layout.database_basename)
    partial.rename(target)
