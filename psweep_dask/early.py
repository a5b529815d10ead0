"""Rows that a worker keeps on disk itself, while a long pset holds up those before it in its slice.

Without these a driver that is killed would lose what has finished in slices that are under way, and
a worker that dies would have its slice run again as a whole.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from psweep_dask import record
from psweep_dask.glimpse import glimpse_of
from psweep_dask.layout import Layout, replace_file
from psweep_dask.record import Block, Record
from psweep_dask.work import SliceResult, Work

log = logging.getLogger("psweep_dask")


@contextmanager
def kept_when_late(records: Sequence[Record], path: Path, seconds: float) -> Iterator[None]:
    """Write what `records` holds by then to a file, if the block takes longer.

    Parameters
    ----------
    records : sequence of dict
        Grows meanwhile.
    path : Path
        Becomes one frame, as in a journal; nothing is written where there is no folder of the run.
    seconds : float

    Examples
    --------
    >>> import tempfile
    >>> from time import sleep
    >>> with tempfile.TemporaryDirectory() as run:
    ...     path = Path(run, "early", "7.frame")
    ...     with kept_when_late([{"a": 1, "_pset_seq": 7}], path, seconds=0.01):
    ...         sleep(0.5)
    ...     list(early_blocks(path.parent, known=set()))
    [(('a', '_pset_seq'), [[1], [7]])]
    """
    keeper = _Keeper(records, path)
    timer = threading.Timer(seconds, keeper.keep)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        keeper.end()


def early_blocks(folder: Path, known: set[int]) -> Iterator[Block]:
    """Read what workers have kept in a folder, but for psets that are known.

    Parameters
    ----------
    folder : Path
    known : set of int
        By their ``_pset_seq``; gets those that are given.

    Raises
    ------
    psweep_dask.record.RecordError
        If a result in it cannot be restored in this process.
    """
    for path in sorted(folder.glob("[!.]*")):
        try:
            data = path.open("rb")
        except FileNotFoundError:  # merged meanwhile
            continue
        with data:
            for payload in record.read_frames(data):
                for names, columns in record.unpack(payload):
                    seqs = columns[names.index("_pset_seq")]
                    new = [at for at, seq in enumerate(seqs) if seq not in known]
                    known.update(seqs)
                    if new:
                        yield names, [[column[at] for at in new] for column in columns]


def early_dir(work: Work) -> Path | None:
    """Tell the folder for such rows of a run; None where driver and workers may see other files."""
    if work.cwd is None or work.simulate:
        return None
    return Layout(Path(work.cwd, work.calc_dir)).early_dir(work.run_id)


def kept_by_worker(folder: Path | None, seqs: Collection[int]) -> tuple[SliceResult, list[int]]:
    """Give what a worker has kept of a slice that was lost with it, and of which psets that is.

    Only what is "ok": psets that have failed are tried again with the others.

    Parameters
    ----------
    folder : Path or None
    seqs : collection of int
        The psets of the slice.
    """
    if folder is None:
        return SliceResult(), []
    records = [
        one
        for names, columns in early_blocks(folder, known=set())
        for one in (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        if one["_pset_seq"] in seqs and one["_status"] == "ok"
    ]
    if not records:
        return SliceResult(), []
    result = SliceResult(record.pack(records), glimpse=glimpse_of(records))
    result.statuses["ok"] = len(records)
    return result, [one["_pset_seq"] for one in records]


class _Keeper:
    """Writes once, or never after its end: a file must not come when its run is over."""

    def __init__(self, records: Sequence[Record], path: Path) -> None:
        self._records = records
        self._path = path
        self._lock = threading.Lock()
        self._over = False

    def keep(self) -> None:
        with self._lock:
            records = list(self._records)
            if self._over or not records or not self._path.parent.parent.is_dir():
                return
            try:
                frame = record.pack(records)
                replace_file(self._path, lambda stream: stream.write(frame))
            except OSError as err:  # they travel with their slice as well
                log.warning("rows are not kept before their slice ends: %s", err)

    def end(self) -> None:
        with self._lock:
            self._over = True
