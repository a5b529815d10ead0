"""What dask would log at length, and our own lines and rows tell already."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.std import tqdm

log = logging.getLogger("psweep_dask")


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


def show_log_lines() -> None:
    """Send the package's log to stderr, unless the script has set up logging itself."""
    if not log.hasHandlers():
        handler = _Handler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


class _Handler(logging.Handler):
    """Writes above the bar instead of through it."""

    def emit(self, entry: logging.LogRecord) -> None:
        if sys.stderr is not None:  # else tqdm would write to stdout
            tqdm.write(self.format(entry), file=sys.stderr)
