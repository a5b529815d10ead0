"""What the batch job of one pset has left in its folder."""

from __future__ import annotations

import json
import signal
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psweep_dask.hpc import jobscript
from psweep_dask.hpc.jobscript import End
from psweep_dask.offline.job_status import ENDED, PENDING, RUNNING, JobStatus
from psweep_dask.params.pset import RESERVED_FIELDS, is_text
from psweep_dask.storage import pickling, record
from psweep_dask.storage.layout import PsetFolder
from psweep_dask.storage.record import Record

TAIL = 15
"""Lines of a job's output that a row quotes."""

TERMINATED = 128 + signal.SIGTERM
"""Exit code of what a batch system ends: nobody's fault."""


@dataclass(frozen=True)
class Outcome:
    """What the folder of a pset tells.

    Parameters
    ----------
    record : dict or None
        What changes in its row. A ``_status`` of "lost" means that the job has ended and left
        nothing. None if it is not known how its job ended.
    result : dict or None
        What its script tells so far: more may come while the job runs.
    silent : bool
        Whether a job script may end without a note of that.
    """

    record: Record | None = None
    result: Record | None = None
    silent: bool = False


def read_outcome(folder: PsetFolder, with_func: bool) -> Outcome:
    """Tell what has become of a pset, as far as its folder knows.

    Parameters
    ----------
    folder : PsetFolder
    with_func : bool
        Whether its job calls a func, and so leaves a record.

    Raises
    ------
    OSError
        If something in there cannot be read.
    psweep_dask.storage.record.RecordError
        If a record holds what cannot be restored here.
    """
    names = _names(folder.path)
    if folder.record_path.name in names:
        found = record.read_record(folder.record_path)
        if found is not None:
            return Outcome(_without_params(folder, found))
    end = None
    if folder.ended_path.name in names:
        end = jobscript.read_end(folder.ended_path.read_text(errors="replace"))
    if with_func:
        return Outcome(None if end is None else _without_record(folder, end))
    result: dict[str, Any] | str | None = None
    if folder.result_path.name in names:
        result = _read_result(folder.result_path)
    if end is not None:
        return Outcome(_of_template(folder, end, result))
    so_far = result if isinstance(result, dict) else None
    scripts = _job_scripts(folder, names)
    if so_far is not None and not any(map(jobscript.notes_its_end, scripts)):
        return Outcome(so_far | {"_status": "ok", "_exc_txt": None})
    return Outcome(None, so_far, not all(map(jobscript.surely_notes_its_end, scripts)))


def _without_params(folder: PsetFolder, found: Record) -> Record:
    """Leave out of a record what the row has already, and its owner may have changed."""
    found.pop("_calc_dir", None)  # which over there may have been another folder
    if not folder.pset_path.exists():
        return found
    try:
        pset = pickling.loads(folder.pset_path.read_bytes())
    except Exception:  # a class that is missing here: then all of the record is taken
        return found
    same = {
        name
        for name, value in pset.items()
        if name in found and name not in RESERVED_FIELDS and _are_same(value, found[name])
    }
    return {name: value for name, value in found.items() if name not in same}


def _are_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and pickling.dumps(one) == pickling.dumps(other)


def _job_scripts(folder: PsetFolder, names: Collection[str]) -> list[str]:
    prefix = folder.jobscript_path("").name
    paths = [folder.path / name for name in names if name.startswith(prefix)]
    return [one.read_text(errors="replace") for one in paths]


def _names(folder: Path) -> Collection[str]:
    try:
        return {one.name for one in folder.iterdir()}
    except FileNotFoundError:
        return ()


def _read_result(path: Path) -> dict[str, Any] | str | None:
    """Read what a script of the user tells, or tell what is wrong with it.

    There is nothing yet in a file that was emptied when the job was prepared anew.
    """
    data = path.read_bytes()
    if not data:
        return None
    try:
        result = json.loads(data)
    except (ValueError, RecursionError) as err:  # UnicodeDecodeError is one of the first
        return f"{path.name} is no JSON: {err}"
    if not isinstance(result, dict):
        return f"{path.name} must hold a JSON object, {{...}}, and holds {type(result).__name__}"
    broken = [name for name in result if not is_text(name)]
    if broken:
        return f"{path.name}: the name {broken[0]!r} cannot be written as UTF-8"
    return {name: value for name, value in result.items() if name not in RESERVED_FIELDS}


