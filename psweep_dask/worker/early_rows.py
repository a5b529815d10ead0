"""Rows that a worker writes to a file itself, while a long pset holds up the others of its slice.

A slice comes back to the driver as a whole. So without the file, rows that have finished would be
lost with a killed driver, and be run again after a lost worker. An example:

- 0.0 s: a worker begins a slice of 12 psets with a budget of 0.5 s.
- 0.4 s: 9 psets are done. The 10th begins, and takes a minute.
- 0.5 s: the budget is used up. The slice will end with the 10th pset, and the other two go back.
- 1.0 s: the slice is late. The worker writes the 9 rows to ``runs/<run_id>/early/``.

Then one of these happens:

- The slice comes back: the driver appends its 10 rows to the journal, and removes the file.
- The driver is killed: `ps.load` reads the 9 rows from the file, `ps.resume` runs psets 10 to 12.
- The worker is lost: the driver appends the 9 rows to the journal, and removes the file. If the
  nanny of the worker reports that pset 10 was running, that pset has failed (see
  `psweep_dask.worker.failures`). All others of 10 to 12 are handed out again.
- The user drops what runs, by a second Ctrl-C: the driver appends the 9 rows to the journal.

A file needs a journal and a folder that worker and driver both see. A slice of one pset has none.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from psweep_dask.storage import record
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout, RunFolder
from psweep_dask.storage.record import Block, Record
from psweep_dask.worker.summary import summarize
from psweep_dask.worker.work import SliceResult, Work

log = logging.getLogger("psweep_dask")

LATE_SECONDS = 0.5
"""A slice is late when it has taken so much longer than its budget, or twice its budget if that is
more. By then nearly all slices have ended."""


def early_dir(work: Work) -> Path | None:
    """Return the folder for the files of a run; None where the driver may not see them."""
    if work.cwd is None or work.simulate:
        return None
    return Layout(Path(work.cwd, work.calc_dir)).run_folder(work.run_id).early_dir


def early_path(work: Work, first_seq: int) -> Path | None:
    """Return the path of the file for a slice, which is named by the ``_pset_seq`` of its first."""
    folder = early_dir(work)
    return None if folder is None else folder / f"{first_seq}.slice"


@contextmanager
def write_if_late(
    result: SliceResult, records: list[Record], path: Path | None, budget: float
) -> Iterator[None]:
    """If the block takes too long, write the records that there are by then to a file.

    The block appends to `records`, and counts them in `result`, whose ``has_early_file`` is set if
    a file is written. Without a `path`, no file is. The budget is in seconds.
    """
    if path is None:
        yield
        return
    writer = _EarlyFileWriter(result, records, path)
    timer = threading.Timer(budget + max(LATE_SECONDS, budget), writer.write)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        writer.close()


def read_early_file(path: Path, is_plain: bool = False) -> SliceResult | None:
    """Return the part of a slice that is in a file; None if the file is missing or damaged.

    With `is_plain`, no code of the user is run.

    Raises
    ------
    RecordError
        If a later version of this package has written it.
    """
    try:
        payload = record.read_payload(path)
    except OSError as err:
        log.warning("%s cannot be read, its psets will run again: %s", path, err)
        return None
    return None if payload is None else SliceResult.unpack(payload, is_plain)


def early_paths(folder: Path) -> list[Path]:
    """Return the paths of the files in a folder, which need not exist."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".slice")
    except FileNotFoundError:  # no slice was late; or the run has ended just now
        return []


def early_blocks(folder: Path, known: set[int], is_plain: bool = False) -> Iterator[Block]:
    """Yield the rows of all files in a folder, but for psets that are known.

    `known` has their ``_pset_seq``; those that are yielded are added. With `is_plain`, no code of
    the user is run.

    Raises
    ------
    RecordError
        If a later version of this package has written a file.
    """
    for path in early_paths(folder):
        result = read_early_file(path, is_plain)
        for names, columns in [] if result is None else result.blocks(is_plain):
            seqs = columns[names.index("_pset_seq")]
            new = [place for place, seq in enumerate(seqs) if seq not in known]
            known.update(seqs)
            if new:
                yield names, [[column[place] for place in new] for column in columns]


def remove_early_file(path: Path) -> None:
    """Remove a file whose rows are in the journal."""
    with suppress(OSError):  # its psets are known then, so nobody reads them from there
        path.unlink()


class _EarlyFileWriter:
    """Writes the file of a slice, but not after `close`: the slice is on its way back then."""

    def __init__(self, result: SliceResult, records: list[Record], path: Path) -> None:
        self._result = result
        self._records = records
        self._path = path
        self._lock = threading.Lock()
        self._closed = False

    def write(self) -> None:
        with self._lock:
            records = list(self._records)
            run_has_journal = RunFolder(self._path.parents[1]).journal_path.exists()
            if self._closed or not records or not run_has_journal:
                return
            try:
                result = replace(
                    self._result,
                    frame=record.pack(records),
                    statuses=Counter(row["_status"] for row in records),
                    failed=Counter(self._result.failed),
                    examples=list(self._result.examples),
                    summary=summarize(records),
                )
                frame = record.to_frame(result.pack())
                replace_file(self._path, lambda stream: stream.write(frame))
                self._result.has_early_file = True
            except Exception as err:  # the rows will come back with their slice
                log.warning("rows are not kept before their slice ends: %r", err)

    def close(self) -> None:
        with self._lock:
            self._closed = True
