"""What dask would log at length, and our own lines and rows tell already."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager


class _ToldByUs(logging.Filter):
    LINES = re.compile(
        r"Restarting worker \(status|marked as failed because|Worker process still alive|"
        r"caused the cluster to lose|exceeded .* memory budget|"
        r"slow to (accept SIGTERM|terminate)|Couldn't gather .*'psweep'\)"
    )

    def filter(self, entry: logging.LogRecord) -> bool:
        return not self.LINES.search(entry.getMessage())


_told = _ToldByUs()


def tell_deaths_ourselves() -> None:
    """Drop dask's lines about deaths of workers from now on."""
    for name in ("nanny", "nanny.memory", "scheduler", "client"):
        logging.getLogger(f"distributed.{name}").addFilter(_told)


@contextmanager
def silenced(name: str) -> Iterator[None]:
    """Drop all but critical lines of a logger, for a while."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
