"""Processes that others have started: marked, found again, and awaited."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil
from chaos.violation import Violation, wait

MARK = "PSWEEP_DASK_STORM"
"""Environment variable by which the processes of a study are known."""


def marked(mark: str) -> dict[str, str]:
    """Give an environment by which processes and their children are found again."""
    return os.environ | {MARK: mark}


def await_end_of(mark: str) -> None:
    """Make sure that all processes of a mark end by themselves."""
    if not wait(10.0, lambda: not _with_mark(mark)):
        left = [(one.pid, _command(one)) for one in _with_mark(mark)]
        raise Violation(f"processes are left: {left}")


def workers_of(pid: int) -> list[psutil.Process]:
    """Find the worker processes of a nanny, or of a driver with nannies in it."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children()
        return [one for one in children if "spawn_main" in " ".join(_command(one))]
    return []


def _with_mark(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []
