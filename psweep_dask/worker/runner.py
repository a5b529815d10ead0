"""Calls func with a pset, and makes a record of it whatever func does."""

from __future__ import annotations

import datetime as dt
import logging
import os
import pickle
import socket
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from psweep_dask._format import cut_middle, short_repr, short_text
from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import RESERVED_FIELDS, Pset, is_utf8, pset_id
from psweep_dask.storage import frame, pickling
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.record import Record
from psweep_dask.worker import own_modules, process_settings
from psweep_dask.worker.activity import ActivityFile
from psweep_dask.worker.capture import redirected
from psweep_dask.worker.process_state import ProcessState
from psweep_dask.worker.work import Failure, Func, Work, WorkerProcess, fields_at_end

log = logging.getLogger("psweep_dask")

activity_file: ActivityFile | None = None
"""In it this process notes which pset it runs. Set where a process has a monitor."""

MAX_RESULT_BYTES = 3 * 2**30
"""The most that one result may have: a frame of the journal can hold 4 GiB."""

MAX_TRACEBACK_CHARACTERS = 2**20
"""The most that a row keeps of a traceback: its beginning and its end."""

SHOWN_CHARACTERS = 20_000
"""The most that log and dashboard show of it."""

CHECK_SECONDS = 1e-3
"""After a pset that has run longer, its process is looked at; this takes some microseconds."""

HEADLINE_CHARACTERS = 10_000
"""The first line of the message of an exception is looked for in so many."""

FUNC_FIELDS = frozenset({"_exc_txt", "_logs", "_exec_host"})
"""Reserved columns in which func may put something of its own, if its pset does not fail."""

# Types whose values cannot change and can surely be pickled.
_PLAIN_TYPES = frozenset(
    {int, float, str, bool, type(None), complex, bytes}
    | {dt.datetime, dt.date, dt.timedelta, pd.Timestamp}
)


_FUTURE = ("distributed.client", "Future")


class BadResultError(PsweepError):
    """What func has returned cannot become a row."""


class Interrupt(KeyboardInterrupt):
    """Ctrl-C by the user. A KeyboardInterrupt that func raises is another class."""


@dataclass
class PsetResult:
    """The result of one pset."""

    record: Record
    size: int = 0  # bytes of the result, numbers not counted
    failure: Failure | None = None
    in_broken_process: bool = False  # it failed, perhaps by what an earlier pset had done


class LoadError(PsweepError):
    """func, or one of its modules, cannot be loaded in this process."""


