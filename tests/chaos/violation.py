"""The exception for a broken promise of psweep_dask, and the wait that may end in it."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_WAIT_SECONDS = 60.0
"""What should happen, and has not happened by then, is a violation."""


class Violation(Exception):
    """Something that psweep_dask promises is not true."""


def expect(condition: Callable[[], bool], what: str) -> None:
    """Wait for what must happen."""
    if not wait(MAX_WAIT_SECONDS, condition):
        raise Violation(f"it did not happen that {what}")


def wait(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait for what may happen, and return whether it has happened."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True
