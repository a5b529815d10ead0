"""What driver and workers send each other: the work of a run, and the results of slices."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import Pset, pset_id
from psweep_dask.storage import pickling, record
from psweep_dask.storage.pickling import OldObject, check_format
from psweep_dask.storage.record import Block, Record, RecordError
from psweep_dask.worker.summary import SliceSummary, summarize

Func = Callable[[Pset], dict[str, Any]]

FORMAT = 2
"""Number of the format of what is packed here. In format 1 these were pickled objects of classes of
this package."""

EXAMPLES_PER_KIND = 5
"""How many failures of each kind come back with a slice."""


def _python() -> str:
    return ".".join(map(str, sys.version_info[:2]))


@dataclass(frozen=True)
class Work:
    """What all slices of a run have in common.

    Parameters
    ----------
    run_id : str
    run_seq : int
    calc_dir : str
        As the user passed it.
    func : bytes
        func, pickled.
    cwd : str, optional
        The working directory in which func is called. None leaves the worker where it is.
    import_paths : tuple of str, optional
        Folders in which the driver finds modules.
    simulate : bool, optional
        Do not call func.
    tmpsave : bool, optional
        Write each row to a file of its own at once.
    capture_logs : {None, 'db', 'file', 'db+file'}, optional
        Where the output of func goes.
    stop_after : int, optional
        End a slice after so many failures.
    retries : int, optional
        How many further attempts a pset that fails gets.
    timeout : float, optional
        Seconds that a pset may take.
    resources : dict, optional
        The dask resources that a pset needs. Workers do not use this, but ``ps.resume`` does.
    python : str, optional
        The version of Python that has packed func, such as "3.11".
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
    retries: int = 0
    timeout: float | None = None
    resources: dict[str, float] = field(default_factory=dict)
    python: str = field(default_factory=_python)

    def pack(self) -> bytes:
        """Return it as bytes, for workers and for the disk: a pickled dict."""
        return pickling.dumps({"format": FORMAT, **vars(self)})

    @classmethod
    def unpack(cls, data: bytes) -> Work:
        """Undo `pack`, of this version or of an older one.

        Raises
        ------
        WorkError
            If a later version has packed it.

        Examples
        --------
        >>> Work.unpack(Work("r", 0, "calc", b"").pack()).run_id
        'r'
        """
        state = pickling.loads(data)
        state = vars(state) if isinstance(state, OldObject) else state
        check_format(state.pop("format", FORMAT), FORMAT, "the work of a run", WorkError)
        return cls(**state)

    def with_func(self, func: bytes) -> Work:
        """Return a copy with another func, which was packed by this Python."""
        return replace(self, func=func, python=_python())

    def check_python(self) -> None:
        """Make sure that this Python can run func.

        Raises
        ------
        WorkError
            If another version of Python has packed it: such code can crash this one.
        """
        if self.python != _python():
            raise WorkError(
                f"func was packed by Python {self.python}, and this is {_python()}: code is not "
                "the same in both; use one version on both sides (jobs may need a 'module load' or "
                "another environment)"
            )

    def load_func(self) -> Func:
        """Restore func.

        Raises
        ------
        WorkError
            If another version of Python has packed it.
        Exception
            Whatever a module of the user raises when it is imported.
        """
        self.check_python()
        func: Func = pickling.loads(self.func)
        return func

    def fields_at_start(self, seq: int, sha1: str) -> Record:
        """Return the book-keeping of a pset that begins now, in the order of the database."""
        return {
            "_run_id": self.run_id,
            "_pset_id": pset_id(self.run_id, seq),
            "_calc_dir": self.calc_dir,
            "_time_utc": time.time_ns(),
            "_pset_sha1": sha1,
            "_pset_seq": seq,
            "_run_seq": self.run_seq,
        }


class WorkError(PsweepError):
    """Work that this version of Python, or of this package, cannot do."""


def fields_at_end(
    status: str, exc_txt: str | None, host: str | None, runtime: float, attempt: int
) -> Record:
    """Return the book-keeping of a pset that has ended, in the order of the database.

    Parameters
    ----------
    status : str
        See `psweep_dask.storage.status`.
    exc_txt : str or None
        The traceback, if it has failed.
    host : str or None
        Name of the machine on which it ran.
    runtime : float
        Seconds.
    attempt : int
        Counted from 1.
    """
    return {
        "_status": status,
        "_exc_txt": exc_txt,
        "_exec_host": host,
        "_pset_runtime": runtime,
        "_attempt": attempt,
    }


