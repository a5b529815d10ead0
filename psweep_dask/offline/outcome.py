"""The ``_status`` of a pset whose job was prepared: from the files of its job, and from the queue.

`read_outcome` reads the files, `pending_row_status` decides. Each has the table of its cases.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from psweep_dask.hpc import jobscript
from psweep_dask.hpc.jobscript import TERMINATED_EXIT_CODE, JobEnd
from psweep_dask.offline.job_status import JobStatus
from psweep_dask.offline.submissions import submitted_paths
from psweep_dask.params.pset import RESERVED_FIELDS, is_utf8
from psweep_dask.storage import pickling, record
from psweep_dask.storage.layout import PsetFolder
from psweep_dask.storage.record import Record
from psweep_dask.worker.work import WorkerProcess

JOB_OUTPUT_LINES = 15  # of a job's output, which _exc_txt quotes


class JobOutcome(NamedTuple):
    """What a job has left in the folder of its pset.

    Parameters
    ----------
    record : dict or None
        Fields that change in the row of the pset; None if the files do not say how the job ended.
    result : dict or None
        Without a `record`: what ``result.json`` holds so far. There may be more when the job ends.
    writes_ended : bool
        Whether the job surely writes the file ``ended`` when it ends by itself.
    """

    record: Record | None = None
    result: Record | None = None
    writes_ended: bool = True


def read_outcome(folder: PsetFolder, with_func: bool) -> JobOutcome:
    """Read what a job has left in the folder of its pset.

    The first row with a file that is there, and complete, sets the ``_status`` of the record:

    | file | job that calls a func | job made from templates |
    | --- | --- | --- |
    | ``record.pk`` | as recorded | as recorded |
    | ``ended``, exit code 0 | lost | ok; error if ``result.json`` has no JSON object |
    | ``ended``, exit code 143 (128 + SIGTERM) | lost | lost |
    | ``ended``, larger exit code than 128 | lost | killed |
    | ``ended``, other exit code | lost | error |
    | ``result.json``, and no job script would write ``ended`` | no record | ok |
    | none | no record | no record |

    An `OSError` or a `RecordError` is raised if a file cannot be read here.
    """
    # Listed once: on file systems of clusters, each look for a missing file takes its time.
    paths = set(folder.path.iterdir()) if folder.path.is_dir() else set()
    recorded = record.read_record(folder.record_path) if folder.record_path in paths else None
    if recorded is not None:
        return JobOutcome(_new_fields(folder, recorded))
    ended = _read_text(folder.ended_path) if folder.ended_path in paths else ""
    end = jobscript.read_job_end(ended)
    if with_func:
        return JobOutcome(None if end is None else _ended_without_record(folder, end))
    result = _read_result(folder.result_path) if folder.result_path in paths else None
    if end is not None:
        return JobOutcome(_ended_job_script(folder, end, result))
    scripts = _job_scripts(folder, paths)
    if not isinstance(result, dict):
        result = None
    elif not any(map(jobscript.has_end_lines, scripts)):
        return JobOutcome(result | {"_status": "ok", "_exc_txt": None})
    return JobOutcome(None, result, all(map(jobscript.surely_writes_end, scripts)))


def pending_row_status(
    status: str, outcome: JobOutcome | None, job: JobStatus, folder: PsetFolder
) -> Record:
    """Decide a pending row's status from its job's files and its state in the queue.

    The first row that fits decides:

    |   | the job has left | state of the job | ``_status`` of the pset |
    | --- | --- | --- | --- |
    | 1 | files that cannot be read (no `outcome`) | any | as before |
    | 2 | ok | any | ok |
    | 3 | anything else: an earlier job has left it | pending, running | prepared |
    | 4 | error, timeout, killed, lost | any other | the same |
    | 5 | no record | submitted, not known to be submitted | as before |
    | 6 | no record; might not write ``ended`` | ended, SLURM says with exit code 0 | ok |
    | 7 | no record; might not write ``ended`` | ended, SLURM says with another one | error |
    | 8 | no record | ended | lost |

    The fields that change in the row are returned, ``_status`` always among them.
    """
    if outcome is None:  # row 1
        return {"_status": status}
    if outcome.record is not None and outcome.record["_status"] == "ok":  # 2
        return outcome.record
    if job.state in ("pending", "running"):  # 3
        return {"_status": "prepared", "_exc_txt": None}
    if outcome.record is not None:  # 4
        return outcome.record
    if job.state != "ended":  # 5
        return {"_status": status}
    result = outcome.result or {}
    if job.succeeded is True and not outcome.writes_ended:  # 6
        return {**result, "_status": "ok", "_exc_txt": None}
    if job.succeeded is False and not outcome.writes_ended:  # 7
        return {**result, "_status": "error", "_exc_txt": f"the job has failed: {job.detail}"}
    if status == "lost":  # 8, and the row has the text already
        return {"_status": "lost"}
    text = (
        f"the job has ended, and no file here says how: {job.detail}\nIf its files are on another "
        f"machine, pull them, and collect again.\n{job_output(folder)}"
    )
    return {"_status": "lost", "_exc_txt": text.rstrip()}


def _new_fields(folder: PsetFolder, recorded: Record) -> Record:
    """Leave out the parameters of a record: the row has them, and the user may have edited them."""
    recorded.pop("_calc_dir", None)  # on another machine, it may have been another folder
    try:
        pset = pickling.loads(folder.pset_path.read_bytes())
    except Exception:  # no file, or a class that is missing here: then all of the record is taken
        return recorded
    return {
        name: value
        for name, value in recorded.items()
        if name in RESERVED_FIELDS or name not in pset or not _are_same(pset[name], value)
    }


def _are_same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and pickling.dumps(old) == pickling.dumps(new)


def _job_scripts(folder: PsetFolder, paths: Iterable[Path]) -> list[str]:
    prefix = folder.jobscript_path("").name
    return [_read_text(path) for path in paths if path.name.startswith(prefix)]


def _read_text(path: Path) -> str:
    return path.read_text(errors="replace")


def _read_result(path: Path) -> dict[str, Any] | str | None:
    """Read ``result.json``; a str says what is wrong with it.

    None is for an empty file: it was emptied when the job was prepared again.
    """
    data = path.read_bytes()
    if not data:
        return None
    try:
        result = json.loads(data)
    except (ValueError, RecursionError) as err:  # UnicodeDecodeError is a ValueError
        return f"{path.name} is no JSON: {err}"
    if not isinstance(result, dict):
        return f"{path.name} must hold a JSON object, {{...}}, and holds {type(result).__name__}"
    broken = [name for name in result if not is_utf8(name)]
    if broken:
        return f"{path.name}: the name {broken[0]!r} cannot be written as UTF-8"
    return {name: value for name, value in result.items() if name not in RESERVED_FIELDS}


def _ended_job_script(
    folder: PsetFolder, end: JobEnd, result: dict[str, Any] | str | None
) -> Record:
    status, text = "ok", None
    if end.exit_code == TERMINATED_EXIT_CODE:
        status = "lost"
    elif end.exit_code:
        status = "killed" if end.exit_code > 128 else "error"
    elif isinstance(result, str):
        status, text = "error", result
    return {
        **(result if isinstance(result, dict) else {}),
        "_status": status,
        "_exc_txt": _end_text(folder, end) if end.exit_code else text,
        **WorkerProcess(end.host).fields(),
        "_pset_runtime": float(end.ended - end.begun),
        "_time_utc": end.begun * 10**9,
    }


def _ended_without_record(folder: PsetFolder, end: JobEnd) -> Record:
    text = _end_text(folder, end, " without a record")
    if end.exit_code == 0:
        text += f"\nDoes it run 'python -m psweep_dask.offline.job' in {str(folder.path)!r}?"
    return {"_status": "lost", "_exc_txt": text}


def _end_text(folder: PsetFolder, end: JobEnd, remark: str = "") -> str:
    text = f"the job script ended with exit code {end.exit_code} on {end.host}"
    if end.exit_code > 128:
        text += f" (a program in it was killed by signal {end.exit_code - 128})"
    return f"{text}{remark}\n{job_output(folder)}"


def job_output(folder: PsetFolder) -> str:
    """Return the last lines of a job's output with the name of the file; empty without output."""
    path = _output_path(folder)
    if path is None:
        return ""
    lines = _read_text(path).split("\n")
    if path.name.startswith(folder.submitted_path("").name):
        lines = lines[2:]  # after the command and the name of the SLURM
    last = "\n".join(lines).rstrip().split("\n")[-JOB_OUTPUT_LINES:]
    return "\n".join([f"The end of its output, {path.name}:", *last])


def _output_path(folder: PsetFolder) -> Path | None:
    """Find the newest file with output of the job."""
    patterns = {"slurm-*.out"}
    for script in _job_scripts(folder, folder.path.glob("*")):
        patterns |= set(jobscript.output_patterns(script))
    paths = [path for pattern in patterns for path in folder.path.glob(pattern)]
    paths += filter(_has_output, submitted_paths(folder))
    paths = [path for path in paths if path.is_file() and path.stat().st_size]
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


def _has_output(submitted: Path) -> bool:
    """Whether a file of a submission holds what the job printed: a shell has run it at once."""
    text = _read_text(submitted) if submitted.is_file() else ""
    command, _, rest = text.partition("\n")
    return Path(command.partition(" ")[0]).name in jobscript.SHELLS and rest.count("\n") > 1
