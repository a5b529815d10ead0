"""What a notebook shows of a run in the background and of a study: HTML without widgets."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from psweep_dask._format import format_duration, format_rate
from psweep_dask.monitoring.style import GREY, colour_of

_BAR_STYLE = (
    "display:flex;height:0.8em;max-width:40em;background:rgba(128,128,128,0.2);margin:0.3em 0"
)


def show(run: Any) -> None:
    """Show a `Sweep` in a notebook, and update it there until it has ended; elsewhere, print it.

    Called by IPython only.
    """
    from IPython import get_ipython  # not among our dependencies, but IPython is the caller
    from IPython.display import HTML, display

    if not hasattr(get_ipython(), "kernel"):  # a terminal
        print(repr(run))  # noqa: T201  (what IPython does with its result in a terminal)
        return
    handle = display(HTML(run._repr_html_()), display_id=True)

    def update() -> None:
        while not run.done:
            time.sleep(1)
            handle.update(HTML(run._repr_html_()))
        handle.update(HTML(run._repr_html_()))

    threading.Thread(target=update, name="psweep_dask display", daemon=True).start()


def run_html(title: str, numbers: Mapping[str, Any], link: str | None) -> str:
    """Return the numbers of a run, as `RunStats.as_dict` returns them, as HTML with a title.

    `link` is the address of the dashboard.
    """
    counts = {name: number for name, number in numbers["counts"].items() if name != "left"}
    facts = [f"{numbers['done']:,} of {numbers['total']:,} psets"]
    facts += [format_rate(numbers["psets_per_second"])] if numbers["done"] else []
    if numbers["ended"]:
        facts.append(f"ended after {format_duration(numbers['seconds'])}")
    elif numbers["seconds_left"] is not None:
        facts.append(f"{format_duration(numbers['seconds_left'])} left")
    page = f' &middot; <a href="{escape(link)}" target="_blank">dashboard</a>' if link else ""
    failures = "".join(
        f"<div>{number:,} &times; {escape(kind)}</div>"
        for kind, number in list(numbers["failed"].items())[:3]  # the most frequent kinds
    )
    return (
        f"<div><b>{escape(title)}</b>"
        f"{_bar(counts, numbers['total'])}"
        f"<div>{' &middot; '.join(map(escape, facts))}{page}</div>"
        f'<div style="color:{GREY}">{_legend(counts)}</div>{failures}</div>'
    )


def table_html(rows: Sequence[Mapping[str, str]], notes: Sequence[str] = ()) -> str:
    """Return rows of text as an HTML table, with lines of text below it."""
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