class Runner:
    """Runs the psets of one run in this process.

    Parameters
    ----------
    work : Work
    func : callable, optional
        The func itself. By default it is restored from `work`, in a process that then takes over
        the settings of the script.

    Raises
    ------
    LoadError
        If it cannot be restored here.
    """

    def __init__(self, work: Work, func: Func | None = None) -> None:
        self.work = work
        self._process = WorkerProcess(socket.gethostname(), os.getpid())
        self._process_fields = self._process.fields()
        self._run = uuid.UUID(work.run_id).bytes
        self._layout = Layout(Path(work.cwd or "", work.calc_dir))  # func may go elsewhere
        self._func = None if work.simulate else func or self._load_func()
        # A pset of a run that func makes by cluster="sync" is a part of the pset that is noted.
        self._is_noted = func is None
        self.process_state = ProcessState()

    def _load_func(self) -> Func:
        work = self.work
        process_settings.apply(work.log_settings, work.environment, work.start_method)
        try:
            work.check_python()
            own_modules.add_import_paths(work.import_paths)
            own_modules.set_values(work.module_values)
            func = work.load_func()
            if work.start_method == "fork":  # else such a process does not have this __main__
                own_modules.set_in_main(func)
            return func
        except Exception as err:  # whatever a module of the user raises when it is imported
            raise LoadError(
                f"func cannot be loaded on {self._process.host}: {err!r}. Its modules must be "
                "importable there by their names, under the same version of Python: install them, "
                "or put them beside the script"
            ) from err

    def run_pset(self, pset: Pset, seq: int, sha1: str, attempt: int = 1) -> PsetResult:
        """Call func with a pset, and return its record whatever func does.

        The record of a pset that fails holds it as it was before func got a copy of it.

        Raises
        ------
        Interrupt
            If the user drops the pset by Ctrl-C.
        """
        # The cluster may take the file away before func has ended.
        noted_in = activity_file if self._is_noted else None
        if noted_in is not None:
            noted_in.begin(self._run, seq, self.work.timeout)
        result = self._run_pset(pset, seq, sha1, attempt)
        if result.in_broken_process:
            result = self._run_pset(pset, seq, sha1, attempt)
        if result.record["_pset_runtime"] > CHECK_SECONDS:
            self.process_state.mend()
        if noted_in is not None:  # if something of ours has failed, the monitor sees at which pset
            noted_in.end()
        return result

    def save_row(self, row: Record) -> None:
        """Write a record to a file of its own, for tmpsave=True."""
        df = frame.from_blocks([(tuple(row), [[value] for value in row.values()])])
        data = pickling.dumps(df)
        path = self._layout.tmpsave_path(row["_run_id"], row["_pset_id"])
        replace_file(path, lambda stream: stream.write(data))

    def saved_row(self, pset: Pset, seq: int) -> Record | None:
        """Return the record that `save_row` has written for a pset; None if there is none."""
        path = self._layout.tmpsave_path(self.work.run_id, pset_id(self.work.run_id, seq))
        try:
            df = pickling.loads(path.read_bytes())
            row = {name: _of_cell(df[name].iloc[0]) for name in df.columns}
            return {**row, **pset, "_time_utc": df.index[0].value}
        except FileNotFoundError:
            return None
        except Exception as err:  # of a file of another version, or of a class of the user
            log.warning("%s cannot be read, its pset will run again: %r", path, err)
            return None

    def _run_pset(self, pset: Pset, seq: int, sha1: str, attempt: int) -> PsetResult:
        if self.work.cwd:  # an earlier pset may have gone elsewhere
            os.chdir(self.work.cwd)
        fields = self.work.fields_at_start(seq, sha1)
        result = PsetResult({**pset, **fields})
        error: BaseException | None = None
        logs: list[str] = []
        of_func: Record = {}
        started = time.perf_counter()
        try:
            copy = pset if _are_plain(pset.values()) else pickle.loads(pickling.dumps(pset))
            given = {
                **fields,
                "_time_utc": pd.Timestamp(fields["_time_utc"]),
                **self._process_fields,
            }
            before = {**pset, **given}
            given = {**copy, **given}
            result.size, of_func = self._add_result(result.record, given, before, logs)
        except Interrupt:
            raise
        except BaseException as err:  # SystemExit and KeyboardInterrupt of func too
            error = err
        runtime = time.perf_counter() - started
        if os.getpid() != self._process.pid:  # func has forked, and returned in the child too
            os._exit(0)
        if error is not None:
            result.record = {**pset, **fields}
            result.in_broken_process = self.process_state.mend()
            result.failure = _failure(error, seq, pset)
        exc_txt = None
        if result.failure is not None:
            exc_txt = cut_middle(result.failure.exc_txt, MAX_TRACEBACK_CHARACTERS)
            shown = cut_middle(exc_txt, SHOWN_CHARACTERS)
            result.failure = replace(result.failure, exc_txt=shown)
        status = "error" if result.failure else "simulated" if self.work.simulate else "ok"
        result.record |= fields_at_end(status, exc_txt, self._process, runtime, attempt)
        if self.work.capture_logs in ("db", "db+file"):
            result.record["_logs"] = "".join(logs)
            result.size += len(result.record["_logs"])
        result.record |= of_func
        return result

    def _add_result(
        self, record: Record, pset: Pset, before: Pset, logs: list[str]
    ) -> tuple[int, Record]:
        """Call func, and add what it returns to the record.

        What func has changed in its `pset`, which was equal to `before`, counts as returned.
        Return the size of the result in bytes, and what it has for reserved columns.
        """
        if self._func is None:
            return 0, {}
        result = self._call(self._func, pset, logs)
        if not isinstance(result, dict):
            raise BadResultError(
                f"func must return a dict, not {type(result).__name__}: {short_repr(result)}"
            )
        size = 0
        of_func: Record = {}
        for key, value in (result if _are_equal(pset, before) else {**pset, **result}).items():
            if key in before and _is_same(value, before[key]):
                continue
            if key in RESERVED_FIELDS and key not in FUNC_FIELDS:
                raise BadResultError(f"the key {key!r} of the result is reserved; rename it")
            kept, value_size = _checked(key, value)
            (of_func if key in FUNC_FIELDS else record)[key] = kept
            size += value_size
        if size > MAX_RESULT_BYTES:
            raise BadResultError(
                f"the result has {size} bytes, more than {MAX_RESULT_BYTES}; "
                "save it in calc/<pset_id>/ and return its path"
            )
        return size, of_func

    def _call(self, func: Func, pset: Pset, logs: list[str]) -> Any:
        capture_logs = self.work.capture_logs
        if capture_logs is None:
            return func(pset)
        with self._log_file(pset, to_file="file" in capture_logs) as log:
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
        return logs_path.open("w+b")


