"""Commits before and after a run, and the state of the working tree."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import NamedTuple

from psweep_dask.errors import PsweepError

log = logging.getLogger("psweep_dask")

TIMEOUT = 60.0  # seconds; a huge tree on a slow file system must not hang a run


class GitError(PsweepError):
    """git=True where git cannot do its part."""


class TreeState(NamedTuple):
    """What is checked out, and what was changed since."""

    commit: str
    patch: str


def commit_before(folder: Path, init: bool = False) -> None:
    """Commit what was changed by hand, so that the run stands on a known state.

    Parameters
    ----------
    folder : Path
        Everything below it is committed, as far as ``.gitignore`` allows.
    init : bool, optional
        Make a repository where there is none, instead of raising an error.

    Raises
    ------
    GitError
        If `folder` is in no repository, or git refuses: nothing has been run then.
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


def commit_after(folder: Path, run_id: str) -> None:
    """Commit what a run has written.

    Raises
    ------
    GitError
        If git refuses; the results are saved all the same.
    """
    _commit_all(folder, f"psweep: {folder.name}: run_id={run_id}")


def tree_state(folder: Path) -> TreeState | None:
    """Tell the commit of a folder and the patch of what is not committed, None outside git."""
    if not any((one / ".git").exists() for one in (folder, *folder.parents)):
        return None  # found out without starting a process: each run asks
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        if commit.returncode != 0:
            return None
        patch = _git(folder, "diff", "HEAD")
    except (OSError, subprocess.TimeoutExpired):  # git is missing or too slow: not our purpose
        return None
    return TreeState(commit.stdout.strip(), patch.stdout)


def _commit_all(folder: Path, message: str) -> bool:
    """Commit what there is to commit, and tell whether there was something."""
    _checked(folder, "add", "--all", ".")
    changed = _git(folder, "diff", "--cached", "--quiet").returncode != 0
    if changed:
        _checked(folder, "commit", "--quiet", "--message", message)
    return changed


def _checked(folder: Path, *arguments: str) -> None:
    try:
        done = _git(folder, *arguments)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise GitError(f"'git {' '.join(arguments)}' failed in {str(folder)!r}: {err}") from err
    if done.returncode:
        raise GitError(
            f"'git {' '.join(arguments)}' failed in {str(folder)!r}: "
            f"{(done.stderr or done.stdout).strip()}"
        )


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=TIMEOUT,
    )
