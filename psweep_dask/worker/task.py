"""What happens on a worker: a slice of psets goes in, a frame of the journal comes out."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from psweep_dask.params.pset import DIGEST_SIZE, Pset
from psweep_dask.storage import pickling, record
from psweep_dask.storage.record import Record
from psweep_dask.worker.early_rows import early_path, kept_when_late
from psweep_dask.worker.runner import Interrupt, Runner
from psweep_dask.worker.summary import summarize
from psweep_dask.worker.work import SliceResult, Work

MAX_SLICE_BYTES = 4 * 2**20
"""A slice ends when its results pass this size: the driver holds a few slices in memory."""


@dataclass(frozen=True)
class Load:
    """The psets of one slice.

    Parameters
    ----------
    seqs : list of int
    psets : list of dict
    digests : bytes
        Their hashes one after the other.
    attempts : dict of int to int
        The number of the attempt by place in the slice, where it is not the first.
    spare : frozenset of int
        Places of psets that have attempts left if this one fails.
    """

    seqs: list[int]
    psets: list[Pset]
    digests: bytes
    attempts: dict[int, int] = field(default_factory=dict)
    spare: frozenset[int] = frozenset()

    def pack(self) -> bytes:
        """Pack it for the way to a worker: one bytes object, so that dask does not look inside."""
        return pickling.dumps((self.seqs, self.psets, self.digests, self.attempts, self.spare))

    @classmethod
    def unpack(cls, packed: bytes) -> Load:
        """Undo `pack`."""
        return cls(*pickle.loads(packed))


def run_slice(
    work: bytes,
    digest: str,
    packed: bytes,
    budget: float,
    stopped: Callable[[], bool] = lambda: False,
) -> SliceResult:
    """Run psets one after the other until they are done or the time is up.

    Whatever func does becomes a record.

    Parameters
    ----------
    work : bytes
        A packed `psweep_dask.worker.work.Work`.
    digest : str
        Names `work`, so that a worker unpacks it once.
    packed : bytes
        A packed `Load`.
    budget : float
        Seconds; the slice ends after the pset during which they run out. If that takes long, what
        has finished before it is kept on disk meanwhile, where the driver can see it.
    stopped : callable, optional
        Tells after each pset whether the slice shall end.

    Returns
    -------
    SliceResult
    """
    runner = _runner(work, digest)
    load = Load.unpack(packed)
    result = SliceResult()
    records: list[Record] = []
    path = early_path(runner.work, load.seqs[0]) if len(load.seqs) > 1 else None
    try:
        with kept_when_late(result, records, path, budget):
            _run(runner, load, budget, stopped, result, records)
    except Interrupt:
        result.interrupted = True
    if records:
        result.frame = record.pack(records)
        result.summary = summarize(records)
    return result


def _run(
    runner: Runner,
    load: Load,
    budget: float,
    stopped: Callable[[], bool],
    result: SliceResult,
    records: list[Record],
) -> None:
    size = 0
    started = time.perf_counter()
    for place, (seq, pset) in enumerate(zip(load.seqs, load.psets, strict=True)):
        sha1 = load.digests[place * DIGEST_SIZE : (place + 1) * DIGEST_SIZE].hex()
        outcome = runner.run_pset(pset, seq, sha1, load.attempts.get(place, 1))
        result.done += 1
        if outcome.failure is not None and place in load.spare:
            result.again.append(place)
        else:
            records.append(outcome.record)
            result.count(outcome.record["_status"], outcome.failure)
            size += outcome.size
            result.trouble = _keep(runner, outcome.record)
        result.seconds = time.perf_counter() - started
        if (
            result.seconds >= budget
            or size > MAX_SLICE_BYTES
            or result.trouble
            or _failed_enough(runner, result)
            or stopped()
        ):
            return


def _keep(runner: Runner, one: Record) -> str:
    if runner.work.tmpsave:
        try:
            runner.save_row(one)
        except OSError as err:
            return f"tmpsave=True cannot write its file: {err}"
    return ""


def _failed_enough(runner: Runner, result: SliceResult) -> bool:
    stop_after = runner.work.stop_after
    return stop_after is not None and result.failed.total() >= stop_after


_runners: dict[str, Runner] = {}


def _runner(work: bytes, digest: str) -> Runner:
    runner = _runners.get(digest)
    if runner is None:
        runner = Runner(Work.unpack(work))
        _runners.clear()  # of an earlier run: its func may hold much memory
        _runners[digest] = runner
    return runner
