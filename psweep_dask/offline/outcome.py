"""The ``_status`` of a pset whose job was prepared: from the files of its job, and from the queue.

`read_outcome` reads the files, `pending_row_status` decides. Each has the table of its cases.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psweep_dask.hpc import jobscript
from psweep_dask.hpc.jobscript import TERMINATED_EXIT_CODE, JobEnd
from psweep_dask.offline.job_status import ENDED, PENDING, RUNNING, JobStatus
from psweep_dask.params.pset import RESERVED_FIELDS, is_utf8
from psweep_dask.storage import pickling, record
from psweep_dask.storage.layout import PsetFolder
from psweep_dask.storage.record import Record

JOB_OUTPUT_LINES = 15
"""Lines of a job's output that ``_exc_txt`` quotes."""


@dataclass(frozen=True)
class JobOutcome:
    """What a job has left in the folder of its pset.

    Parameters
    ----------
    record : dict or None
        Fields that change in the row of the pset, ``_status`` among them. None as long as the
        files do not say how the job ended.
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

    Parameters
    ----------
    folder : PsetFolder
    with_func : bool
        Whether the job calls a func, and so leaves ``record.pk``.

    Raises
    ------
    OSError
        If a file cannot be read.
    psweep_dask.storage.record.RecordError
        If ``record.pk`` holds what cannot be unpickled here.
    """
    names = _file_names(folder.path)
    if folder.record_path.name in names:
        recorded = record.read_record(folder.record_path)
        if recorded is not None:
            return JobOutcome(_new_fields(folder, recorded))
    end = None
    if folder.ended_path.name in names:
        end = jobscript.read_job_end(folder.ended_path.read_text(errors="replace"))
    if with_func:
        return JobOutcome(None if end is None else _ended_without_record(folder, end))
    result: dict[str, Any] | str | None = None
    if folder.result_path.name in names:
        result = _read_result(folder.result_path)
    if end is not None:
        return JobOutcome(_ended_job_script(folder, end, result))
    scripts = _job_scripts(folder, names)
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
    | 1 | files that cannot be read | any | as before |
    | 2 | ok | any | ok |
    | 3 | anything else: an earlier job has left it | pending, running | prepared |
    | 4 | error, timeout, killed, lost | any other | the same |
    | 5 | no record | submitted, not known to be submitted | as before |
    | 6 | no record; might not write ``ended`` | ended, SLURM says with exit code 0 | ok |
    | 7 | no record; might not write ``ended`` | ended, SLURM says with another one | error |
    | 8 | no record | ended | lost |

    Parameters
    ----------
    status : str
        The ``_status`` of the row so far.
    outcome : JobOutcome or None
        None if the files of the job cannot be read.
    job : JobStatus
    folder : PsetFolder
        The folder of the pset.

    Returns
    -------
    dict
        The fields that change in the row, ``_status`` always among them.

    Examples
    --------
    >>> folder = PsetFolder(Path("calc/1a"))
    >>> pending_row_status("prepared", JobOutcome(), JobStatus("running"), folder)
    {'_status': 'prepared', '_exc_txt': None}
    """
    if outcome is None:  # row 1
        return {"_status": status}
    if outcome.record is not None and outcome.record["_status"] == "ok":  # 2
        return outcome.record
    if job.state in (PENDING, RUNNING):  # 3
        return {"_status": "prepared", "_exc_txt": None}
    if outcome.record is not None:  # 4
        return outcome.record
    if job.state != ENDED:  # 5
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
    if not folder.pset_path.exists():
        return recorded
    try:
        pset = pickling.loads(folder.pset_path.read_bytes())
    except Exception:  # a class that is missing here: then all of the record is taken
        return recorded
    same = {
        name
        for name, value in pset.items()
        if name in recorded and name not in RESERVED_FIELDS and _are_same(value, recorded[name])
    }
    return {name: value for name, value in recorded.items() if name not in same}


def _are_same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and pickling.dumps(old) == pickling.dumps(new)


def _job_scripts(folder: PsetFolder, names: Collection[str]) -> list[str]:
    prefix = folder.jobscript_path("").name
    paths = [folder.path / name for name in names if name.startswith(prefix)]
    return [path.read_text(errors="replace") for path in paths]


def _file_names(folder: Path) -> Collection[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return ()


def _read_result(path: Path) -> dict[str, Any] | str | None:
    """Read ``result.json``.

    Returns
    -------
    dict, str or None
        The result, or what is wrong with it. None for an empty file: it was emptied when the job
        was prepared again.
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
    fields: Record = dict(result) if isinstance(result, dict) else {}
    fields |= {
        "_status": "ok",
        "_exc_txt": None,
        "_exec_host": end.host,
        "_pset_runtime": float(end.ended - end.begun),
        "_time_utc": end.begun * 10**9,
    }
    if end.exit_code:
        fields |= {"_status": _failed_status(end.exit_code), "_exc_txt": _end_text(folder, end)}
    elif isinstance(result, str):
        fields |= {"_status": "error", "_exc_txt": result}
    return fields


def _failed_status(exit_code: int) -> str:
    if exit_code == TERMINATED_EXIT_CODE:
        return "lost"
    return "killed" if exit_code > 128 else "error"


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
    lines = path.read_text(errors="replace").split("\n")
    if path.name.startswith(folder.submitted_path("").name):
        lines = lines[2:]  # after the command and the name of the SLURM
    last = "\n".join(lines).rstrip().split("\n")[-JOB_OUTPUT_LINES:]
    return "\n".join([f"The end of its output, {path.name}:", *last])


def _output_path(folder: PsetFolder) -> Path | None:
    """Find the newest file with output of the job."""
    patterns = {"slurm-*.out"}
    scripts = list(folder.path.glob(folder.jobscript_path("*").name))
    for script in scripts:
        patterns |= set(jobscript.output_patterns(script.read_text(errors="replace")))
    paths = [path for pattern in patterns for path in folder.path.glob(pattern)]
    prefix = folder.jobscript_path("").name
    submitted = [folder.submitted_path(script.name.removeprefix(prefix)) for script in scripts]
    paths += [path for path in submitted if path.is_file() and _has_output(path)]
    paths = [path for path in paths if path.is_file() and path.stat().st_size]
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


def _has_output(submitted: Path) -> bool:
    """Whether a file of a submission holds what the job printed: a shell has run it at once."""
    command, _, rest = submitted.read_text(errors="replace").partition("\n")
    words = command.split()
    return bool(words) and Path(words[0]).name in jobscript.SHELLS and rest.count("\n") > 1
