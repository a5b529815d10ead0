"""Records of finished psets as bytes, the same on their way to the driver and in the journal.

A *frame* is ``magic, length, crc32, payload``. The payload is a pickled tuple: the number of the
format, and a list of *blocks*. A block is the names of some columns, and the columns as lists. One
frame holds the records of one slice.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from psweep_dask.errors import PsweepError
from psweep_dask.storage import plain
from psweep_dask.storage.pickling import check_format, dumps, loads_rows

Record = dict[str, Any]
Block = tuple[tuple[str, ...], list[list[Any]]]

MAGIC = b"PSW1"
HEADER = struct.Struct("<4sII")  # magic, length of the payload, crc32 of the payload
MAX_PAYLOAD_BYTES = 2**32 - 1

FORMAT = 2
"""Number of the format of payloads. Those of format 1 are the list of blocks alone."""


class RecordError(PsweepError):
    """Records that cannot be packed into a frame, or a payload that cannot be unpacked."""


def pack(records: Iterable[Record]) -> bytes:
    """Return one frame with records.

    Examples
    --------
    >>> frame = pack([{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    >>> unpack(frame[HEADER.size:])
    [(('a', 'b'), [[1, 3], [2, 4]])]
    """
    blocks = [
        (names, [list(column) for column in zip(*(row.values() for row in group), strict=True)])
        for names, group in groupby(records, key=tuple)
    ]
    return pack_blocks(blocks)


def pack_blocks(blocks: Sequence[Block]) -> bytes:
    """Return one frame with blocks."""
    return to_frame(dumps((FORMAT, list(blocks))))


def to_frame(payload: bytes) -> bytes:
    """Return a payload with the header of a frame before it.

    Raises
    ------
    RecordError
        If the payload is empty, or larger than 4 GiB, the most that a frame can hold.
    """
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        raise RecordError(
            f"a frame of the journal holds 1 to {MAX_PAYLOAD_BYTES} bytes, not {len(payload)}; "
            "have func save what is that large in calc/<pset_id>/ and return its path"
        )
    return HEADER.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def read_frames(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the payloads of a stream of frames up to the first that is torn or damaged.

    Afterwards the stream stands at the end of the last good frame.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO(to_frame(b"one") + to_frame(b"two")[:-1])
    >>> list(read_frames(stream)), stream.tell()
    ([b'one'], 15)
    """
    start = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    while True:
        stream.seek(start)
        payload = _next_payload(stream, end - start)
        if payload is None:
            stream.seek(start)
            return
        start += HEADER.size + len(payload)
        yield payload


def _next_payload(stream: BinaryIO, available: int) -> bytes | None:
    if available <= HEADER.size:
        return None
    magic, length, crc = HEADER.unpack(stream.read(HEADER.size))
    if magic != MAGIC or not 0 < length <= available - HEADER.size:
        return None  # checked before reading: a damaged length could ask for 4 GiB
    payload = stream.read(length)
    return payload if zlib.crc32(payload) == crc else None


def read_record(path: Path) -> Record | None:
    """Return the record in a file that holds one; None if the file is missing or damaged.

    Raises
    ------
    RecordError
        If the file is intact, but holds an object that cannot be restored here.
    """
    payload = read_payload(path)
    if payload is None:
        return None
    ((names, columns),) = unpack(payload)
    return {name: column[0] for name, column in zip(names, columns, strict=True)}


def read_payload(path: Path) -> bytes | None:
    """Return the payload of a file that holds one frame; None if it is missing or damaged."""
    try:
        with path.open("rb") as stream:
            return next(read_frames(stream), None)
    except FileNotFoundError:
        return None


def is_torn(start: bytes, available: int) -> bool:
    """Return whether the end of a frame was never written, so that the frame is not damaged.

    `start` is its header, or what the file has of that, perhaps nothing. `available` is the number
    of bytes from the start of the frame to the end of the file.
    """
    if len(start) < HEADER.size:
        return MAGIC.startswith(start[: len(MAGIC)])
    magic, length, _ = HEADER.unpack(start)
    return bool(magic == MAGIC and length > 0 and available - HEADER.size < length)


def unpack(payload: bytes, is_plain: bool = False) -> list[Block]:
    """Return the blocks of a payload. Objects that cannot be restored here are `StandIn`.

    With `is_plain`, no code of the user is run: see `psweep_dask.storage.plain`.

    Raises
    ------
    RecordError
        If a later version of this package has written it.
    """
    try:
        content: Any = (plain.loads if is_plain else loads_rows)(payload)
    except Exception as err:  # what a pickle raises that no version of this package has written
        raise RecordError(f"the journal is intact, but holds no records ({err!r})") from err
    if isinstance(content, list):
        return content
    if not isinstance(content, tuple):
        raise RecordError(f"the journal is intact, but holds no records: {content!r}")
    check_format(content[0], FORMAT, "a journal", RecordError)
    blocks: list[Block] = content[1]
    return blocks


def seqs_in(blocks: Iterable[Block]) -> set[int]:
    """Return the ``_pset_seq`` of all rows in blocks."""
    return {seq for names, columns in blocks for seq in columns[names.index("_pset_seq")]}
