"""What a notebook shows of a run in the background and of a study: HTML without widgets."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

from psweep_dask._format import format_duration, format_rate
from psweep_dask.monitoring.style import GREY, colour_of

UPDATE_INTERVAL_SECONDS = 1.0
"""Time between two updates of a run that goes on."""

FAILURE_KINDS_SHOWN = 3
"""How many kinds of failures are shown, the most frequent ones."""

_BAR_STYLE = (
    "display:flex;height:0.8em;max-width:40em;background:rgba(128,128,128,0.2);margin:0.3em 0"
)


class LiveRun(Protocol):
    """A run in the background, such as `psweep_dask.Sweep`."""

    @property
    def done(self) -> bool:
        """Whether it has ended, and looks the same from now on."""

    def _repr_html_(self) -> str:
        """Return it as HTML."""


def show(run: LiveRun) -> None:
    """Show a run in a notebook, and update it there until it has ended; elsewhere, print it.

    Called by IPython only.
    """
    from IPython import get_ipython  # not among our dependencies, but IPython is the caller
    from IPython.display import HTML, display

    if not hasattr(get_ipython(), "kernel"):  # a terminal
        print(repr(run))  # noqa: T201  (what IPython does with its result in a terminal)
        return
    handle = display(HTML(run._repr_html_()), display_id=True)

    def update() -> None:
        pause = threading.Event()
        while not run.done:
            pause.wait(UPDATE_INTERVAL_SECONDS)
            handle.update(HTML(run._repr_html_()))
        handle.update(HTML(run._repr_html_()))

    threading.Thread(target=update, name="psweep_dask display", daemon=True).start()


def run_html(title: str, numbers: Mapping[str, Any], link: str | None) -> str:
    """Return the numbers of a run as HTML.

    Parameters
    ----------
    title : str
        Stands above them.
    numbers : Mapping
        As `psweep_dask.monitoring.stats.RunStats.as_dict` returns them.
    link : str or None
        Address of the dashboard.

    Examples
    --------
    >>> from psweep_dask.monitoring.stats import RunStats
    >>> "0 of 3 psets" in run_html("run 1234", RunStats(3).as_dict(), None)
    True
    """
    counts = {name: number for name, number in numbers["counts"].items() if name != "left"}
    facts = [f"{numbers['done']:,} of {numbers['total']:,} psets"]
    facts += [format_rate(numbers["psets_per_second"])] if numbers["done"] else []
    remaining = numbers["seconds_left"]
    if numbers["ended"]:
        facts.append(f"ended after {format_duration(numbers['seconds'])}")
    elif remaining is not None:
        facts.append(f"{format_duration(remaining)} left")
    page = f' &middot; <a href="{escape(link)}" target="_blank">dashboard</a>' if link else ""
    failures = "".join(
        f"<div>{number:,} &times; {escape(kind)}</div>"
        for kind, number in list(numbers["failed"].items())[:FAILURE_KINDS_SHOWN]
    )
    return (
        f"<div><b>{escape(title)}</b>"
        f"{_bar(counts, numbers['total'])}"
        f"<div>{' &middot; '.join(map(escape, facts))}{page}</div>"
        f'<div style="color:{GREY}">{_legend(counts)}</div>{failures}</div>'
    )


def table_html(rows: Sequence[Mapping[str, str]], notes: Sequence[str] = ()) -> str:
    """Return rows of text as an HTML table, with lines of text below it.

    Examples
    --------
    >>> table_html([{"a": "<"}])
    '<table><tr><th>a</th></tr><tr><td>&lt;</td></tr></table>'
    """
    header = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else ()))
    cells = ("".join(f"<td>{escape(value)}</td>" for value in row.values()) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    below = "".join(f"<div>{escape(note)}</div>" for note in notes)
    return f"<table><tr>{header}</tr>{body}</table>{below}"


def _bar(counts: Mapping[str, int], total: int) -> str:
    segments = "".join(
        f'<i style="width:{100 * number / max(1, total):.3f}%;background:{colour_of(status)}"></i>'
        for status, number in counts.items()
        if number
    )
    return f'<div style="{_BAR_STYLE}">{segments}</div>'


def _legend(counts: Mapping[str, int]) -> str:
    return " &nbsp; ".join(
        f'<span style="color:{colour_of(status)}">&#9632;</span> {number:,} {escape(status)}'
        for status, number in counts.items()
    )