def _is_same(value: Any, before: Any) -> bool:
    """Return whether func has left a value as it was; if in doubt, False."""
    if value is before:
        return True
    if type(value) is not type(before):
        return False
    return np.array_equal(value, before) if _is_array(value) else _are_equal(value, before)


def _are_equal(value: Any, other: Any) -> bool:
    try:
        return bool(value == other)
    except Exception:  # of arrays, or whatever a foreign __eq__ raises
        return False


def _of_cell(value: Any) -> Any:
    is_number = isinstance(value, np.int64 | np.float64 | np.bool_)
    return value.item() if is_number else value


def _is_array(value: Any) -> bool:
    return type(value) is np.ndarray


def _checked(key: Any, value: Any) -> tuple[Any, int]:
    """Return a value of a result as a record keeps it, and its size in bytes (0 for numbers).

    The record must not share objects that func goes on to change for later psets.
    """
    if not isinstance(key, str | int):
        raise BadResultError(f"a key of the result is {short_repr(key)}; keys must be str")
    if isinstance(key, str) and not is_utf8(key):
        raise BadResultError(f"the key {key!r} of the result cannot be written as UTF-8; rename it")
    if type(value) in (str, bytes):
        return value, len(value)
    if _is_array(value) and not value.dtype.hasobject:
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
    if (b"dask" in data or b"distributed" in data) and (kind := _kind_if_lazy(value)):
        raise BadResultError(
            f"the value of key {key!r} of the result is, or holds, a {kind}, which dask computes "
            "later: have func return its value, by dask.compute(...)"
        )
    return pickling.PackedValue(data), len(data)


def _kind_if_lazy(value: Any) -> str | None:
    """Return the class of what dask computes later: a value, or something inside of it."""
    from dask.base import is_dask_collection  # not needed in a batch job whose func has no dask

    found, seen = [value], set()
    while found:
        item = found.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        cls = type(item)
        if isinstance(item, dict):
            found += item.values()
        elif isinstance(item, list | tuple | set | frozenset):
            found += item
        elif is_dask_collection(item) or (cls.__module__, cls.__name__) == _FUTURE:
            return cls.__name__
    return None


def _are_plain(values: Iterable[Any]) -> bool:
    return _PLAIN_TYPES.issuperset(map(type, values)) or all(map(_is_plain, values))


def _is_plain(value: Any) -> bool:
    # An element of a structured array is a view, which changes with the array.
    return type(value) in _PLAIN_TYPES or (
        isinstance(value, np.generic) and not isinstance(value, np.void)
    )


def _failure(error: BaseException, seq: int, pset: Pset) -> Failure:
    try:
        _drop_own_frames(error)
        exc_txt = "".join(traceback.format_exception(error))
        headline = _headline(error)
    except BaseException as err:  # of an exception class of the user, whatever it raises
        exc_txt = headline = f"{_class_name(error)}, which cannot be shown: {_class_name(err)}"
    try:
        pset_text = short_repr(pset)
    except BaseException as err:  # as above, of a value
        pset_text = f"a pset that cannot be shown: {_class_name(err)}"
    return Failure(_class_name(error), seq, pset_text, exc_txt, headline, _pickled(error))


def _pickled(error: BaseException) -> bytes:
    """Return an exception as bytes; none if it cannot be pickled, or is too large to travel."""
    try:
        exception = pickling.dumps(error)
        pickle.loads(exception)
    except BaseException:  # the traceback must do
        return b""
    return exception if len(exception) <= MAX_TRACEBACK_CHARACTERS else b""


def _class_name(error: BaseException) -> str:
    """Return the name of a class, also if its metaclass has another idea of it."""
    name: str = type.__dict__["__name__"].__get__(type(error))
    return name


def _headline(error: BaseException) -> str:
    """Return the class of an exception and the first line of its message."""
    name = _class_name(error)
    try:
        lines = str(error)[:HEADLINE_CHARACTERS].splitlines()
    except BaseException:  # a foreign __str__ must not cost the row
        lines = []
    first = next(filter(str.strip, lines), "").strip()
    return short_text(f"{name}: {first}" if first else name)


def _drop_own_frames(error: BaseException) -> None:
    """Have the traceback begin in func."""
    own = {__file__, sys.modules[redirected.__module__].__file__}
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in own:
        trace = trace.tb_next
    error.__traceback__ = trace
