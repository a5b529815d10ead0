"""Who ran what, when, where and with which packages."""

from __future__ import annotations

import datetime as dt
import getpass
import importlib.metadata
import platform
import socket
import sys
from functools import cache
from pathlib import Path
from typing import Any

from psweep_dask import git


def describe(folder: Path) -> tuple[dict[str, Any], str]:
    """Describe the session that starts a run.

    Parameters
    ----------
    folder : Path
        The working directory.

    Returns
    -------
    info : dict
        What goes to ``run.json``.
    patch : str
        What is not committed in `folder`, as git shows it; empty when there is nothing.

    Examples
    --------
    >>> info, patch = describe(Path.cwd())
    >>> info["python"] == platform.python_version()
    True
    """
    state = git.tree_state(folder)
    info = {
        "user": _user(),
        "host": socket.gethostname(),
        "argv": list(sys.argv),
        "cwd": str(folder),
        "python": platform.python_version(),
        "git": None if state is None else {"commit": state.commit, "dirty": bool(state.patch)},
        "packages": dict(installed_packages()),
    }
    return info, "" if state is None else state.patch


def now() -> str:
    """Tell the time as ISO 8601 in UTC.

    Examples
    --------
    >>> now().endswith("+00:00")
    True
    """
    return dt.datetime.now(dt.UTC).isoformat()


@cache
def installed_packages() -> tuple[tuple[str, str], ...]:
    """List the names and versions of all installed packages, sorted.

    Examples
    --------
    >>> "dask" in dict(installed_packages())
    True
    """
    found = {dist.name: dist.version for dist in importlib.metadata.distributions() if dist.name}
    return tuple(sorted(found.items()))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        return "unknown"
