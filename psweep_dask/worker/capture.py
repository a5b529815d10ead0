"""Capture what one pset prints: by Python, by its subprocesses and by C code."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TextIO

STDOUT, STDERR = 1, 2


@contextmanager
def redirected(target: BinaryIO) -> Iterator[None]:
    r"""Send all that this process and its children write to stdout and stderr into a file.

    File descriptors 1 and 2 belong to the whole process: what other threads print meanwhile goes
    into the file, too.

    Examples
    --------
    >>> import subprocess, tempfile
    >>> with tempfile.TemporaryFile() as log:
    ...     with redirected(log):
    ...         print("from Python", flush=True)
    ...         _ = subprocess.run(["echo", "from a child"])
    ...     _ = log.seek(0)
    ...     log.read()
    b'from Python\nfrom a child\n'
    """
    _flush(sys.stdout, sys.stderr)
    saved = os.dup(STDOUT), os.dup(STDERR)
    python_streams = sys.stdout, sys.stderr
    os.dup2(target.fileno(), STDOUT)
    os.dup2(target.fileno(), STDERR)
    # In a notebook or under a test runner, Python's streams do not lead to the descriptors.
    sys.stdout, sys.stderr = _text_stream(STDOUT), _text_stream(STDERR)
    try:
        yield
    finally:
        try:
            _flush(sys.stdout, sys.stderr)
        finally:
            sys.stdout, sys.stderr = python_streams
            for descriptor, original in zip((STDOUT, STDERR), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


def _text_stream(descriptor: int) -> TextIO:
    return open(
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def _flush(*streams: TextIO) -> None:
    for stream in streams:
        with suppress(AttributeError, OSError, ValueError):  # func may have put anything there
            stream.flush()
    ctypes.CDLL(None).fflush(None)  # what C code has printed but not yet written
