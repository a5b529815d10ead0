"""What a run and its workers have to agree on: the work, the book-keeping, what comes back."""

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
from psweep_dask.storage.record import Record
from psweep_dask.worker.summary import SliceSummary, summarize

Func = Callable[[Pset], dict[str, Any]]

FORMAT = 2
"""Of what is packed here. In the first format these were pickled objects of our classes."""


def _python() -> str:
    return ".".join(map(str, sys.version_info[:2]))


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
    retries : int
        How many further attempts a pset that fails gets.
    timeout : float or None
        Seconds that a pset may take.
    resources : dict
        What a pset asks of a worker: not for the worker, but for whoever resumes the run.
    python : str
        The version that has packed func, such as "3.11".
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
        """Undo `pack`, also where an older version has packed it.

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
        """Return it with another func, packed here."""
        return replace(self, func=func, python=_python())

    def check_python(self) -> None:
        """Make sure that this Python can run func.

        Raises
        ------
        WorkError
            If it was packed by another one, whose code can crash this one.
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
            If it was packed by another Python.
        Exception
            Whatever a module of the user raises.
        """
        self.check_python()
        func: Func = pickling.loads(self.func)
        return func

    def seed_fields(self, seq: int, sha1: str) -> Record:
        """Give the book-keeping of a pset that begins now, in the order of the database."""
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
    """Work that this Python cannot do."""


def our_fields(
    status: str, exc_txt: str | None, host: str | None, runtime: float, attempt: int
) -> Record:
    """Give the book-keeping of a pset that has ended, in the order of the database."""
    return {
        "_status": status,
        "_exc_txt": exc_txt,
        "_exec_host": host,
        "_pset_runtime": runtime,
        "_attempt": attempt,
    }


EXAMPLES = 5
"""So many failures of each kind come back with a slice."""


@dataclass(frozen=True)
class Failure:
    """One failed pset, to tell the user about at once.

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
        What has failed, in a line.
    exception : bytes
        The exception pickled, empty where that is impossible.
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
    frame : bytes
        A frame of the journal with the records; the driver appends it unread. Empty if there
        are none.
    done : int
        How many psets of the slice were run, from its first on.
    seconds : float
        How long they took.
    statuses : Counter
        Number of records by ``_status``.
    failed : Counter
        Number of failures by kind.
    examples : list of Failure
        The first few failures of each kind.
    summary : SliceSummary
        What those who watch are shown of the records.
    again : list of int
        Which psets of the slice, by their place in it, failed and are to be tried again.
    trouble : str
        Why nothing more can be run, for instance a full disk.
    interrupted : bool
        The user wants to drop the pset after the last one done.
    kept : bool
        The worker has kept some of it in a file, which is of no use any more.
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
    kept: bool = False

    def pack(self) -> bytes:
        """Return it as bytes for the disk: a pickled dict of builtin types."""
        state = {
            **vars(self),
            "statuses": dict(self.statuses),
            "failed": dict(self.failed),
            "examples": [vars(failure) for failure in self.examples],
            "summary": self.summary.state(),
        }
        return pickling.dumps({"format": FORMAT, **state})

    @classmethod
    def unpack(cls, data: bytes) -> SliceResult:
        """Undo `pack`; of what an older version has packed, only the rows are taken.

        Raises
        ------
        WorkError
            If a later version has packed it.

        Examples
        --------
        >>> SliceResult.unpack(SliceResult(done=3).pack()).done
        3
        """
        state = pickling.loads(data)
        if isinstance(state, OldObject):
            return cls(vars(state)["frame"])
        check_format(state.pop("format"), FORMAT, "the result of a slice", WorkError)
        state["statuses"] = Counter(state["statuses"])
        state["failed"] = Counter(state["failed"])
        state["examples"] = [Failure(**failure) for failure in state["examples"]]
        state["summary"] = SliceSummary.of(state["summary"])
        return cls(**state)

    @property
    def rows(self) -> int:
        """How many records there are."""
        return self.statuses.total()

    def count(self, status: str, failure: Failure | None) -> None:
        """Take a record into account."""
        self.statuses[status] += 1
        if failure is not None:
            if self.failed[failure.kind] < EXAMPLES:
                self.examples.append(failure)
            self.failed[failure.kind] += 1


def result_of(one: Record, failure: Failure) -> SliceResult:
    """Make the result of a pset that has ended its worker, and so could make none itself."""
    result = SliceResult(record.pack([one]), summary=summarize([one]))
    result.count(one["_status"], failure)
    return result
