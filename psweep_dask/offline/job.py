"""One pset as a batch job: func runs in a process of its own, and its record is left behind.

A job runs ``python -m psweep_dask.offline.job`` in the folder of its pset. The record is left
there, for `psweep_dask.collect`. A job that is ended from outside leaves none, and no attempt is
counted.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path, PurePath
from typing import Any

from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import RESERVED_FIELDS, Pset
from psweep_dask.storage import pickling, record
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout, PsetFolder
from psweep_dask.worker import activity, monitor, runner
from psweep_dask.worker.failures import FailurePolicy
from psweep_dask.worker.monitor import ProcessMonitor, kill_with_children
from psweep_dask.worker.task import SlicePayload, run_slice
from psweep_dask.worker.work import SliceResult, Work, WorkError

LEFT = 128 + signal.SIGTERM
"""Exit code of a job that was asked to leave before its pset was through."""

WATCHER = "psweep_dask-job"


class JobError(PsweepError):
    """A job that cannot run its pset: it ends with this message, and without a record."""


def run_job(path: Path) -> int:
    """Run the pset of a folder and leave its record there.

    Parameters
    ----------
    path : Path
        The folder of the pset.

    Returns
    -------
    int
        The exit code of the job: 0 if func has returned a dict, 1 if the pset has failed.

    Raises
    ------
    JobError
        If this is no such folder, or if the Python here cannot load func.
    """
    folder = PsetFolder(path.resolve())
    finished = record.read_record(folder.record_path)
    if finished is not None:  # the job runs a second time: what is finished stays
        return 0 if finished["_status"] == "ok" else 1
    given = _load_pset(folder.pset_path)
    work = _work_here(folder.path, given["_run_id"])
    result = _run(work, given)
    if result is None:
        return LEFT
    replace_file(folder.record_path, lambda stream: stream.write(result.frame))
    for failure in result.examples:
        print(failure.exc_txt, file=sys.stderr)  # noqa: T201  (the job's output, for people)
    return 0 if result.statuses["ok"] else 1


def main(arguments: list[str]) -> int:
    """Run what ``python -m psweep_dask.offline.job [FOLDER]`` is asked for."""
    if len(arguments) > 1:
        print("usage: python -m psweep_dask.offline.job [FOLDER OF A PSET]", file=sys.stderr)  # noqa: T201  (for people)
        return 2
    try:
        return run_job(Path(*arguments))
    except JobError as err:
        print(f"psweep_dask: {err}", file=sys.stderr)  # noqa: T201  (the job's output)
        return 2


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as err:
        raise JobError(
            f"{str(path)!r} is missing; start this in a folder that prep_batch(params, func=...) "
            "has written, with all of the study around it"
        ) from err


def _load_pset(path: Path) -> Pset:
    data = _read(path)
    try:
        pset: Pset = pickling.loads(data)
        return pset
    except Exception as err:  # a damaged pickle, or a class that is unknown here, raises anything
        raise JobError(f"{str(path)!r} cannot be read here: {err!r}") from err


def _work_here(folder: Path, run_id: str) -> Work:
    """Load the work of the run, and have relative paths of func start where the study is here."""
    root = folder.parent
    try:
        work = Work.unpack(_read(Layout(root).run_folder(run_id).work_path))
        work.check_python()
    except WorkError as err:
        raise JobError(str(err)) from err
    as_passed = PurePath(work.calc_dir)
    if as_passed.is_absolute() or ".." in as_passed.parts:
        study, calc_dir = root.parent, str(root)
    else:
        study, calc_dir = (root, *root.parents)[len(as_passed.parts)], work.calc_dir
    import_paths = (str(study), *work.import_paths)
    return dataclasses.replace(work, cwd=str(study), calc_dir=calc_dir, import_paths=import_paths)


def _run(work: Work, given: Pset) -> SliceResult | None:
    """Run the attempts that the pset has; None if the job was asked to leave."""
    pset = {name: value for name, value in given.items() if name not in RESERVED_FIELDS}
    seq, sha1 = given["_pset_seq"], given["_pset_sha1"]
    policy = FailurePolicy(work.run_id, work.timeout)
    for attempt in range(1, work.retries + 2):
        last = attempt > work.retries
        spare = frozenset() if last else frozenset({0})
        load = SlicePayload([seq], [pset], bytes.fromhex(sha1), {0: attempt}, spare)
        result, exitcode, found = _attempt(work, load)
        if result is not None and not result.again:
            return result
        if result is None:
            worker_exit = monitor.worker_exit({**found, "exitcode": exitcode})
            failed = policy.decide([seq], worker_exit).failed
            if failed is None:
                return None
            if last:
                return failed.result(work, pset, sha1, attempt)
    raise AssertionError("the last attempt has no spare one, so its result is final")


def _attempt(work: Work, load: SlicePayload) -> tuple[SliceResult | None, int, dict[str, Any]]:
    """Run the pset once in a process of its own, and watch over that.

    Returns
    -------
    result : SliceResult or None
        None if the process has died.
    exitcode : int
    found : dict
        What its death looked like.
    """
    # Where forks are safe they save the time of all imports.
    how = "fork" if sys.platform == "linux" else "spawn"
    with tempfile.TemporaryDirectory(prefix="psweep_dask-") as scratch:
        result_path = Path(scratch, "result")
        context: Any = multiprocessing.get_context(how)
        process = context.Process(target=_in_child, args=(work.pack(), load.pack(), result_path))
        before = signal.signal(signal.SIGTERM, _leave)
        process.start()
        try:
            process_monitor = ProcessMonitor(process.pid or 0, WATCHER)
            while process.exitcode is None:
                process_monitor.check()
                process.join(monitor.CHECK_INTERVAL_SECONDS)
        except BaseException:
            kill_with_children(process.pid or 0)
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
        found = {"worker": "", "host": socket.gethostname()} | process_monitor.report()
        if not result_path.exists():
            return None, process.exitcode, found
        return SliceResult.unpack(result_path.read_bytes()), process.exitcode, found


def _in_child(work: bytes, packed: bytes, result_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C: the parent ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    own = activity.create(activity.activity_path(WATCHER, os.getpid()))
    own.catch_traces()
    runner.activity_file = own
    result = run_slice(work, "", packed, budget=0.0)
    replace_file(result_path, lambda stream: stream.write(result.pack()))


def _leave(*_: object) -> None:
    raise SystemExit(LEFT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
