"""Stopping a run in order: by Ctrl-C, SIGTERM, another process, or a call from another thread."""

from __future__ import annotations

import enum
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout
from psweep_dask.study.runs import all_runs, check_study
from psweep_dask.worker.runner import Interrupt

INTERVAL = 1.0
"""Seconds between two looks for a request of another process."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


_terminated = False


class Stop(enum.IntEnum):
    """How urgently a run shall end; it only ever grows."""

    NO = 0
    SOON = 1
    """Hand out nothing new, let what runs finish."""
    NOW = 2
    """Drop what runs."""


class Stopper:
    """Takes requests to stop a run, from whatever side, and passes them on.

    Parameters
    ----------
    request_path : Path, optional
        The file by which another process can ask.

    Examples
    --------
    >>> stopper = Stopper()
    >>> stopper.request(Stop.SOON)
    >>> stopper.level
    <Stop.SOON: 1>
    """

    def __init__(self, request_path: Path | None = None) -> None:
        self._path = request_path
        self._looked = -INTERVAL
        self.level = Stop.NO
        self.wake: Callable[[], object] = lambda: None
        """Called on each request, from any thread or signal handler."""
        self.in_func = False
        """Whether func runs in the main thread of this process, where it can be interrupted."""

    def request(self, level: Stop) -> None:
        """Ask for a stop."""
        self.level = max(self.level, level)
        self.wake()

    def look(self) -> Stop:
        """Tell the level, having looked for a request of another process."""
        if self._path is not None and time.monotonic() - self._looked >= INTERVAL:
            self._looked = time.monotonic()
            with suppress(FileNotFoundError):
                now = self._path.read_text() == Stop.NOW.name
                self.level = max(self.level, Stop.NOW if now else Stop.SOON)
        return self.level

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn Ctrl-C and SIGTERM into requests: the second drops what runs, the third leaves.

        In a thread other than the main one there are no signals to turn, and in a func of another
        run they are that run's.
        """
        before = {} if _in_other_thread() else {one: signal.getsignal(one) for one in SIGNALS}
        before = {one: handler for one, handler in before.items() if not _is_taken(handler)}
        for one in before:
            signal.signal(one, self._on_signal)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.level == Stop.NOW:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        global _terminated
        _terminated = _terminated or number == signal.SIGTERM
        dropping = self.level == Stop.SOON
        self.request(Stop.NOW if dropping else Stop.SOON)
        if dropping and self.in_func:
            raise Interrupt


def was_terminated() -> bool:
    """Tell whether a run of this process was stopped by SIGTERM."""
    return _terminated


def request_by_file(path: Path, level: Stop) -> None:
    """Ask the driver of a run, which may be on another machine, to stop."""
    replace_file(path, lambda stream: stream.write(level.name.encode()))


def _is_taken(handler: Any) -> bool:
    if handler in (signal.SIG_IGN, None):  # None: set by C code, cannot be put back
        return True
    return isinstance(getattr(handler, "__self__", None), Stopper)


def _in_other_thread() -> bool:
    return threading.current_thread() is not threading.main_thread()


def request_stop(calc_dir: str | os.PathLike[str], run_id: str, *, now: bool) -> list[str]:
    """Ask the drivers of a study to stop, wherever they are, by a file that they look for.

    Parameters
    ----------
    calc_dir : str or PathLike
    run_id : str
        Only runs whose UUID begins so; all if empty.
    now : bool
        Drop what runs, instead of letting it finish.

    Returns
    -------
    list of str
        The runs that were asked.
    """
    layout = Layout(calc_dir)
    check_study(layout)
    alive = [past for past in all_runs(layout) if past.is_alive()]
    chosen = [past.run_id for past in alive if past.run_id.startswith(run_id)]
    for one in chosen:
        request_by_file(layout.stop_path(one), Stop.NOW if now else Stop.SOON)
    return chosen
