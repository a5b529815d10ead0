"""From one pset to its record, whatever func does."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import socket
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from psweep_dask._format import short_repr, short_text
from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import RESERVED_FIELDS, Pset, is_utf8
from psweep_dask.storage import frame, pickling
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import Record
from psweep_dask.worker.activity import ActivityFile
from psweep_dask.worker.capture import redirected
from psweep_dask.worker.work import Failure, Func, Work, our_fields

own_activity: ActivityFile | None = None
"""Where this process tells what it is running, if somebody watches over it."""

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


@dataclass
class Evaluation:
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
        self._run = uuid.UUID(work.run_id).bytes
        self._pid = os.getpid()
        self._func: Func | None = None
        self._broken: BaseException | None = None
        self._layout = Layout(Path(work.cwd or "", work.calc_dir))  # func may go elsewhere
        sys.path.extend(path for path in work.import_paths if path not in sys.path)
        try:
            self._func = None if work.simulate else work.load_func()
        except Exception as err:  # a module that this machine lacks: the failure of each pset
            self._broken = err

    def run_pset(self, pset: Pset, seq: int, sha1: str, attempt: int = 1) -> Evaluation:
        """Call func for one pset and make its record, whatever func does.

        The record holds the pset as it was before func got its copy of it.
        """
        if own_activity is None:
            return self._run_pset(pset, seq, sha1, attempt)
        own_activity.begin(self._run, seq, self.work.timeout)
        try:
            return self._run_pset(pset, seq, sha1, attempt)
        finally:
            own_activity.end()

    def save_row(self, one: Record) -> None:
        """Write a record to a file of its own, for tmpsave=True."""
        row = frame.from_blocks([(tuple(one), [[value] for value in one.values()])])
        data = pickling.dumps(row)
        path = self._layout.tmpsave_path(one["_run_id"], one["_pset_id"])
        replace_file(path, lambda stream: stream.write(data))

    def _run_pset(self, pset: Pset, seq: int, sha1: str, attempt: int) -> Evaluation:
        if self.work.cwd:  # an earlier pset may have gone elsewhere
            os.chdir(self.work.cwd)
        fields = self.work.seed_fields(seq, sha1)
        evaluation = Evaluation({**pset, **fields})
        error: BaseException | None = None
        logs: list[str] = []
        started = time.perf_counter()
        try:
            given = pset if _are_plain(pset.values()) else pickle.loads(pickling.dumps(pset))
            given = {**given, **fields, "_time_utc": pd.Timestamp(fields["_time_utc"])}
            evaluation.size = self._merge_result(evaluation.record, given, logs)
        except Interrupt:
            raise
        except BaseException as err:  # SystemExit and KeyboardInterrupt of func too
            error = err
        runtime = time.perf_counter() - started
        if os.getpid() != self._pid:  # func has forked, and returned in the child too
            os._exit(0)
        if error is not None:
            evaluation.record = {**pset, **fields}
            evaluation.failure = _failure(error, seq, pset)
        exc_txt = evaluation.failure.exc_txt if evaluation.failure else None
        status = self._status(evaluation.failure)
        evaluation.record |= our_fields(status, exc_txt, self._host, runtime, attempt)
        if self.work.capture_logs in ("db", "db+file"):
            evaluation.record["_logs"] = "".join(logs)
            evaluation.size += len(evaluation.record["_logs"])
        return evaluation

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
                f"func must return a dict, not {type(result).__name__}: {short_repr(result)}"
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
        logs_path = self._layout.pset_folder(pset["_pset_id"]).logs_path
        logs_path.parent.mkdir(parents=True, exist_ok=True)
        log: BinaryIO = logs_path.open("w+b")
        return log


def _packed(key: Any, value: Any) -> tuple[Any, int]:
    """Give what a record keeps of a value, and its size in bytes if it is not a number.

    The record must not share objects that func goes on to change for later psets.
    """
    if not isinstance(key, str | int):
        raise BadResultError(f"a key of the result is {short_repr(key)}; keys must be str")
    if isinstance(key, str) and not is_utf8(key):
        raise BadResultError(f"the key {key!r} of the result cannot be written as UTF-8; rename it")
    if type(value) in (str, bytes):
        return value, len(value)
    if type(value) is np.ndarray and not value.dtype.hasobject:
        return value.copy(), value.nbytes
    if _is_plain(value):
        return value, 0
    try:
        data = pickling.dumps(value)
        pickle.loads(data)  # some exceptions and others pickle, but cannot be restored
    except Exception as err:  # __reduce__ of any class may raise anything
        raise BadResultError(
            f"the value of key {key!r} of the result, {short_repr(value)} "
            f"({type(value).__name__}), cannot be pickled: {err!r}"
        ) from None
    return pickling.Packed(data), len(data)


def _are_plain(values: Iterable[Any]) -> bool:
    return _PLAIN.issuperset(map(type, values)) or all(map(_is_plain, values))


def _is_plain(value: Any) -> bool:
    # An element of a structured array is a view, which changes with the array.
    return type(value) in _PLAIN or (
        isinstance(value, np.generic) and not isinstance(value, np.void)
    )


def _failure(error: BaseException, seq: int, pset: Pset) -> Failure:
    _forget_own_frames(error)
    try:
        exception = pickling.dumps(error)
        pickle.loads(exception)
    except BaseException:  # one that cannot travel is told by its traceback alone
        exception = b""
    text = "".join(traceback.format_exception(error))
    return Failure(type(error).__name__, seq, short_repr(pset), text, _headline(error), exception)


def _headline(error: BaseException) -> str:
    """Name the class of an exception, and the first line of its message."""
    try:
        lines = str(error).splitlines()
    except Exception:  # a foreign __str__ must not cost the row
        lines = []
    first = next(filter(str.strip, lines), "").strip()
    return short_text(f"{type(error).__name__}: {first}" if first else type(error).__name__)


def _forget_own_frames(error: BaseException) -> None:
    """Let the traceback begin in func."""
    own = {__file__, sys.modules[redirected.__module__].__file__}
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in own:
        trace = trace.tb_next
    error.__traceback__ = trace
