"""Settings of the script's process that hold for func on workers.

These are environment variables, the root logger, and how multiprocessing starts processes.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

LogSettings = tuple[int, str | None, str | None, Any]
"""Level of the root logger; format of its lines (None without a handler), their dates, style."""

_STYLES = {logging.StrFormatStyle: "{", logging.StringTemplateStyle: "$"}

_environment_at_start = dict(os.environ)
_level_at_start = logging.getLogger().level


def log_settings() -> LogSettings:
    """Return how this process logs what no other logger than the root logger handles."""
    root = logging.getLogger()
    if not root.handlers:
        return root.level, None, None, "%"
    formatters = [handler.formatter for handler in root.handlers if handler.formatter]
    formatter = formatters[0] if formatters else logging.Formatter()
    style = _STYLES.get(type(formatter._style), "%")
    return root.level, formatter._fmt, formatter.datefmt, style


def start_method() -> str:
    """Return how multiprocessing starts processes here: 'fork', 'forkserver' or 'spawn'."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return chosen or multiprocessing.get_all_start_methods()[0]  # the first is the default


def apply(
    settings: LogSettings | None, environment: Mapping[str, str | None], start_method: str | None
) -> None:
    """Have this worker process log as the script does, and give it the script's environment.

    What func of an earlier run has set in ``os.environ`` is undone. None in `environment` stands
    for a variable that the script has deleted. dask's worker, which was spawned, would also spawn
    what func starts.
    """
    if start_method is not None:
        multiprocessing.set_start_method(start_method, force=True)
    wanted = {**_environment_at_start, **environment}
    for name in os.environ.keys() | wanted.keys():
        value = wanted.get(name)
        if value is None:
            os.environ.pop(name, None)
        elif os.environ.get(name) != value:
            os.environ[name] = value
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _StderrHandler):
            root.removeHandler(handler)
    root.setLevel(_level_at_start if settings is None else settings[0])
    if settings is not None and settings[1] is not None and not root.handlers:
        _, form, dates, style = settings
        own = _StderrHandler()
        own.setFormatter(logging.Formatter(form, dates, style))
        root.addHandler(own)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at the moment: `capture_logs` exchanges it.

    Of dask's own lines it shows warnings only.
    """

    def emit(self, entry: logging.LogRecord) -> None:
        if entry.levelno >= logging.WARNING or not entry.name.startswith("distributed"):
            self.stream = sys.stderr
            super().emit(entry)
