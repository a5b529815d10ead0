"""The activity file of a worker process: which psets it runs right now.

The process has mapped this small file into its memory. So it costs only a microsecond to note that
a pset begins, and the monitor of the process can read the file even after a segmentation fault.
Behind the entries, `faulthandler` writes the traceback of a crash into the same file.
"""

from __future__ import annotations

import faulthandler
import hashlib
import mmap
import os
import signal
import struct
import tempfile
import threading
import time
import uuid
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ENTRIES_BYTES = 4096
"""Size of the head and the entries. Tracebacks begin behind it."""

TRACE_SIGNAL = signal.SIGUSR2
"""On this signal the process writes the tracebacks of all its threads into the file."""

BROKEN = 86
"""Exit status of a process that func has broken."""

_REASON = "psweep_dask: "

_HEAD = struct.Struct("<q256s")  # 1 once the worker is closing on purpose; its address
_ENTRY = struct.Struct("<16sqdd")  # run id, pset_seq, started, deadline
_MAX_ENTRIES = (ENTRIES_BYTES - _HEAD.size) // _ENTRY.size
_IDLE = _ENTRY.pack(bytes(16), -1, 0.0, 0.0)


@dataclass(frozen=True)
class Entry:
    """A pset that is being run."""

    run_id: str
    pset_seq: int
    started: float  # by `time.monotonic`, which is the same for all processes of a machine
    deadline: float  # likewise; 0: none


class ActivityFile:
    """The activity file of a process, opened by the process itself or by its monitor.

    Its descriptor is closed by `close`, or when nothing refers to this object any more.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)
        self._map = mmap.mmap(descriptor, ENTRIES_BYTES)
        self._traced_before = False
        self._offsets: dict[int, int] = {}
        self._lock = threading.Lock()

    def begin(self, run: bytes, pset_seq: int, timeout: float | None = None) -> None:
        """Note that this thread begins a pset of a run (its UUID), with a timeout in seconds."""
        now = time.monotonic()
        deadline = 0.0 if timeout is None else now + timeout
        _ENTRY.pack_into(self._map, self._offset(), run, pset_seq, now, deadline)

    def end(self) -> None:
        """Note that this thread is idle."""
        offset = self._offset()
        self._map[offset : offset + _ENTRY.size] = _IDLE

    def note_closing(self) -> None:
        """Note that the process ends because it was told to: no pset is the cause."""
        _HEAD.pack_into(self._map, 0, 1, self.address.encode())

    @property
    def address(self) -> str:
        """The address by which dask knows the process."""
        padded: bytes = _HEAD.unpack_from(self._map)[1]
        return padded.rstrip(b"\0").decode()

    @property
    def closing(self) -> bool:
        """Whether the process ends because it was told to."""
        return bool(_HEAD.unpack_from(self._map)[0])

    def entries(self) -> list[Entry]:
        """Return the psets that the threads of the process are running."""
        raw = _ENTRY.iter_unpack(self._map[_HEAD.size : _HEAD.size + _MAX_ENTRIES * _ENTRY.size])
        return [
            Entry(str(uuid.UUID(bytes=run)), seq, started, deadline)
            for run, seq, started, deadline in raw
            if seq >= 0
        ]

    def trace(self) -> str:
        """Return the tracebacks that `faulthandler` has written."""
        text = os.pread(self._descriptor, 2**20, ENTRIES_BYTES)  # 1 MiB at most
        return text.decode(errors="replace")

    def end_process(self, reason: str) -> NoReturn:
        """End this process at once, and have its monitor know why. Its psets count as running."""
        try:
            os.write(self._descriptor, f"\n\n{_REASON}{reason}\n\n".encode(errors="replace"))
        finally:
            os._exit(BROKEN)

    @property
    def reason(self) -> str:
        """Why the process has ended itself by `end_process`; empty if it has not."""
        _, found, rest = self.trace().rpartition(_REASON)
        return rest.splitlines()[0] if found and rest else ""

    def catch_traces(self) -> None:
        """Have tracebacks of this process written into the file: on a crash or `TRACE_SIGNAL`."""
        os.lseek(self._descriptor, ENTRIES_BYTES, os.SEEK_SET)
        self._traced_before = faulthandler.is_enabled()
        faulthandler.enable(self._descriptor)
        faulthandler.register(TRACE_SIGNAL, self._descriptor, all_threads=True)

    def leave_traces(self) -> None:
        """Have no more tracebacks written into the file."""
        faulthandler.unregister(TRACE_SIGNAL)
        faulthandler.disable()
        if self._traced_before:
            faulthandler.enable()

    def _offset(self) -> int:
        thread = threading.get_ident()
        offset = self._offsets.get(thread)
        if offset is None:
            with self._lock:  # more threads than entries share the last one
                number = min(len(self._offsets), _MAX_ENTRIES - 1)
                offset = self._offsets[thread] = _HEAD.size + number * _ENTRY.size
        return offset


def activity_path(monitor: str, pid: int) -> Path:
    """Return the path of an activity file. The process and its monitor compute the same one.

    `monitor` is a name of the monitor, such as the address of the nanny; `pid` that of the worker.
    """
    folder = Path(tempfile.gettempdir(), f"psweep_dask-{os.getuid()}")
    name = hashlib.blake2b(monitor.encode(), digest_size=8).hexdigest()
    return folder / f"{name}-{pid}"


def create(path: Path, address: str = "") -> ActivityFile:
    """Create the activity file of this process, which dask knows by its address.

    Raises
    ------
    PermissionError
        If its folder belongs to another user, who could read it.
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.parent.stat().st_uid != os.getuid():
        raise PermissionError(f"{str(path.parent)!r} belongs to another user")
    path.unlink(missing_ok=True)  # of an earlier process with the same pid
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    head = _HEAD.pack(0, address.encode())
    os.write(descriptor, (head + _IDLE * _MAX_ENTRIES).ljust(ENTRIES_BYTES, b"\0"))
    return ActivityFile(descriptor)


def take_over(path: Path) -> ActivityFile | None:
    """Open the activity file of another process, and remove it from its folder.

    So no file is left behind, however the two processes end. None if there is no file yet.
    """
    try:
        if path.stat().st_size < ENTRIES_BYTES:  # the process has not written it yet
            return None
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    path.unlink(missing_ok=True)
    return ActivityFile(descriptor)


def func_stack(trace: str, caller: str) -> str:
    r"""Return which line of func was running, from what `faulthandler` has written of all threads.

    These are lines as in a traceback, from func to the innermost call; none if no thread was in
    func. `caller` is the file whose code calls func.

    Examples
    --------
    >>> trace = 'Thread 1 (most recent call first):\n  File "study.py", line 3 in f\n'
    >>> func_stack(trace + '  File "runner.py", line 9 in run', "runner.py")
    '  File "study.py", line 3 in f\n'
    """
    for block in reversed(trace.split("\n\n")):
        frames = [line for line in block.splitlines() if line.startswith("  File ")]
        ours = [index for index, line in enumerate(frames) if f'"{caller}"' in line]
        if ours:
            return "".join(line + "\n" for line in reversed(frames[: ours[0]]))
    return ""
