"""The log of this package, and lines of dask's log that are hidden."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tqdm.std import tqdm

log = logging.getLogger("psweep_dask")


_WORKER_EXIT_LINES = re.compile(
    r"Restarting worker \(status|marked as failed because|Worker process still alive|"
    r"caused the cluster to lose|exceeded .* memory budget|"
    r"Failed to (start process|restart worker)|Worker failed to connect|"
    r"slow to (accept SIGTERM|terminate)|Couldn't gather .*'psweep'\)"
)


def _shown(entry: logging.LogRecord) -> bool:
    return not _WORKER_EXIT_LINES.search(entry.getMessage())


def hide_worker_exit_lines() -> None:
    """Hide the lines of dask's log about exits of workers: the rows and our log have them."""
    for name in ("nanny", "nanny.memory", "scheduler", "client"):
        logging.getLogger(f"distributed.{name}").addFilter(_shown)


def quiet_dask() -> None:
    """Hide dask's lines below WARNING, which it shows as soon as a script logs from INFO on.

    A level that the script has given to dask's loggers remains.
    """
    logger = logging.getLogger("distributed")
    if logger.level in (logging.NOTSET, logging.INFO):  # INFO is dask's own default
        logger.setLevel(logging.WARNING)


@contextmanager
def silenced(name: str) -> Iterator[None]:
    """Hide all but critical lines of a logger in the ``with`` block."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def show_log_lines() -> None:
    """Write the log of the package to stderr, unless the script has set up logging itself."""
    if not log.hasHandlers():
        handler = _Handler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


class _Handler(logging.Handler):
    """Writes above the progress bar, which plain writing to stderr would break."""

    def emit(self, entry: logging.LogRecord) -> None:
        if sys.stderr is not None:  # else tqdm would write to stdout
            with suppress(Exception):  # closed, or on a full disk: that must not end a run
                write_line(self.format(entry), sys.stderr)


def write_line(text: str, stream: Any) -> None:
    """Write text above the progress bar; characters that the stream does not have are escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    tqdm.write(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)
