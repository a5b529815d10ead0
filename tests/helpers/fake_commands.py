"""Commands of a batch system that give a recorded answer."""

from __future__ import annotations


def command(folder, name, text):
    """Put a shell script of this name into a folder that is to come first in the PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
