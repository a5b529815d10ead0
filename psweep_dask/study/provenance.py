"""Who ran what, when, where, with which packages, and on which commit."""

from __future__ import annotations

import datetime as dt
import getpass
import importlib.metadata
import logging
import platform
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from psweep_dask.errors import PsweepError

log = logging.getLogger("psweep_dask")


GIT_TIMEOUT_SECONDS = 60.0  # a huge tree on a slow file system must not hang a run


class GitError(PsweepError):
    """git=True where git cannot do its part."""


def describe_session(folder: Path) -> tuple[dict[str, Any], str]:
    """Describe this session for ``run.json``; also return what is not committed, as a patch."""
    commit, patch = read_tree_state(folder) or ("", "")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        user = "unknown"
    info = {
        "user": user,
        "host": socket.gethostname(),
        "argv": list(sys.argv),
        "cwd": str(folder),
        "python": platform.python_version(),
        "git": {"commit": commit, "dirty": bool(patch)} if commit else None,
        "packages": dict(list_packages()),
    }
    return info, patch


def now() -> str:
    """Return the time as ISO 8601, in UTC."""
    return dt.datetime.now(dt.UTC).isoformat()


@cache
def list_packages() -> tuple[tuple[str, str], ...]:
    """Return the names and versions of all installed packages, sorted."""
    packages = importlib.metadata.distributions()
    return tuple(sorted({dist.name: dist.version for dist in packages if dist.name}.items()))


def commit_local_changes(folder: Path, init: bool = False) -> None:
    """Commit all that has changed below a folder, so that the run starts from a known state.

    Where there is no repository, `init` makes one instead of raising a `GitError`.
    """
    try:
        inside = _git(folder, "rev-parse", "--is-inside-work-tree").returncode == 0
    except OSError as err:
        raise GitError(f"git=True, but git cannot be started: {err}") from err
    if not inside and init:
        _checked(folder, "init", "--quiet")
    elif not inside:
        raise GitError(
            f"git=True, but {str(folder)!r} is in no git repository; run 'git init' there and "
            "write a .gitignore first, or leave git=True away"
        )
    if _commit_all(folder, f"psweep: {folder.name}: local changes"):
        log.info("git: committed local changes in %s before the run", folder)


def commit_results(folder: Path, run_id: str) -> None:
    """Commit what a run has written."""
    _commit_all(folder, f"psweep: {folder.name}: run_id={run_id}")


def read_tree_state(folder: Path) -> tuple[str, str] | None:
    """Return the commit of a folder and a patch of what is not committed; None outside git."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None  # without starting a process, since each run asks
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        if commit.returncode != 0:
            return None
        patch = _git(folder, "diff", "HEAD")
    except (OSError, GitError):  # without git or in time: a run needs neither
        return None
    return commit.stdout.strip(), patch.stdout


def _commit_all(folder: Path, message: str) -> bool:
    """Commit all changes, and return whether there were any."""
    _checked(folder, "add", "--all", ".")
    changed = _git(folder, "diff", "--cached", "--quiet").returncode != 0
    if changed:
        _checked(folder, "commit", "--quiet", "--message", message)
    return changed


def _checked(folder: Path, *arguments: str) -> None:
    try:
        done = _git(folder, *arguments)
    except OSError as err:
        raise GitError(f"'git {' '.join(arguments)}' failed in {str(folder)!r}: {err}") from err
    if done.returncode:
        raise GitError(
            f"'git {' '.join(arguments)}' failed in {str(folder)!r}: "
            f"{(done.stderr or done.stdout).strip()}"
        )


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=GIT_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as err:
        raise GitError(
            f"'git {' '.join(arguments)}' in {str(folder)!r} has not ended within "
            f"{GIT_TIMEOUT_SECONDS:.0f} s; have it ignore what is large"
        ) from err
