"""The journal of a run: a file to which frames are appended, and from which they are replayed."""

from __future__ import annotations

import errno
import gzip
import io
import logging
import os
import shutil
import threading
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from psweep_dask.errors import PsweepError
from psweep_dask.storage import record
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.record import Block

log = logging.getLogger("psweep_dask")

FSYNC_INTERVAL_SECONDS = 1.0
"""Time between two fsyncs: a power cut can take the records of this time, a killed driver none."""


KEPT_SUFFIX = ".gz"

KEPT_LEVEL = 1
"""Level of compression of what is kept of a journal."""


class JournalError(PsweepError):
    """A journal that cannot be written any more, so that the run must end."""


class Journal:
    """The journal of one run. It is created once, and only its creator appends to it.

    After a power cut the file may be missing, until its folder is synced.
    """

    def __init__(self, path: Path, fsync_interval: float = FSYNC_INTERVAL_SECONDS) -> None:
        self.path = path
        self._file: BinaryIO = path.open("x+b", buffering=0)
        self._size = 0  # in bytes
        self._replaced: list[BinaryIO] = []  # the thread that syncs may use one of these just now
        self._error: OSError | None = None
        self._dirty = threading.Event()
        self._closing = threading.Event()
        self._syncer = threading.Thread(
            target=self._sync_periodically, args=(fsync_interval,), name="journal", daemon=True
        )
        self._syncer.start()

    def append(self, frame: bytes) -> None:
        """Write a frame. Once this has returned, the frame is kept even if the process is killed.

        Raises
        ------
        JournalError
            If the frame cannot be written, an earlier fsync failed, or another program has cut the
            file. Afterwards nothing can be appended: it would stand behind a torn frame.
        """
        if self._error is None:
            left = memoryview(frame)
            try:
                self._keep_place()
                while left:
                    left = left[self._file.write(left) :]
                self._size += len(frame)
            except OSError as err:
                self._error = err
        if self._error is not None:
            raise JournalError(
                f"cannot write to {str(self.path)!r}: {self._error.strerror}; "
                "everything up to here is kept there"
            ) from self._error
        self._dirty.set()

    def replay(self) -> Replay:
        """Return an iterator over all blocks."""
        return replay(self.path)

    def since(self, offset: int) -> tuple[list[Block], int]:
        """Return the blocks from an offset in bytes on, and the offset of the next ones."""
        with self.path.open("rb") as stream:
            return _since(stream, offset)

    def close(self) -> None:
        """Sync a last time and close the file, without errors: the merge that follows reads it."""
        if not self._closing.is_set():
            with suppress(OSError):  # the merge cannot read it then
                self._keep_place()
        self._closing.set()
        self._dirty.set()
        self._syncer.join()
        with suppress(OSError, ValueError):  # ValueError: closed before
            os.fsync(self._file.fileno())
        for file in (self._file, *self._replaced):
            with suppress(OSError):
                file.close()

    def _keep_place(self) -> None:
        """Write the file anew if another one is in its place, as programs that sync leave it.

        Raises
        ------
        OSError
            If that is impossible, or if the file has become shorter.
        """
        own = os.fstat(self._file.fileno())
        if own.st_size < self._size:
            raise OSError(errno.EIO, "another program has cut the file")
        try:
            if os.path.samestat(own, self.path.stat()):
                return
        except FileNotFoundError:
            if not self.path.parent.is_dir():  # the merge says that the study was moved
                return
        log.warning("another program has replaced %s, which is written anew", self.path)
        self._file.seek(0)
        replace_file(self.path, lambda stream: shutil.copyfileobj(self._file, stream))
        self._replaced.append(self._file)
        self._file = self.path.open("r+b", buffering=0)
        self._file.seek(0, os.SEEK_END)

    def _sync_periodically(self, interval: float) -> None:
        while self._dirty.wait() and not self._closing.is_set():
            self._dirty.clear()
            try:
                os.fsync(self._file.fileno())
            except OSError as err:
                self._error = err
                return
            self._closing.wait(interval)


