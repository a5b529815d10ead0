"""Processes that other processes have started: they are marked, found again, and awaited."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil
from chaos.violation import Violation, wait

MARK = "PSWEEP_DASK_STORM"
"""Environment variable by which the processes of a study are known."""


def marked(mark: str) -> dict[str, str]:
    """Return an environment by which processes and their children are found again."""
    return os.environ | {MARK: mark}


def await_end_of(mark: str) -> None:
    """Make sure that all processes with a mark end by themselves."""
    if not wait(10.0, lambda: not _with_mark(mark)):
        left = [(process.pid, _command(process)) for process in _with_mark(mark)]
        raise Violation(f"processes are left: {left}")


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the worker processes of a nanny, or of a driver with nannies in it."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children()
        return [child for child in children if "spawn_main" in " ".join(_command(child))]
    return []


def _with_mark(mark: str) -> list[psutil.Process]:
    processes = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                processes.append(process)
    return processes


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []
