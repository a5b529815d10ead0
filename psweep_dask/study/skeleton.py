"""``psweep-dask init``: the files that a new study begins with."""

from __future__ import annotations

import shutil
from pathlib import Path

from psweep_dask.errors import PsweepError

PACKAGE_DIR = Path(__file__).parents[1]


class SkeletonError(PsweepError):
    """A folder in which no study can begin, since files would be overwritten."""


def create_study(folder: Path) -> list[Path]:
    """Copy the files that a new study begins with, and return their paths, sorted.

    Nothing is written if one of them exists.
    """
    source = PACKAGE_DIR / "skeleton_files"  # in an installed package; else this is the repository
    source = source if source.is_dir() else PACKAGE_DIR.parent / "templates"
    names = sorted(
        path.relative_to(source)
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    paths = [folder / name for name in names]
    existing = next((path for path in paths if path.exists()), None)
    if existing is not None or (folder.exists() and not folder.is_dir()):
        raise SkeletonError(
            f"{str(existing or folder)!r} exists; nothing was written: choose a new folder"
        )
    for name, path in zip(names, paths, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, path)
    return paths
