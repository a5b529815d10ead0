"""What becomes of a row that waits, by what its job has left and how the batch system takes it."""

from __future__ import annotations

from psweep_dask.layout import PsetFolder
from psweep_dask.outcome import Outcome, last_words
from psweep_dask.record import Record
from psweep_dask.standing import ENDED, PENDING, RUNNING, Standing


def judged(status: str, left: Outcome | None, standing: Standing, folder: PsetFolder) -> Record:
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
    >>> judged("prepared", Outcome(), Standing("running"), PsetFolder(Path("calc/1a")))
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
    said = "" if status == "lost" else last_words(folder)
    return {"_status": "lost", "_exc_txt": f"{text}\n{said}".rstrip()}
