"""What psweep_dask promises did not hold: the exception, and the wait that ends in it."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds until something that should happen counts as never."""


class Violation(Exception):
    """Something that psweep_dask promises did not hold."""


def expect(condition: Callable[[], bool], what: str) -> None:
    """Wait for what must happen."""
    if not wait(PATIENCE, condition):
        raise Violation(f"it did not happen that {what}")


def wait(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait for what may happen, and tell whether it did."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True
