"""The dask task on a worker: a slice of psets goes in, a frame of the journal comes out."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from psweep_dask.params.pset import DIGEST_SIZE, Pset
from psweep_dask.storage import pickling, record
from psweep_dask.storage.record import Record
from psweep_dask.worker import runner as runner_module
from psweep_dask.worker.early_rows import early_path, read_early_file, write_if_late
from psweep_dask.worker.runner import Interrupt, LoadError, Runner
from psweep_dask.worker.summary import summarize
from psweep_dask.worker.work import Failure, SliceResult, Work


class Turn:
    """Lets a process run so many slices at a time, also if dask sends it more.

    dask does that while func waits for tasks of its own: its thread does not count then. The
    slices that came before their turn must not keep the threads that those tasks need.

    Parameters
    ----------
    slots : int
        How many slices may run at the same time.
    step_aside, step_back : callable
        Called before and after a slice waits for its turn: in between its thread does not count.
    """

    def __init__(
        self, slots: int, step_aside: Callable[[], object], step_back: Callable[[], object]
    ) -> None:
        self._free = threading.Semaphore(slots)
        self._step_aside = step_aside
        self._step_back = step_back

    def __enter__(self) -> None:
        if not self._free.acquire(blocking=False):
            self._step_aside()
            self._free.acquire()
            self._step_back()

    def __exit__(self, *_: object) -> None:
        self._free.release()


turn: AbstractContextManager[object] = nullcontext()
"""A `Turn` where dask may send several slices. Each slice runs within it."""

MAX_SLICE_BYTES = 4 * 2**20
"""A slice ends when its results have more bytes: the driver holds a few slices in memory."""


@dataclass(frozen=True)
class SlicePayload:
    """The psets of a slice, on their way to a worker."""

    seqs: list[int]  # their _pset_seq
    psets: list[Pset]
    digests: bytes  # their sha1 digests one after the other
    attempts: dict[int, int] = field(default_factory=dict)  # number by place, if not the first
    spare: frozenset[int] = frozenset()  # places of psets that have further attempts after this

    def pack(self) -> bytes:
        """Return it as one bytes object, so that dask does not look for tasks inside."""
        return pickling.dumps((self.seqs, self.psets, self.digests, self.attempts, self.spare))

    @classmethod
    def unpack(cls, packed: bytes) -> SlicePayload:
        """Undo `pack`."""
        return cls(*pickle.loads(packed))


def run_slice(work: bytes, digest: str, packed: bytes, budget: float) -> SliceResult:
    """Run psets one after the other until they are done or the time is up.

    Whatever func does becomes a record.

    Parameters
    ----------
    work : bytes
        A packed `Work`.
    digest : str
        Names `work`: the worker unpacks it only if the slice before had another one.
    packed : bytes
        A packed `SlicePayload`.
    budget : float
        Seconds. The slice ends with the pset during which they run out.
    """
    with turn:
        try:
            runner = _runner(work, digest)
        except LoadError as err:
            return SliceResult(load_error=str(err))
        try:
            result = run_psets(runner, packed, budget)
            runner.process_state.mend()
        except BaseException as err:  # func has broken something that this package needs
            if runner_module.activity_file is None:
                raise
            runner_module.activity_file.end_process(
                f"psweep_dask cannot go on in it ({err!r:.500})"
            )
        return result


def run_psets(
    runner: Runner,
    packed: bytes,
    budget: float,
    stopped: Callable[[], bool] = lambda: False,
) -> SliceResult:
    """Do what `run_slice` does, with a runner.

    `stopped` is called after each pset: the slice ends if it returns True.
    """
    payload = SlicePayload.unpack(packed)
    path = early_path(runner.work, payload.seqs[0]) if len(payload.seqs) > 1 else None
    result, records = _seen(runner, payload, path)
    try:
        with write_if_late(result, records, path, budget):
            _run(runner, payload, budget, stopped, result, records)
    except Interrupt:
        result.interrupted = True
    if records:
        result.frame = record.pack(records)
        result.summary = summarize(records)
    return result


def _seen(
    runner: Runner, payload: SlicePayload, path: Path | None
) -> tuple[SliceResult, list[Record]]:
    """Return the rows of a slice that a lost worker has left in files, and the result with them.

    `ps.load` has shown these rows. So they stay as they are, and their psets do not run again.
    """
    result, records = SliceResult(), []
    early = read_early_file(path) if path is not None and path.exists() else None
    if early is not None and early.seqs() <= set(payload.seqs):
        result = SliceResult(
            statuses=early.statuses,
            failed=early.failed,
            examples=early.examples,
            has_early_file=True,
        )
        records = [
            dict(zip(names, cells, strict=True))
            for names, columns in early.blocks()
            for cells in zip(*columns, strict=True)
        ]
    if runner.work.tmpsave:
        known = {row["_pset_seq"] for row in records}
        for seq, pset in zip(payload.seqs, payload.psets, strict=True):
            if seq not in known and (row := runner.saved_row(pset, seq)) is not None:
                records.append(row)
                result.count(row["_status"], Failure.of_row(row, pset))
    return result, records


def _run(
    runner: Runner,
    payload: SlicePayload,
    budget: float,
    stopped: Callable[[], bool],
    result: SliceResult,
    records: list[Record],
) -> None:
    size = 0
    stop_after = runner.work.stop_after
    seen = {row["_pset_seq"] for row in records}
    started = time.perf_counter()
    for place, (seq, pset) in enumerate(zip(payload.seqs, payload.psets, strict=True)):
        if seen and seq in seen:
            result.done += 1
            continue
        sha1 = payload.digests[place * DIGEST_SIZE : (place + 1) * DIGEST_SIZE].hex()
        pset_result = runner.run_pset(pset, seq, sha1, payload.attempts.get(place, 1))
        result.done += 1
        if pset_result.failure is not None and place in payload.spare:
            result.again.append(place)
        else:
            records.append(pset_result.record)
            result.count(pset_result.record["_status"], pset_result.failure)
            size += pset_result.size
            result.trouble = _save_row(runner, pset_result.record)
        result.seconds = time.perf_counter() - started
        if (
            result.seconds >= budget
            or size > MAX_SLICE_BYTES
            or result.trouble
            or (stop_after is not None and result.failed.total() >= stop_after)
            or stopped()
        ):
            return


def _save_row(runner: Runner, row: Record) -> str:
    """Write the file of a row with tmpsave=True; return why that failed, or ""."""
    if runner.work.tmpsave:
        try:
            runner.save_row(row)
        except OSError as err:
            return f"tmpsave=True cannot write its file: {err}"
    return ""


_runners: dict[str, Runner] = {}
"""The runner of the slice before, by the digest of its work."""


def _runner(work: bytes, digest: str) -> Runner:
    runner = _runners.get(digest)
    if runner is None:
        runner = Runner(Work.unpack(work))
        _runners.clear()  # of an earlier run: its func may hold much memory
        _runners[digest] = runner
    return runner
