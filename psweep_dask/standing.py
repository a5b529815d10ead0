"""How the batch job of a pset stands: submitted or not, waiting, running, or over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from psweep_dask.layout import Layout
from psweep_dask.slurm import JobState
from psweep_dask.submissions import array_job_ids, job_ids

Queue = Mapping[str, JobState] | None
"""The jobs that SLURM knows, by id; None if nobody can be asked."""


class Standing(NamedTuple):
    """What is known of the jobs of a pset.

    Parameters
    ----------
    doing : str
        "not known to be submitted", "submitted" (and nobody can be asked), "pending", "running"
        or "ended".
    detail : str
        How they have ended, as far as is known.
    """

    doing: str
    detail: str = ""


class Standings:
    """Finds out how the jobs of psets stand.

    Parameters
    ----------
    layout : Layout
    queue : Mapping or None
        What SLURM says.
    over : bool
        The user says that no job waits or runs any more.
    """

    def __init__(self, layout: Layout, queue: Queue, over: bool) -> None:
        self._layout = layout
        self._queue = queue
        self._over = over
        self._in_arrays: dict[str, dict[str, list[str]]] = {}

    def of(self, run_id: str, pset_id: str) -> Standing:
        """Tell how the jobs of one pset stand."""
        if run_id not in self._in_arrays:
            self._in_arrays[run_id] = array_job_ids(self._layout, run_id)
        ids = job_ids(self._layout.pset_folder(pset_id))
        if ids is not None:
            ids = ids + self._in_arrays[run_id].get(pset_id, [])
            if not ids:
                return Standing("not known to be submitted")
        if self._over:
            return Standing("ended", "that is what was said")
        return standing_of(ids, self._queue)


def standing_of(ids: list[str] | None, queue: Queue) -> Standing:
    """Tell how jobs stand by what SLURM says of them.

    Parameters
    ----------
    ids : list of str or None
        None if they are not jobs of SLURM.
    queue : Mapping or None

    Examples
    --------
    >>> standing_of(["7"], {"7": JobState("CANCELLED")})
    Standing(doing='ended', detail='SLURM says 7 CANCELLED')
    >>> standing_of(["7"], None).doing
    'submitted'
    """
    if ids is None or queue is None:
        return Standing("submitted")
    states = [queue[one] for one in ids if one in queue]
    if any(one.runs or one.state == "COMPLETING" for one in states):  # its processes may be there
        return Standing("running")
    if any(one.waits for one in states):
        return Standing("pending")
    told = ", ".join(f"{one} {queue[one].state if one in queue else 'unknown'}" for one in ids)
    return Standing("ended", f"SLURM says {told}")
