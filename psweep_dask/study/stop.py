"""How a run is stopped: by Ctrl-C, SIGTERM, another process, or a call from another thread."""

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

from psweep_dask.hpc.jobscript import TERMINATED_EXIT_CODE
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout
from psweep_dask.study.runs import all_runs, find_run
from psweep_dask.worker.runner import Interrupt

REQUEST_POLL_SECONDS = 1.0
"""At most this often, `Stopper.poll` looks for the file of another process."""

_terminated = False


class Stop(enum.IntEnum):
    """How urgently a run is to end."""

    NO = 0
    SOON = 1
    """Start nothing new, and let the psets that run finish."""
    NOW = 2
    """Drop the psets that run."""


class Stopper:
    """The requests to stop one run, also by a file of another process. The level never falls."""

    def __init__(self, request_path: Path | None = None) -> None:
        self._request_path = request_path
        self._polled_at = -REQUEST_POLL_SECONDS
        self.level = Stop.NO
        self.wake: Callable[[], object] = lambda: None
        """Called on each request, from any thread or signal handler."""
        self.in_func = False
        """Whether func runs in the main thread of this process, where it can be interrupted."""
        self.replaced: dict[int, Any] = {}
        """The handlers of signals that this one catches."""

    def request(self, level: Stop) -> None:
        """Ask for a stop."""
        self.level = max(self.level, level)
        self.wake()

    def poll(self) -> Stop:
        """Return the level, and look whether another process has asked for a stop."""
        now = time.monotonic()
        if self._request_path is not None and now - self._polled_at >= REQUEST_POLL_SECONDS:
            self._polled_at = now
            with suppress(FileNotFoundError):
                drop = self._request_path.read_text() == Stop.NOW.name
                self.level = max(self.level, Stop.NOW if drop else Stop.SOON)
        return self.level

    @contextmanager
    def catch_signals(self) -> Iterator[None]:
        """Turn Ctrl-C and SIGTERM into requests.

        The first signal asks for `Stop.SOON`, the second for `Stop.NOW`, the third ends this
        process. Only the main thread can have signal handlers, so in other threads nothing is
        caught. If another `Stopper` catches a signal already, since func itself starts a run, it
        keeps it. A process that func forks, such as one of a ``multiprocessing.Pool``, does with
        SIGTERM what it does without a run.
        """
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                old = signal.getsignal(number)
                kept = old in (signal.SIG_IGN, None)  # None: of C code, Python cannot put it back
                if not kept and not isinstance(getattr(old, "__self__", None), Stopper):
                    self.replaced[number] = old
                    signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for caught, old in self.replaced.items():
                signal.signal(caught, old)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.level == Stop.NOW:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(TERMINATED_EXIT_CODE)
        global _terminated
        _terminated = _terminated or number == signal.SIGTERM
        drop = self.level == Stop.SOON
        self.request(Stop.NOW if drop else Stop.SOON)
        if drop and self.in_func:
            raise Interrupt


class _Fork(threading.local):
    """The mask of signals that a thread had before it began to fork, if SIGTERM is caught here."""

    mask: set[Any] | None = None


_fork = _Fork()


def _before_fork() -> None:
    # Python drops signals that reach the new process in its first instants. The kernel keeps them.
    if isinstance(getattr(signal.getsignal(signal.SIGTERM), "__self__", None), Stopper):
        _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _after_fork() -> None:
    if _fork.mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)
        _fork.mask = None


def _after_fork_in_child() -> None:
    stopper = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(stopper, Stopper):
        signal.signal(signal.SIGTERM, stopper.replaced[signal.SIGTERM])
    _after_fork()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_after_fork_in_child,
)


def was_terminated() -> bool:
    """Return whether a run of this process was stopped by SIGTERM."""
    return _terminated


def request_stop(layout: Layout, name: str = "", *, now: bool = False) -> list[str]:
    """Ask the drivers of a study to stop, on whichever machine they are.

    `name` chooses one run, as `find_run` does. With `now`, the psets that run are dropped. The ids
    of the runs that were asked are returned: those whose driver lives.
    """
    runs = all_runs(layout)
    alive = [run for run in ([find_run(runs, name)] if name else runs) if run.is_alive()]
    for run in alive:
        write_request(run.folder.stop_path, Stop.NOW if now else Stop.SOON)
    return [run.run_id for run in alive]


def write_request(path: Path, level: Stop) -> None:
    """Write the file by which a process on any machine asks the driver of a run to stop."""
    replace_file(path, lambda stream: stream.write(level.name.encode()))
