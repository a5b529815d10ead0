"""What the batch job of one pset has left in its folder."""

from __future__ import annotations

import json
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from psweep_dask import jobscript, record
from psweep_dask.jobscript import End
from psweep_dask.layout import PsetFolder
from psweep_dask.pset import RESERVED_FIELDS
from psweep_dask.record import Record

TAIL = 15
"""Lines of a job's output that a row quotes."""

ASKED_TO_LEAVE = 128 + signal.SIGTERM
"""Exit code of what a batch system ends: nobody's fault."""


def read_outcome(folder: PsetFolder, with_func: bool) -> Record | None:
    """Tell what has become of a pset, as far as its folder knows.

    Parameters
    ----------
    folder : PsetFolder
    with_func : bool
        Whether its job calls a func, and so leaves a record.

    Returns
    -------
    dict or None
        What changes in its row; None if nothing is known yet. A ``_status`` of "lost" means that
        the job has ended and left nothing.

    Raises
    ------
    OSError
        If something in there cannot be read.
    """
    names = _names(folder.path)
    if folder.record_path.name in names:
        found = record.read_record(folder.record_path)
        if found is not None:
            found.pop("_calc_dir", None)  # which over there may have been another folder
            return found
    end = None
    if folder.ended_path.name in names:
        end = jobscript.read_end(folder.ended_path.read_text(errors="replace"))
    if with_func:
        return None if end is None else _without_record(folder, end)
    result: dict[str, Any] | str | None = None
    if folder.result_path.name in names:
        result = _read_result(folder.result_path)
    if isinstance(result, str) and end is None:
        return None  # it is being written
    return None if result is None and end is None else _of_template(folder, end, result)


def _names(folder: Path) -> Collection[str]:
    try:
        return {one.name for one in folder.iterdir()}
    except FileNotFoundError:
        return ()


def _read_result(path: Path) -> dict[str, Any] | str:
    """Read what a script of the user tells, or tell what is wrong with it."""
    try:
        result = json.loads(path.read_bytes())
    except ValueError as err:  # UnicodeDecodeError is one, too
        return f"{path.name} is no JSON: {err}"
    if not isinstance(result, dict):
        return f"{path.name} must hold a JSON object, {{...}}, and holds {type(result).__name__}"
    return {name: value for name, value in result.items() if name not in RESERVED_FIELDS}


def _of_template(
    folder: PsetFolder, end: End | None, result: dict[str, Any] | str | None
) -> Record:
    fields: Record = dict(result) if isinstance(result, dict) else {}
    fields |= {"_status": "ok", "_exc_txt": None}
    if end is None:
        return fields
    fields |= {
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
        text += f"\nDoes it run 'python -m psweep_dask.task' in {str(folder.path)!r}?"
    return {"_status": "lost", "_exc_txt": text.replace("\n", " without a record\n", 1)}


def _status_of(exit_code: int) -> str:
    if exit_code == ASKED_TO_LEAVE:
        return "lost"
    return "killed" if exit_code > 128 else "error"


def _why(folder: PsetFolder, end: End) -> str:
    text = f"the job script ended with exit code {end.exit_code} on {end.host}"
    if end.exit_code > 128:
        text += f" (a program in it was killed by signal {end.exit_code - 128})"
    path = _output(folder)
    if path is None:
        return text + "\n"
    lines = path.read_text(errors="replace").splitlines()[-TAIL:]
    return "\n".join([text, f"The end of its output, {path.name}:", *lines])


def _output(folder: PsetFolder) -> Path | None:
    """Find the newest file that has output of the job."""
    patterns = {"slurm-*.out", folder.submitted_path("*").name}
    for script in folder.path.glob(folder.jobscript_path("*").name):
        with suppress(jobscript.JobscriptError):  # then sbatch has refused it
            patterns |= set(jobscript.output_patterns(script.read_text(errors="replace")))
    found = [path for pattern in patterns for path in folder.path.glob(pattern)]
    found = [path for path in found if path.is_file() and path.stat().st_size]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)
