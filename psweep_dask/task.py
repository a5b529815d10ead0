"""What happens on a worker: a slice of psets goes in, a frame of the journal comes out."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from psweep_dask import frame, record
from psweep_dask.capture import redirected
from psweep_dask.errors import PsweepError
from psweep_dask.layout import replace_file
from psweep_dask.pset import DIGEST_SIZE, RESERVED_FIELDS, Pset, pset_id
from psweep_dask.record import Record

Func = Callable[[Pset], dict[str, Any]]

MAX_SLICE_BYTES = 4 * 2**20
"""A slice ends when its results pass this size: the driver holds a few slices in memory."""

LOG_BASENAME = "logs.txt"

MAX_RESULT_BYTES = 3 * 2**30
"""The most that one result may hold: a frame of the journal ends at 4 GiB."""

# Types whose values cannot change and surely survive pickling.
_PLAIN = frozenset(
    {int, float, str, bool, type(None), complex, bytes}
    | {dt.datetime, dt.date, dt.timedelta, pd.Timestamp}
)


class BadResultError(PsweepError):
    """func returned something that cannot become a row."""


class Interrupt(KeyboardInterrupt):
    """Ctrl-C by the user, as opposed to a KeyboardInterrupt that func raises itself."""


@dataclass(frozen=True)
class Work:
    """What all slices of a run have in common; it travels once, or with each slice if small.

    Parameters
    ----------
    run_id, run_seq
        Of the run.
    calc_dir : str
        As the user passed it.
    func : bytes
        func, cloudpickled.
    cwd : str or None
        Where relative paths of func start; None leaves the worker where it is.
    import_paths : tuple of str
        Folders in which the driver finds modules.
    simulate : bool
        Do not call func.
    tmpsave : bool
        Write each row to a file of its own at once.
    capture_logs : {None, 'db', 'file', 'db+file'}
        Where the output of func goes.
    stop_after : int or None
        End a slice after so many failures.
    """

    run_id: str
    run_seq: int
    calc_dir: str
    func: bytes
    cwd: str | None = None
    import_paths: tuple[str, ...] = ()
    simulate: bool = False
    tmpsave: bool = False
    capture_logs: str | None = None
    stop_after: int | None = None


@dataclass(frozen=True)
class Failure:
    """One failed pset, to tell the user about at once.

    Parameters
    ----------
    kind : str
        Name of the exception's class.
    pset_seq : int
    pset : str
        The parameters, shortened for reading.
    exc_txt : str
        The traceback.
    exception : bytes
        The exception pickled, empty where that is impossible.
    """

    kind: str
    pset_seq: int
    pset: str
    exc_txt: str
    exception: bytes


@dataclass
class SliceResult:
    """What a worker hands back for a slice.

    Parameters
    ----------
    frame : bytes
        A frame of the journal with the records; the driver appends it unread.
    done : int
        How many psets of the slice were run, from its first on.
    seconds : float
        How long they took.
    failed : dict of str to int
        Number of failures by kind.
    examples : list of Failure
        The first failure of each kind.
    interrupted : bool
        The user pressed Ctrl-C during the pset after the last one done.
    """

    frame: bytes = b""
    done: int = 0
    seconds: float = 0.0
    failed: dict[str, int] = field(default_factory=dict)
    examples: list[Failure] = field(default_factory=list)
    interrupted: bool = False


def pack_slice(seqs: list[int], psets: list[Pset], digests: list[bytes]) -> bytes:
    """Pack psets for the way to a worker: one bytes object, so that dask does not look inside."""
    return record.dumps((seqs, b"".join(digests), psets))


def run_slice(work: bytes, digest: str, packed: bytes, budget: float) -> SliceResult:
    """Run psets one after the other until they are done or the time is up.

    Whatever func does becomes a record.

    Parameters
    ----------
    work : bytes
        A pickled `Work`.
    digest : str
        Names `work`, so that a worker unpacks it once.
    packed : bytes
        The psets, from `pack_slice`.
    budget : float
        Seconds; the slice ends after the pset during which they run out.

    Returns
    -------
    SliceResult
    """
    runner = _runner(work, digest)
    seqs, digests, psets = pickle.loads(packed)
    result = SliceResult()
    records: list[Record] = []
    size = 0
    started = time.perf_counter()
    for place, (seq, pset) in enumerate(zip(seqs, psets, strict=True)):
        sha1 = digests[place * DIGEST_SIZE : (place + 1) * DIGEST_SIZE].hex()
        try:
            outcome = runner.run_pset(pset, seq, sha1)
        except Interrupt:
            result.interrupted = True
            break
        records.append(outcome.record)
        size += outcome.size
        if outcome.failure:
            kind = outcome.failure.kind
            if kind not in result.failed:
                result.examples.append(outcome.failure)
            result.failed[kind] = result.failed.get(kind, 0) + 1
        result.seconds = time.perf_counter() - started
        if result.seconds >= budget or size > MAX_SLICE_BYTES or runner.enough(result):
            break
    result.done = len(records)
    result.frame = record.pack(records)
    return result


@dataclass
class Outcome:
    """What became of one pset: its record, the bytes that are not plain, why it failed."""

    record: Record
    size: int = 0
    failure: Failure | None = None


class Runner:
    """Runs the psets of one run on this worker.

    Parameters
    ----------
    work : Work
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self._host = socket.gethostname()
        self._func: Func | None = None
        self._broken: BaseException | None = None
        sys.path.extend(path for path in work.import_paths if path not in sys.path)
        try:
            self._func = None if work.simulate else pickle.loads(work.func)
        except Exception as err:  # a module that this machine lacks: the failure of each pset
            self._broken = err

    def enough(self, result: SliceResult) -> bool:
        """Tell whether a slice has failed often enough to end it."""
        stop_after = self.work.stop_after
        return stop_after is not None and sum(result.failed.values()) >= stop_after

    def run_pset(self, pset: Pset, seq: int, sha1: str) -> Outcome:
        """Call func for one pset and make its record, whatever func does.

        The record holds the pset as it was before func got its copy of it.
        """
        if self.work.cwd:  # an earlier pset may have gone elsewhere
            os.chdir(self.work.cwd)
        fields = self._seed_fields(seq, sha1)
        outcome = Outcome({**pset, **fields})
        error: BaseException | None = None
        logs: list[str] = []
        started = time.perf_counter()
        try:
            given = pset if _are_plain(pset.values()) else pickle.loads(record.dumps(pset))
            given = {**given, **fields, "_time_utc": pd.Timestamp(fields["_time_utc"])}
            outcome.size = self._merge_result(outcome.record, given, logs)
        except Interrupt:
            raise
        except BaseException as err:  # SystemExit and KeyboardInterrupt of func too
            error = err
        runtime = time.perf_counter() - started
        if error is not None:
            outcome.record = {**pset, **fields}
            outcome.failure = _failure(error, seq, pset)
        outcome.record |= {
            "_status": self._status(outcome.failure),
            "_exc_txt": outcome.failure.exc_txt if outcome.failure else None,
            "_exec_host": self._host,
            "_pset_runtime": runtime,
            "_attempt": 1,
        }
        if self.work.capture_logs in ("db", "db+file"):
            outcome.record["_logs"] = "".join(logs)
            outcome.size += len(outcome.record["_logs"])
        if self.work.tmpsave:
            self._save_row(outcome.record)
        return outcome

    def _seed_fields(self, seq: int, sha1: str) -> Record:
        work = self.work
        return {
            "_run_id": work.run_id,
            "_pset_id": pset_id(work.run_id, seq),
            "_calc_dir": work.calc_dir,
            "_time_utc": time.time_ns(),
            "_pset_sha1": sha1,
            "_pset_seq": seq,
            "_run_seq": work.run_seq,
        }

    def _status(self, failure: Failure | None) -> str:
        if failure:
            return "error"
        return "simulated" if self.work.simulate else "ok"

    def _merge_result(self, record: Record, pset: Pset, logs: list[str]) -> int:
        """Call func, merge its result into the record, and give the size of what is not plain."""
        if self.work.simulate:
            return 0
        if self._func is None:
            raise BadResultError(
                f"func cannot be loaded on {self._host}: {self._broken!r}"
            ) from None
        result = self._call(self._func, pset, logs)
        if not isinstance(result, dict):
            raise BadResultError(
                f"func must return a dict, not {type(result).__name__}: {_short(result)}"
            )
        size = 0
        for key, value in result.items():
            if key not in RESERVED_FIELDS:
                record[key], value_size = _packed(key, value)
                size += value_size
        if size > MAX_RESULT_BYTES:
            raise BadResultError(
                f"the result has {size} bytes, more than {MAX_RESULT_BYTES}; "
                "save it in calc/<pset_id>/ and return its path"
            )
        return size

    def _call(self, func: Func, pset: Pset, logs: list[str]) -> Any:
        how = self.work.capture_logs
        if how is None:
            return func(pset)
        with self._log_file(pset, to_file="file" in how) as log:
            try:
                with redirected(log):
                    return func(pset)
            finally:
                log.seek(0)
                logs.append(log.read().decode(errors="replace"))

    def _log_file(self, pset: Pset, to_file: bool) -> BinaryIO:
        if not to_file:
            return tempfile.TemporaryFile()
        folder = Path(pset["_calc_dir"], pset["_pset_id"])
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / LOG_BASENAME).open("w+b")

    def _save_row(self, one: Record) -> None:
        path = Path(one["_calc_dir"], "tmpsave", one["_run_id"], f"{one['_pset_id']}.pk")
        row = frame.from_blocks([(tuple(one), [[value] for value in one.values()])])
        data = record.dumps(row)
        replace_file(path, lambda stream: stream.write(data))


