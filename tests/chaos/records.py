"""Records on disk, in journals and the database, read without the code that is tested."""

from __future__ import annotations

import pickle
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pandas as pd


def records_on_disk(calc: Path) -> dict[str, int]:
    """Return, by ``_pset_id``, the ``_pset_seq`` of all records in journals and the database."""
    seqs: dict[str, int] = {}
    for path in journals(calc):
        with suppress(FileNotFoundError):  # merged meanwhile
            seqs |= records_in(path.read_bytes())
    return seqs | records_in_database(calc)


def records_in_database(calc: Path) -> dict[str, int]:
    df = database(calc)
    return dict(zip(df["_pset_id"], df["_pset_seq"], strict=True))


def records_in(journal: bytes) -> dict[str, int]:
    return {pset_id: seq for _, records in frames_of(journal) for pset_id, seq in records.items()}


def frames_of(journal: bytes) -> list[tuple[int, dict[str, int]]]:
    """Return, for each whole frame, the offset of its end and its records."""
    frames = []
    start = 0
    while len(header := journal[start : start + 12]) == 12:
        magic, length, crc = struct.unpack("<4sII", header)
        payload = journal[start + 12 : start + 12 + length]
        if magic != b"PSW1" or not length or len(payload) < length or zlib.crc32(payload) != crc:
            break
        start += 12 + length
        records: dict[str, int] = {}
        for names, columns in pickle.loads(payload)[1]:
            block = dict(zip(names, columns, strict=True))
            records |= dict(zip(block["_pset_id"], block["_pset_seq"], strict=True))
        frames.append((start, records))
    return frames


def journals(calc: Path) -> list[Path]:
    return list(calc.glob("runs/*/journal"))


def database(calc: Path) -> pd.DataFrame:
    with suppress(FileNotFoundError):
        df = pd.read_pickle(calc / "database.pk")
        if len(df):
            return df
    return pd.DataFrame(columns=["_pset_id", "_pset_seq"])
