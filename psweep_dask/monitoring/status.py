"""`ps.status`, and the table that it shows to people."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tabulate import tabulate

from psweep_dask._format import format_count, format_duration, format_rate
from psweep_dask.monitoring import notebook
from psweep_dask.monitoring.run_states import RunState, run_states
from psweep_dask.study.runs import find_study

_NO_RUN = (
    "no run of psweep_dask yet; `psweep-dask table` shows rows that other programs have written"
)


class StudyState:
    """The states of the runs of a study, the oldest run first; a notebook shows it as a table."""

    def __init__(self, runs: list[RunState]) -> None:
        self.runs = runs

    def __repr__(self) -> str:
        return "\n".join(status_lines(self.runs)) if self.runs else _NO_RUN

    def _repr_html_(self) -> str:
        return notebook.table_html(_table(self.runs), list(_notes(self.runs)))


def status(calc_dir: str | os.PathLike[str] = "calc") -> StudyState:
    """Return the states of the runs of a study, while they go on or afterwards.

    Only files are read, so this works in any process and on any machine that sees them.

    Parameters
    ----------
    calc_dir : str or PathLike
        Folder of the study.

    Returns
    -------
    StudyState
        Printed, or shown in a notebook, it is a table; ``.runs`` has the numbers.

    Raises
    ------
    NoStudyError
        If there is no study.

    See Also
    --------
    load : The rows that there are so far.
    resume : Finishes the runs that died or were stopped.
    register : Lets the dashboard of a cluster show the runs that use it.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync")
    >>> [(run.state, run.done) for run in ps.status("calc").runs]
    [('done', 2)]
    """
    return StudyState(run_states(find_study(calc_dir)))


def status_lines(runs: list[RunState]) -> Iterator[str]:
    """Yield the table, and below it what can be done and what has failed, line by line."""
    alignment = ["left"] * 4 + ["right"] * 4
    yield tabulate(_table(runs), headers="keys", tablefmt="simple", colalign=alignment)
    for note in _notes(runs):
        yield note if note.startswith("  ") else f"\n{note}"


def _table(runs: list[RunState]) -> list[dict[str, str]]:
    return [
        {
            "run": run.run_id[:8],
            "begun": (run.begun or "")[:19].replace("T", " "),
            "func": run.func,
            "state": run.state,
            "done": f"{run.done:,} of {run.total:,}",
            "failed": f"{run.failed:,}",
            "rate": format_rate(run.rate) if run.rate else "",
            "left": "" if run.seconds_left is None else format_duration(run.seconds_left),
        }
        for run in runs
    ]


def _notes(runs: list[RunState]) -> Iterator[str]:
    for run in runs:
        if run.advice and run.left:
            yield f"run {run.run_id[:8]} has {format_count(run.left, 'pset')} left: {run.advice}"
        if run.last_failures:
            yield f"last failures of run {run.run_id[:8]}:"
            for failed in run.last_failures:
                yield f"  pset {failed.pset_seq}, {failed.pset}: {failed.status}: {failed.why}"
