"""What a notebook shows of a run in the background and of a study: HTML, without widgets."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

from psweep_dask._format import duration, shown_rate
from psweep_dask.monitoring.colors import colour_of

INTERVAL = 1.0
"""Seconds between two looks at a run that goes on."""

_SOFT = "color:#888888"
_BAR = "display:flex;height:0.8em;max-width:40em;background:rgba(128,128,128,0.2);margin:0.3em 0"


class Live(Protocol):
    """What can be shown, and changes until it is done."""

    @property
    def done(self) -> bool:
        """Whether it stays as it is."""

    def _repr_html_(self) -> str:
        """Give it as HTML."""


def show(one: Live) -> None:
    """Show it in a notebook, and keep what is shown up to date; elsewhere, print it.

    Called by IPython only.
    """
    from IPython import get_ipython  # not among our dependencies: whoever calls has it
    from IPython.display import HTML, display

    if not hasattr(get_ipython(), "kernel"):  # a terminal
        print(repr(one))  # noqa: T201  (that is what is asked for)
        return
    handle = display(HTML(one._repr_html_()), display_id=True)

    def follow() -> None:
        pause = threading.Event()
        while not one.done:
            pause.wait(INTERVAL)
            handle.update(HTML(one._repr_html_()))
        handle.update(HTML(one._repr_html_()))

    threading.Thread(target=follow, name="psweep_dask display", daemon=True).start()


def run_html(title: str, numbers: Mapping[str, Any], link: str | None) -> str:
    """Show the numbers of a run.

    Parameters
    ----------
    title : str
    numbers : Mapping
        As `psweep_dask.monitoring.stats.RunStats.numbers` gives them.
    link : str or None
        Address of its page.

    Examples
    --------
    >>> from psweep_dask.monitoring.stats import RunStats
    >>> "0 of 3 psets" in run_html("run 1234", RunStats(3).numbers(), None)
    True
    """
    counts = {name: number for name, number in numbers["counts"].items() if name != "left"}
    facts = [f"{numbers['done']:,} of {numbers['total']:,} psets"]
    facts += [shown_rate(numbers["psets_per_second"])] if numbers["done"] else []
    remaining = numbers["seconds_left"]
    if numbers["ended"]:
        facts.append(f"ended after {duration(numbers['seconds'])}")
    elif remaining is not None:
        facts.append(f"{duration(remaining)} left")
    page = f' &middot; <a href="{escape(link)}" target="_blank">dashboard</a>' if link else ""
    worst = "".join(
        f"<div>{number:,} &times; {escape(kind)}</div>"
        for kind, number in list(numbers["failed"].items())[:3]
    )
    return (
        f"<div><b>{escape(title)}</b>"
        f"{_bar(counts, numbers['total'])}"
        f"<div>{' &middot; '.join(map(escape, facts))}{page}</div>"
        f'<div style="{_SOFT}">{_legend(counts)}</div>{worst}</div>'
    )


def table_html(rows: Sequence[Mapping[str, str]], notes: Sequence[str] = ()) -> str:
    """Show rows of text as a table, and lines below it.

    Examples
    --------
    >>> table_html([{"a": "<"}])
    '<table><tr><th>a</th></tr><tr><td>&lt;</td></tr></table>'
    """
    names = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else ()))
    cells = ("".join(f"<td>{escape(value)}</td>" for value in one.values()) for one in rows)
    body = "".join(f"<tr>{one}</tr>" for one in cells)
    below = "".join(f"<div>{escape(one)}</div>" for one in notes)
    return f"<table><tr>{names}</tr>{body}</table>{below}"


def _bar(counts: Mapping[str, int], total: int) -> str:
    parts = "".join(
        f'<i style="width:{100 * number / max(1, total):.3f}%;background:{colour_of(status)}"></i>'
        for status, number in counts.items()
        if number
    )
    return f'<div style="{_BAR}">{parts}</div>'


def _legend(counts: Mapping[str, int]) -> str:
    return " &nbsp; ".join(
        f'<span style="color:{colour_of(status)}">&#9632;</span> {number:,} {escape(status)}'
        for status, number in counts.items()
    )
