"""What driver and workers send each other: the work of a run, and the results of slices."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from psweep_dask._format import short_repr, short_text
from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import Pset, pset_id
from psweep_dask.storage import pickling, plain, record
from psweep_dask.storage.pickling import OldObject, check_format
from psweep_dask.storage.record import Block, Record, RecordError
from psweep_dask.worker.own_modules import ModuleValues
from psweep_dask.worker.process_settings import LogSettings
from psweep_dask.worker.summary import SliceSummary, summarize

Func = Callable[[Pset], dict[str, Any]]

FORMAT = 3
"""Number of the format of what is packed here. In format 1 these were pickled objects of classes of
this package; format 2 had no settings of the script's process."""

EXAMPLES_PER_KIND = 5
"""How many failures of each kind come back with a slice."""


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Work:
    """What all slices of a run have in common."""

    run_id: str
    run_seq: int
    calc_dir: str  # as the user passed it
    func: bytes  # pickled; empty if it cannot be, or if a job's template has other code
    module_values: ModuleValues = field(default_factory=dict)  # that func finds in own modules
    cwd: str | None = None  # in which func is called; None leaves the worker where it is
    import_paths: tuple[str, ...] = ()  # folders in which the driver finds modules
    simulate: bool = False  # func is not called
    tmpsave: bool = False  # each row is also written to a file of its own
    capture_logs: str | None = None  # where the output of func goes: "db", "file" or "db+file"
    stop_after: int | None = None  # a slice ends after so many failures
    retries: int = 0  # further attempts of a pset that fails
    timeout: float | None = None  # seconds that a pset may take
    resources: dict[str, float] = field(default_factory=dict)  # of dask, for `ps.resume`
    python: str = field(default_factory=_python)  # that has packed func, such as "3.11"
    log_settings: LogSettings | None = None  # of the script
    start_method: str | None = None  # of multiprocessing in the script
    environment: dict[str, str | None] = field(default_factory=dict)  # what the script has changed

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
        func: Func = pickling.loads_func(self.func)
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


@dataclass(frozen=True)
class WorkerProcess:
    """The process that has run a pset, as far as it is known: what a row says about it."""

    host: str | None = None
    pid: int | None = None

    def fields(self) -> Record:
        """Return the book-keeping columns that describe the process."""
        return {"_exec_host": self.host}


def fields_at_end(
    status: str, exc_txt: str | None, process: WorkerProcess, runtime: float, attempt: int
) -> Record:
    """Return the book-keeping of a pset that has ended, in the order of the database.

    The runtime is in seconds, attempts are counted from 1.
    """
    return {
        "_status": status,
        "_exc_txt": exc_txt,
        **process.fields(),
        "_pset_runtime": runtime,
        "_attempt": attempt,
    }


@dataclass(frozen=True)
class Failure:
    """A failed pset, for the log and the dashboard."""

    kind: str  # name of the exception's class, or the status of a pset that was ended
    pset_seq: int
    pset: str  # the parameters, shortened for reading
    exc_txt: str  # the traceback
    headline: str  # the exception and its message in one line
    exception: bytes = b""  # pickled; empty where that is impossible

    @classmethod
    def of_row(cls, row: Record, pset: Pset) -> Failure | None:
        """Return what a row, read from a file, says of its failure; None if it has not failed."""
        exc_txt = row["_exc_txt"]
        if row["_status"] != "error" or not isinstance(exc_txt, str):
            return None
        headline = next(iter(exc_txt.rstrip().splitlines()[-1:]), "error")
        kind = headline.partition(":")[0].rpartition(".")[2]
        return cls(kind, row["_pset_seq"], short_repr(pset), exc_txt, short_text(headline))


@dataclass
class SliceResult:
    """What comes back for a slice."""

    frame: bytes = b""  # with the records: the driver appends it to the journal as it is
    done: int = 0  # how many psets of the slice were run, from its first on
    seconds: float = 0.0  # how long they took
    statuses: Counter[str] = field(default_factory=Counter)  # records by _status
    failed: Counter[str] = field(default_factory=Counter)  # failures by kind
    examples: list[Failure] = field(default_factory=list)  # the first few failures of each kind
    summary: SliceSummary = field(default_factory=SliceSummary)
    again: list[int] = field(default_factory=list)  # places of psets that are to be tried again
    trouble: str = ""  # why nothing more can be run, for instance a full disk
    load_error: str = ""  # why func cannot be loaded there: no pset was run
    interrupted: bool = False  # the user has dropped the pset after the last one done, by Ctrl-C
    has_early_file: bool = False  # a part of it is in a file: `psweep_dask.worker.early_rows`

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
    def unpack(cls, data: bytes, is_plain: bool = False) -> SliceResult:
        """Undo `pack`. Of what version 0.1.0.dev0 has packed, only the rows are taken.

        With `is_plain`, no code of the user is run.

        Raises
        ------
        RecordError
            If a later version has packed it.
        """
        state = (plain.loads if is_plain else pickling.loads)(data)
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

    def blocks(self, is_plain: bool = False) -> list[Block]:
        """Return the records; with `is_plain`, no code of the user is run."""
        return record.unpack(self.frame[record.HEADER.size :], is_plain) if self.frame else []

    def seqs(self) -> set[int]:
        """Return the ``_pset_seq`` of the records."""
        return record.seqs_in(self.blocks())

    def count(self, status: str, failure: Failure | None) -> None:
        """Count a record, and keep its failure as an example if there are only a few so far."""
        self.statuses[status] += 1
        if failure is not None:
            if self.failed[failure.kind] < EXAMPLES_PER_KIND:
                self.examples.append(failure)
            self.failed[failure.kind] += 1