def _of_template(folder: PsetFolder, end: End, result: dict[str, Any] | str | None) -> Record:
    fields: Record = dict(result) if isinstance(result, dict) else {}
    fields |= {
        "_status": "ok",
        "_exc_txt": None,
        "_exec_host": end.host,
        "_pset_runtime": float(end.ended - end.begun),
        "_time_utc": end.begun * 10**9,
    }
    if end.exit_code:
        fields["_status"] = _status_of(end.exit_code)
        fields["_exc_txt"] = _why(folder, end)
    elif isinstance(result, str):
        fields |= {"_status": "error", "_exc_txt": result}
    return fields


def _without_record(folder: PsetFolder, end: End) -> Record:
    text = _why(folder, end)
    if end.exit_code == 0:
        text += f"\nDoes it run 'python -m psweep_dask.offline.job' in {str(folder.path)!r}?"
    return {"_status": "lost", "_exc_txt": text.replace("\n", " without a record\n", 1)}


def _status_of(exit_code: int) -> str:
    if exit_code == TERMINATED:
        return "lost"
    return "killed" if exit_code > 128 else "error"


def _why(folder: PsetFolder, end: End) -> str:
    text = f"the job script ended with exit code {end.exit_code} on {end.host}"
    if end.exit_code > 128:
        text += f" (a program in it was killed by signal {end.exit_code - 128})"
    return f"{text}\n{output_tail(folder)}"


def output_tail(folder: PsetFolder) -> str:
    """Quote the end of what a job has printed; empty where there is none."""
    path = _output(folder)
    if path is None:
        return ""
    lines = path.read_text(errors="replace").split("\n")
    if path.name.startswith(folder.submitted_path("").name):
        lines = lines[2:]  # behind the command and the name of the SLURM
    tail = "\n".join(lines).rstrip().split("\n")[-TAIL:]
    return "\n".join([f"The end of its output, {path.name}:", *tail])


def _output(folder: PsetFolder) -> Path | None:
    """Find the newest file that has output of the job."""
    patterns = {"slurm-*.out"}
    scripts = list(folder.path.glob(folder.jobscript_path("*").name))
    for script in scripts:
        patterns |= set(jobscript.output_patterns(script.read_text(errors="replace")))
    found = [path for pattern in patterns for path in folder.path.glob(pattern)]
    prefix = folder.jobscript_path("").name
    notes = [folder.submitted_path(script.name.removeprefix(prefix)) for script in scripts]
    found += [note for note in notes if note.is_file() and _ran_at_once(note)]
    found = [path for path in found if path.is_file() and path.stat().st_size]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _ran_at_once(note: Path) -> bool:
    """Tell a note that holds what the job has printed, since its subcmd was a shell."""
    command, _, rest = note.read_text(errors="replace").partition("\n")
    words = command.split()
    return bool(words) and Path(words[0]).name in jobscript.SHELLS and rest.count("\n") > 1


def pending_row_status(
    status: str, left: Outcome | None, standing: JobStatus, folder: PsetFolder
) -> Record:
    """Decide what becomes of a row that waits.

    Parameters
    ----------
    status : str
        Of the row so far.
    left : Outcome or None
        What its job has left; None if that cannot be read.
    standing : Standing
        How its jobs stand.
    folder : PsetFolder

    Returns
    -------
    dict
        What changes in the row; its ``_status`` in any case.

    Examples
    --------
    >>> from pathlib import Path
    >>> pending_row_status("prepared", Outcome(), JobStatus("running"), PsetFolder(Path("calc/1a")))
    {'_status': 'prepared', '_exc_txt': None}
    """
    if left is None:
        return {"_status": status}
    good = left.record is not None and left.record["_status"] == "ok"
    if standing.doing in (PENDING, RUNNING) and not good:
        return {"_status": "prepared", "_exc_txt": None}  # what failed was tried elsewhere, before
    if left.record is not None and left.record["_status"] != "lost":
        return left.record
    if left.record is not None or standing.doing != ENDED:
        return left.record or {"_status": status}
    if standing.completed and left.silent:
        return {**(left.result or {}), "_status": "ok", "_exc_txt": None}
    if standing.failed and left.silent:
        text = f"the job has failed: {standing.detail}"
        return {**(left.result or {}), "_status": "error", "_exc_txt": text}
    text = (
        f"its job is over, and nothing here tells how it ended: {standing.detail}\nIf its files "
        "are on another machine, pull them, and collect again."
    )
    said = "" if status == "lost" else output_tail(folder)
    return {"_status": "lost", "_exc_txt": f"{text}\n{said}".rstrip()}