class MemoryJournal:
    """The journal of a run with save=False: it has the methods of `Journal`, but no file."""

    def __init__(self) -> None:
        self._frames = io.BytesIO()

    def append(self, frame: bytes) -> None:
        """Keep a frame."""
        self._frames.write(frame)

    def replay(self) -> Replay:
        """Return an iterator over all blocks."""
        return Replay(io.BytesIO(self._frames.getvalue()))

    def since(self, offset: int) -> tuple[list[Block], int]:
        """Return what `Journal.since` does."""
        return _since(io.BytesIO(self._frames.getvalue()), offset)

    def close(self) -> None:
        """Do nothing: the frames can still be replayed."""


class Replay:
    """Iterates over the blocks of a journal up to the first frame that is torn or damaged.

    Afterwards, ``unread_bytes`` says how many bytes at the end could not be read, and ``damaged``
    whether they are damaged: not so if the process was killed while it wrote that frame.

    Raises
    ------
    RecordError
        If a good frame holds an object that cannot be restored in this process, or a later version
        of this package has written it.
    """

    def __init__(self, stream: BinaryIO, is_plain: bool = False) -> None:
        self._stream = stream
        self._is_plain = is_plain
        self.unread_bytes = 0
        self.damaged = False

    def __iter__(self) -> Iterator[Block]:
        with self._stream as stream:
            for payload in record.read_frames(stream):
                yield from record.unpack(payload, self._is_plain)
            good = stream.tell()
            self.unread_bytes = stream.seek(0, os.SEEK_END) - good
            stream.seek(good)
            self.damaged = not record.is_torn(stream.read(record.HEADER.size), self.unread_bytes)


def replay(path: Path, is_plain: bool = False) -> Replay:
    """Return an iterator over the blocks of a journal, which may be growing, or was kept.

    With `is_plain`, no code of the user is run.
    """
    if path.suffix == KEPT_SUFFIX:
        return Replay(io.BytesIO(_decompressed(path)), is_plain)
    return Replay(path.open("rb"), is_plain)


class Keeping:
    """Copies the frames of a journal to a compressed file, while the caller does other things.

    That file appears when `finish` is called. It is not needed for the run: an `OSError`, of a full
    disk for instance, is kept in ``error``, and the file is left out.

    Parameters
    ----------
    path : Path
        The journal, to which nothing is appended any more.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._path = path
        self._partial = path.with_name(f".{path.name}-{uuid.uuid4().hex}.tmp")
        self._thread = threading.Thread(target=self._copy, name="keep journal", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        try:
            with (
                self._path.open("rb") as stream,
                gzip.open(self._partial, "wb", KEPT_LEVEL) as target,
            ):
                for payload in record.read_frames(stream):
                    target.write(record.to_frame(payload))
        except OSError as err:
            self.error = err

    def finish(self, kept_path: Path, more: Sequence[Block] = ()) -> None:
        """Add blocks that the journal has not, and give the file its name."""
        self._thread.join()
        try:
            if self.error is None:
                if more:
                    with gzip.open(self._partial, "ab", KEPT_LEVEL) as target:
                        target.write(record.pack_blocks(more))
                with self._partial.open("rb") as stream:
                    os.fsync(stream.fileno())
                self._partial.replace(kept_path)
        except OSError as err:
            self.error = err
        self.drop()

    def drop(self) -> None:
        """Remove the file if it has no name yet."""
        self._thread.join()
        with suppress(OSError):
            self._partial.unlink()


def partial_copies(path: Path) -> list[Path]:
    """Return the files of a `Keeping` whose process was killed."""
    return list(path.parent.glob(f".{path.name}-*.tmp"))


def _decompressed(path: Path) -> bytes:
    """Return what can be read of a compressed file: up to the first damaged byte."""
    good = bytearray()
    with gzip.open(path, "rb") as stream, suppress(zlib.error, EOFError, gzip.BadGzipFile):
        while chunk := stream.read(2**20):
            good += chunk
    return bytes(good)


def _since(stream: BinaryIO, offset: int) -> tuple[list[Block], int]:
    stream.seek(offset)
    blocks = [block for payload in record.read_frames(stream) for block in record.unpack(payload)]
    return blocks, stream.tell()
