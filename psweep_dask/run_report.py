"""How runs stand, told to people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tabulate import tabulate

from psweep_dask.run_state import RunState
from psweep_dask.wording import duration, shown_rate


def shown(states: Iterable[RunState]) -> Iterator[str]:
    """Tell it to people, line by line."""
    states = list(states)
    table = [
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
    right = ("left", "left", "left", "left", "right", "right", "right", "right")
    yield tabulate(table, headers="keys", tablefmt="simple", colalign=right)
    for one in states:
        if one.advice and one.left:
            yield f"\nrun {one.run_id[:8]} has {one.left:,} psets left: {one.advice}"
        if one.last_failures:
            yield f"\nlast failures of run {one.run_id[:8]}:"
            for failed in one.last_failures:
                yield f"  pset {failed.pset_seq}, {failed.pset}: {failed.status}: {failed.why}"
