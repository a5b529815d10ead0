"""Rows that a worker keeps on disk itself, while a long pset holds up those before it in its slice.

Without these a driver that is killed would lose what has finished in slices that are under way, and
a worker that dies would have its slice run again as a whole. A file is there until its slice has
come home, or its run is over.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from psweep_dask.storage import record
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import Block, Record
from psweep_dask.worker.summary import summarize
from psweep_dask.worker.work import SliceResult, Work

log = logging.getLogger("psweep_dask")

LATE = 0.5
"""Seconds over its budget, or as many as that if it is longer, after which a slice is late: by then
nearly all slices are home, which end with the pset during which their budget runs out."""


def early_path(work: Work, first_seq: int) -> Path | None:
    """Name the file for a slice, by its first pset; None where the driver may see other files."""
    if work.cwd is None or work.simulate:
        return None
    folder = Layout(Path(work.cwd, work.calc_dir)).run_folder(work.run_id).early_dir
    return folder / f"{first_seq}.slice"


@contextmanager
def kept_when_late(
    result: SliceResult, records: list[Record], path: Path | None, budget: float
) -> Iterator[None]:
    """Write what there is by then to a file, if the block takes much longer than its budget.

    Parameters
    ----------
    result : SliceResult
        Counts the records; is told if there is a file.
    records : list of dict
        Grows meanwhile.
    path : Path or None
        None if nothing is to be written, as where there is no journal of the run.
    budget : float
        Seconds.
    """
    if path is None:
        yield
        return
    keeper = _Keeper(result, records, path)
    timer = threading.Timer(budget + max(LATE, budget), keeper.keep)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        keeper.end()


def read_early(path: Path) -> SliceResult | None:
    """Read what a worker has kept of a slice; None if there is nothing that can be read."""
    try:
        with path.open("rb") as stream:
            payload = next(record.read_frames(stream), None)
    except FileNotFoundError:
        return None
    except OSError as err:  # what is in there will be run again
        log.warning("%s cannot be read: %s", path, err)
        return None
    result: SliceResult | None = None if payload is None else SliceResult.unpack(payload)
    return result


def early_paths(folder: Path) -> list[Path]:
    """Find the files of slices that have not come home."""
    try:
        return sorted(one for one in folder.iterdir() if one.suffix == ".slice")
    except FileNotFoundError:  # none was late; or the run has ended just now
        return []


def early_blocks(folder: Path, known: set[int]) -> Iterator[Block]:
    """Read the rows in a folder of such files, but for psets that are known.

    Parameters
    ----------
    folder : Path
    known : set of int
        By their ``_pset_seq``; gets those that are given.

    Raises
    ------
    psweep_dask.storage.record.RecordError
        If a result in it cannot be restored in this process.
    """
    for result in map(read_early, early_paths(folder)):
        for names, columns in blocks_of(result):
            seqs = columns[names.index("_pset_seq")]
            new = [at for at, seq in enumerate(seqs) if seq not in known]
            known.update(seqs)
            if new:
                yield names, [[column[at] for at in new] for column in columns]


def blocks_of(result: SliceResult | None) -> list[Block]:
    """Give the rows of a result."""
    return [] if result is None else record.unpack(result.frame[record.HEADER.size :])


def seqs_of(result: SliceResult | None) -> set[int]:
    """Tell of which psets there are rows in a result."""
    return seqs_in(blocks_of(result))


def seqs_in(blocks: Iterable[Block]) -> set[int]:
    """Tell of which psets there are rows in blocks.

    Examples
    --------
    >>> sorted(seqs_in([(("a", "_pset_seq"), [["x", "y"], [7, 8]])]))
    [7, 8]
    """
    return {seq for names, columns in blocks for seq in columns[names.index("_pset_seq")]}


def forget_early(path: Path) -> None:
    """Remove a file whose rows are in the journal."""
    with contextlib.suppress(OSError):  # whose rows are known then, and left out
        path.unlink()


class _Keeper:
    """Writes once, or never after its end: a file must not come when its slice is home."""

    def __init__(self, result: SliceResult, records: list[Record], path: Path) -> None:
        self._result = result
        self._records = records
        self._path = path
        self._lock = threading.Lock()
        self._over = False

    def keep(self) -> None:
        with self._lock:
            records = list(self._records)
            journal = self._path.parents[1] / "journal"
            if self._over or not records or not journal.exists():
                return
            try:
                frame = record.to_frame(self._so_far(records).pack())
                replace_file(self._path, lambda stream: stream.write(frame))
                self._result.kept = True
            except Exception as err:  # they travel with their slice as well
                log.warning("rows are not kept before their slice ends: %r", err)

    def _so_far(self, records: list[Record]) -> SliceResult:
        return replace(
            self._result,
            frame=record.pack(records),
            statuses=Counter(one["_status"] for one in records),
            failed=Counter(self._result.failed),
            examples=list(self._result.examples),
            summary=summarize(records),
        )

    def end(self) -> None:
        with self._lock:
            self._over = True
