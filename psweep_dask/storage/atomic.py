"""Replace a file in one step, so that a crash never leaves half of a file."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def replace_file(path: Path, write: Callable[[BinaryIO], object], sync_folder: bool = True) -> None:
    """Replace a file in one step: a crash at any moment leaves the whole old file or the new one.

    Its folder is made if it is missing. The new file gets the permissions of the old one. Without
    `sync_folder` an fsync is saved: a power cut soon afterwards may bring the old file back.
    """
    path = path.resolve()  # a symbolic link is kept: the file that it points to is replaced
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
    if sync_folder:
        sync_dir(path.parent)


def sync_dir(folder: Path) -> None:
    """Sync a folder: files created, renamed or removed in it stay so after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
