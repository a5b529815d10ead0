"""How the runs of a study stand, told to people."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from tabulate import tabulate

from psweep_dask._format import counted, duration, shown_rate
from psweep_dask.monitoring import notebook
from psweep_dask.monitoring.run_states import RunState, run_states
from psweep_dask.study.runs import find_study


class StudyState:
    """How a study stood when it was looked at; a notebook shows it as a table.

    Parameters
    ----------
    runs : list of RunState
        The oldest first.

    Examples
    --------
    >>> StudyState([])
    no run yet
    """

    def __init__(self, runs: list[RunState]) -> None:
        self.runs = runs

    def __repr__(self) -> str:
        return "\n".join(shown(self.runs)) if self.runs else "no run yet"

    def _repr_html_(self) -> str:
        return notebook.table_html(_table(self.runs), list(_notes(self.runs)))


def status(calc_dir: str | os.PathLike[str] = "calc") -> StudyState:
    """Tell how the runs of a study stand, from its files alone, while they go on or afterwards.

    Parameters
    ----------
    calc_dir : str or PathLike

    Returns
    -------
    StudyState
        Printed, or shown in a notebook, it is a table; ``.runs`` has the numbers.

    Raises
    ------
    PsweepError
        If there is no study.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync")
    >>> [(one.state, one.done) for one in status("calc").runs]
    [('done', 2)]
    """
    return StudyState(run_states(find_study(calc_dir)))


def shown(states: Iterable[RunState]) -> Iterator[str]:
    """Tell it to people, line by line."""
    states = list(states)
    right = ("left", "left", "left", "left", "right", "right", "right", "right")
    yield tabulate(_table(states), headers="keys", tablefmt="simple", colalign=right)
    for note in _notes(states):
        yield note if note.startswith("  ") else f"\n{note}"


def _table(states: list[RunState]) -> list[dict[str, str]]:
    return [
        {
            "run": one.run_id[:8],
            "begun": (one.begun or "")[:19].replace("T", " "),
            "func": one.func,
            "state": one.state,
            "done": f"{one.done:,} of {one.total:,}",
            "failed": f"{one.failed:,}",
            "rate": shown_rate(one.rate) if one.rate else "",
            "left": "" if one.seconds_left is None else duration(one.seconds_left),
        }
        for one in states
    ]


def _notes(states: list[RunState]) -> Iterator[str]:
    for one in states:
        if one.advice and one.left:
            yield f"run {one.run_id[:8]} has {counted(one.left, 'pset')} left: {one.advice}"
        if one.last_failures:
            yield f"last failures of run {one.run_id[:8]}:"
            for failed in one.last_failures:
                yield f"  pset {failed.pset_seq}, {failed.pset}: {failed.status}: {failed.why}"
