"""`python -m psweep_dask.offline.job`: run the pset of a folder, as its batch job does.

The folder is the working directory. func runs in a process of its own, so that a crash is a
failure with a record, as in live runs. The record is left in the folder as ``record.pk``, for
`psweep_dask.collect`. A job that is ended from outside leaves none: this is not an attempt.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path, PurePath
from typing import Any

from psweep_dask.errors import PsweepError
from psweep_dask.hpc.jobscript import TERMINATED_EXIT_CODE
from psweep_dask.params.pset import RESERVED_FIELDS, Pset
from psweep_dask.storage import pickling, record
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout, PsetFolder
from psweep_dask.worker import activity, monitor, runner
from psweep_dask.worker.failures import FailurePolicy, WorkerExit
from psweep_dask.worker.monitor import ProcessMonitor, kill_with_children
from psweep_dask.worker.task import SlicePayload, run_slice
from psweep_dask.worker.work import SliceResult, Work, WorkError

MONITOR_NAME = "psweep_dask-job"  # part of the name of the activity file of func's process


class JobError(PsweepError):
    """A job that cannot run its pset. It prints this message, and leaves no record."""


def run_job(path: Path) -> int:
    """Run the pset of a folder, and write its record there. Return the exit code of the job.

    It is 0 if func has returned a dict, 1 if the pset has failed, and `TERMINATED_EXIT_CODE` if
    the job was asked to end.
    """
    folder = PsetFolder(path.resolve())
    recorded = record.read_record(folder.record_path)
    if recorded is not None:  # the job runs a second time: the record stays
        return 0 if recorded["_status"] == "ok" else 1
    data = _read(folder.pset_path)
    try:
        fields: Pset = pickling.loads(data)
    except Exception as err:  # a damaged pickle, or a class that is unknown here, raises anything
        raise JobError(f"{str(folder.pset_path)!r} cannot be read here: {err!r}") from err
    work = _work_here(folder.path, fields["_run_id"])
    result = _run(work, fields)
    if result is None:
        return TERMINATED_EXIT_CODE
    replace_file(folder.record_path, lambda stream: stream.write(result.frame))
    for failure in result.examples:
        sys.stderr.write(f"{failure.exc_txt}\n")
    return 0 if result.statuses["ok"] else 1


def main(arguments: list[str]) -> int:
    """Do what the command line says: ``python -m psweep_dask.offline.job [FOLDER]``."""
    message = "usage: python -m psweep_dask.offline.job [FOLDER OF A PSET]"
    if len(arguments) <= 1:
        try:
            return run_job(Path(*arguments))
        except (JobError, WorkError) as err:
            message = f"psweep_dask: {err}"
    sys.stderr.write(f"{message}\n")
    return 2


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as err:
        raise JobError(
            f"{str(path)!r} is missing; start this in a folder that prep_batch(params, func=...) "
            "has written, with all of the study around it"
        ) from err


def _work_here(folder: Path, run_id: str) -> Work:
    """Load the work of a run, with the paths of this machine.

    Relative paths in func begin in the same folder as where the study was prepared: the one from
    which `calc_dir` leads to the study.
    """
    root = folder.parent
    work = Work.unpack(_read(Layout(root).run_folder(run_id).work_path))
    work.check_python()
    as_passed = PurePath(work.calc_dir)
    if as_passed.is_absolute() or ".." in as_passed.parts:
        study, calc_dir = root.parent, str(root)
    else:
        study, calc_dir = (root, *root.parents)[len(as_passed.parts)], work.calc_dir
    import_paths = (str(study), *work.import_paths)
    return dataclasses.replace(work, cwd=str(study), calc_dir=calc_dir, import_paths=import_paths)


def _run(work: Work, fields: Pset) -> SliceResult | None:
    """Make all attempts that the pset has; None if the job was asked to end."""
    pset = {name: value for name, value in fields.items() if name not in RESERVED_FIELDS}
    seq, sha1 = fields["_pset_seq"], fields["_pset_sha1"]
    policy = FailurePolicy(work.run_id, work.timeout)
    for attempt in range(1, work.retries + 2):
        last = attempt > work.retries
        spare = frozenset() if last else frozenset({0})
        payload = SlicePayload([seq], [pset], bytes.fromhex(sha1), {0: attempt}, spare)
        outcome = _attempt(work, payload)
        if isinstance(outcome, SliceResult):
            if outcome.load_error:
                raise JobError(outcome.load_error)
            if not outcome.again:
                return outcome
        else:
            failed = policy.decide([seq], outcome).failed
            if failed is None:
                return None
            if last:
                return failed.result(work, pset, sha1, attempt)
    raise AssertionError("the last attempt has no spare one, so its result is final")


def _attempt(work: Work, payload: SlicePayload) -> SliceResult | WorkerExit:
    """Run the pset once in a process of its own. Without a result, return how it has ended."""
    # Where forks are safe they save the time of all imports.
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with tempfile.TemporaryDirectory(prefix="psweep_dask-") as scratch:
        result_path = Path(scratch, "result")
        process = context.Process(target=_in_child, args=(work.pack(), payload.pack(), result_path))
        old_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED_EXIT_CODE))
        process.start()
        try:
            process_monitor = ProcessMonitor(process.pid, MONITOR_NAME)
            while process.exitcode is None:
                process_monitor.check()
                process.join(monitor.CHECK_INTERVAL_SECONDS)
        except BaseException:
            kill_with_children(process.pid)
            raise
        finally:
            signal.signal(signal.SIGTERM, old_handler)
        report = {"worker": ""} | process_monitor.report()
        if result_path.exists():
            return SliceResult.unpack(result_path.read_bytes())
        return monitor.worker_exit(report | {"exitcode": process.exitcode})


def _in_child(work: bytes, packed: bytes, result_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C in a terminal, the parent kills us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    activity_file = activity.create(activity.activity_path(MONITOR_NAME, os.getpid()))
    activity_file.catch_traces()
    runner.activity_file = activity_file
    result = run_slice(work, "", packed, budget=0.0)
    replace_file(result_path, lambda stream: stream.write(result.pack()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