_runners: dict[str, Runner] = {}


def _runner(work: bytes, digest: str) -> Runner:
    runner = _runners.get(digest)
    if runner is None:
        runner = Runner(pickle.loads(work))
        _runners.clear()  # of an earlier run: its func may hold much memory
        _runners[digest] = runner
    return runner


def _packed(key: Any, value: Any) -> tuple[Any, int]:
    """Give what a record keeps of a value, and its size in bytes if it is not a number.

    The record must not share objects that func goes on to change for later psets.
    """
    if not isinstance(key, str | int):
        raise BadResultError(f"a key of the result is {_short(key)}; keys must be str")
    if type(value) in (str, bytes):
        return value, len(value)
    if type(value) is np.ndarray and not value.dtype.hasobject:
        return value.copy(), value.nbytes
    if _is_plain(value):
        return value, 0
    try:
        data = record.dumps(value)
        pickle.loads(data)  # some exceptions and others pickle, but cannot be restored
    except Exception as err:  # __reduce__ of any class may raise anything
        raise BadResultError(
            f"the value of key {key!r} of the result, {_short(value)} "
            f"({type(value).__name__}), cannot be pickled: {err!r}"
        ) from None
    return record.Packed(data), len(data)


def _are_plain(values: Iterable[Any]) -> bool:
    return _PLAIN.issuperset(map(type, values)) or all(map(_is_plain, values))


def _is_plain(value: Any) -> bool:
    return type(value) in _PLAIN or isinstance(value, np.generic)


def _failure(error: BaseException, seq: int, pset: Pset) -> Failure:
    _forget_own_frames(error)
    try:
        exception = record.dumps(error)
        pickle.loads(exception)
    except BaseException:  # one that cannot travel is told by its traceback alone
        exception = b""
    kind = type(error).__name__
    text = "".join(traceback.format_exception(error))
    return Failure(kind, seq, _short(pset), text, exception)


def _forget_own_frames(error: BaseException) -> None:
    """Let the traceback begin in func."""
    own = {__file__, sys.modules[redirected.__module__].__file__}
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in own:
        trace = trace.tb_next
    error.__traceback__ = trace


def _short(value: Any, limit: int = 200) -> str:
    try:
        text = repr(value)
    except Exception as err:  # a foreign __repr__ must not cost the message
        text = f"<{type(value).__name__} whose repr fails: {err!r}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."