@dataclass(frozen=True)
class Failure:
    """A failed pset, for the log and the dashboard.

    Parameters
    ----------
    kind : str
        Name of the exception's class, or the status of a pset that was ended.
    pset_seq : int
    pset : str
        The parameters, shortened for reading.
    exc_txt : str
        The traceback.
    headline : str
        The exception and its message in one line.
    exception : bytes, optional
        The exception, pickled. Empty where that is impossible.
    """

    kind: str
    pset_seq: int
    pset: str
    exc_txt: str
    headline: str
    exception: bytes = b""


@dataclass
class SliceResult:
    """What comes back for a slice.

    Parameters
    ----------
    frame : bytes, optional
        A frame of the journal with the records: the driver appends it as it is. Empty if there
        are none.
    done : int, optional
        How many psets of the slice were run, from its first on.
    seconds : float, optional
        How long they took.
    statuses : Counter, optional
        Number of records by ``_status``.
    failed : Counter, optional
        Number of failures by kind.
    examples : list of Failure, optional
        The first few failures of each kind.
    summary : SliceSummary, optional
        For the progress display and the dashboard.
    again : list of int, optional
        Places in the slice of psets that have failed and are to be tried again.
    trouble : str, optional
        Why nothing more can be run, for instance a full disk.
    interrupted : bool, optional
        The user has dropped the pset after the last one done, by Ctrl-C.
    has_early_file : bool, optional
        The worker has also written a part of it to a file, see `psweep_dask.worker.early_rows`.
    """

    frame: bytes = b""
    done: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    examples: list[Failure] = field(default_factory=list)
    summary: SliceSummary = field(default_factory=SliceSummary)
    again: list[int] = field(default_factory=list)
    trouble: str = ""
    interrupted: bool = False
    has_early_file: bool = False

    def pack(self) -> bytes:
        """Return it as bytes for the disk: a pickled dict, without classes of this package."""
        state = {
            **vars(self),
            "statuses": dict(self.statuses),
            "failed": dict(self.failed),
            "examples": [vars(failure) for failure in self.examples],
            "summary": self.summary.to_tuple(),
        }
        return pickling.dumps({"format": FORMAT, **state})

    @classmethod
    def unpack(cls, data: bytes) -> SliceResult:
        """Undo `pack`. Of what version 0.1.0.dev0 has packed, only the rows are taken.

        Raises
        ------
        RecordError
            If a later version has packed it.

        Examples
        --------
        >>> SliceResult.unpack(SliceResult(done=3).pack()).done
        3
        """
        state = pickling.loads(data)
        if isinstance(state, OldObject):
            return cls(vars(state)["frame"])
        check_format(state.pop("format"), FORMAT, "the result of a slice", RecordError)
        state["statuses"] = Counter(state["statuses"])
        state["failed"] = Counter(state["failed"])
        state["examples"] = [Failure(**failure) for failure in state["examples"]]
        state["summary"] = SliceSummary.from_tuple(state["summary"])
        return cls(**state)

    @classmethod
    def of_failure(cls, row: Record, failure: Failure) -> SliceResult:
        """Return the result of a pset that has ended its worker process, which made none."""
        result = cls(record.pack([row]), summary=summarize([row]))
        result.count(row["_status"], failure)
        return result

    @property
    def rows(self) -> int:
        """How many records there are."""
        return self.statuses.total()

    def blocks(self) -> list[Block]:
        """Return the records.

        Raises
        ------
        RecordError
            If an object in them cannot be restored here.
        """
        return record.unpack(self.frame[record.HEADER.size :]) if self.frame else []

    def seqs(self) -> set[int]:
        """Return the ``_pset_seq`` of the records.

        Raises
        ------
        RecordError
            If an object in them cannot be restored here.
        """
        return record.seqs_in(self.blocks())

    def count(self, status: str, failure: Failure | None) -> None:
        """Count a record, and keep its failure as an example if there are only a few so far."""
        self.statuses[status] += 1
        if failure is not None:
            if self.failed[failure.kind] < EXAMPLES_PER_KIND:
                self.examples.append(failure)
            self.failed[failure.kind] += 1
