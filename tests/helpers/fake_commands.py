"""Commands of a batch system that give a recorded answer."""

from __future__ import annotations

import os

import pytest


def command(folder, name, text):
    """Put a shell script of this name into a folder that is to come first in the PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def bin_dir(tmp_path, monkeypatch):
    """A folder whose commands come before those of the system."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def only_bin_dir(bin_dir, monkeypatch):
    """The only folder in which commands are found."""
    monkeypatch.setenv("PATH", str(bin_dir))
    return bin_dir
