"""``psweep-dask init``: the files that a new study begins with."""

from __future__ import annotations

import shutil
from pathlib import Path

from psweep_dask.errors import PsweepError

_INSTALLED = Path(__file__).with_name("skeleton_files")
_IN_REPOSITORY = Path(__file__).parents[1] / "templates"


class SkeletonError(PsweepError):
    """A study that cannot be begun there."""


def create(folder: Path) -> list[Path]:
    """Copy the files that a new study begins with.

    Parameters
    ----------
    folder : Path
        Is made where it is missing.

    Returns
    -------
    list of Path
        The files, sorted.

    Raises
    ------
    SkeletonError
        If one of them is there already: nothing is written then.

    Examples
    --------
    >>> [path.as_posix() for path in create(Path("mystudy"))][:3]
    ['mystudy/.gitignore', 'mystudy/10run.py', 'mystudy/20eval.py']
    """
    source = _INSTALLED if _INSTALLED.is_dir() else _IN_REPOSITORY
    ignored = ("__pycache__",)
    names = sorted(
        path.relative_to(source)
        for path in source.rglob("*")
        if path.is_file() and not set(ignored) & set(path.parts)
    )
    there = [folder / name for name in names]
    taken = next((path for path in there if path.exists()), None)
    if taken is not None or (folder.exists() and not folder.is_dir()):
        raise SkeletonError(
            f"{str(taken or folder)!r} exists; nothing was written: choose a new folder"
        )
    for name, path in zip(names, there, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, path)
    return there
