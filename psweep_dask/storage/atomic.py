"""Files that are replaced in one step: a crash leaves the old or the new one, never half."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def replace_file(path: Path, write: Callable[[BinaryIO], object], last: bool = True) -> None:
    """Replace a file in one step: a crash at any instant leaves the old or the new one, never half.

    Parameters
    ----------
    path : Path
        The file; its folder is made where it is missing, and a file that was there keeps
        its permissions.
    write : callable
        Writes the new content to the open binary file that it is given.
    last : bool, optional
        False saves the fsync of the folder: a power cut right after may bring the old file back.
    """
    path = path.resolve()  # a link stays a link, to the new content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            write(stream)
            stream.flush()
            if path.exists():
                os.fchmod(stream.fileno(), path.stat().st_mode & 0o7777)
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if last:
        sync_dir(path.parent)


def sync_dir(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
