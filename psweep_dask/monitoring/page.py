"""The page in dask's dashboard that shows runs while they go on; it needs bokeh."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from bokeh.layouts import column, row
from bokeh.models import (
    Column,
    ColumnDataSource,
    DataTable,
    Div,
    InlineStyleSheet,
    NumberFormatter,
    PreText,
    Select,
    StringFormatter,
    TableColumn,
)
from bokeh.plotting import figure

from psweep_dask._format import counted, duration, shown_rate
from psweep_dask.monitoring.colors import colour_of
from psweep_dask.monitoring.page_plot import Plot
from psweep_dask.monitoring.page_style import BARS, DOCUMENT, TABLE, TEXT, WIDGET, at_ease
from psweep_dask.monitoring.dashboard_runs import RegisteredRun, cluster_numbers, registered

if TYPE_CHECKING:
    from bokeh.document import Document
    from distributed import Scheduler

INTERVAL = 1000
"""Milliseconds between two looks at the numbers."""

NOTHING = "<p>No run yet in this process: what <code>ps.run</code> does here is shown here.</p>"
ASK = "Select a failure to see its traceback."


def document(scheduler: Scheduler, extra: dict[str, Any], doc: Document) -> None:
    """Fill a document of bokeh, as `distributed.dashboard` asks for one for each visitor."""
    page = Page(scheduler)
    doc.title = "psweep_dask"
    doc.template = DOCUMENT
    doc.add_root(page.layout)
    page.update()
    doc.add_periodic_callback(page.update, INTERVAL)


class Page:
    """What one visitor sees.

    Parameters
    ----------
    scheduler : Scheduler
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._run: RegisteredRun | None = None
        self._newest = ""
        self._choice = Select(title="run", options=[], visible=False, stylesheets=_sheets(WIDGET))
        self._head = _text(NOTHING)
        self._runtimes = ColumnDataSource({"left": [], "right": [], "top": []})
        self._slowest = ColumnDataSource({"seconds": [], "pset_seq": [], "pset": []})
        self._failures = ColumnDataSource({"kind": [], "pset_seq": [], "pset": []})
        self._tracebacks: list[str] = []
        self._traceback = PreText(
            text=ASK, sizing_mode="stretch_width", stylesheets=_sheets(TEXT), max_height=400
        )
        self._failures.selected.on_change("indices", lambda attr, old, new: self._show_traceback())
        self._choice.on_change("value", lambda attr, old, new: self.update())
        self._plot = Plot()
        kinds = {"kind": ("kind", 160), "pset_seq": ("pset", 70), "pset": ("parameters", 940)}
        self._failed = _wide(
            _text("<h2>Failures</h2>"), _table(self._failures, kinds), self._traceback
        )
        self._body = self._lay_out()
        self._failed.visible = self._body.visible = False
        self.layout = _wide(self._choice, self._head, self._body)
        self.layout.name = "psweep"

    def _lay_out(self) -> Column:
        slow = {
            "seconds": ("seconds", 90),
            "pset_seq": ("pset", 70),
            "pset": ("parameters", 420),
        }
        times = row(
            _wide(_text("<h2>Runtimes</h2>"), self._histogram()),
            _wide(_text("<h2>Slowest psets</h2>"), _table(self._slowest, slow)),
            sizing_mode="stretch_width",
        )
        return _wide(times, _text("<h2>Results</h2>"), self._plot.layout, self._failed)

    def update(self) -> None:
        """Show what is new."""
        runs = {one.run_id: one for one in registered()}
        if not runs:
            return
        options = [(one.run_id, f"{one.begun[11:19]} {one.func}") for one in runs.values()]
        if options != self._choice.options:
            follows = self._newest in ("", self._choice.value)
            self._newest = options[0][0]
            self._choice.options = options
            if follows or self._choice.value not in runs:
                self._choice.value = self._newest
            self._choice.visible = len(options) > 1
        chosen = runs.get(self._choice.value) or next(iter(runs.values()))
        if self._run is None or self._run.run_id != chosen.run_id:
            self._run = chosen
            self._plot.forget()
            self._failures.selected.indices = []
        self._show(chosen)

    def _show(self, run: RegisteredRun) -> None:
        numbers = run.as_dict()
        head = _head(numbers, cluster_numbers(self._scheduler))
        if head != self._head.text:
            self._head.text = head
        bins = numbers["runtimes"]
        _replace(
            self._runtimes,
            {
                "left": [one["from"] for one in bins],
                "right": [one["to"] for one in bins],
                "top": [one["psets"] for one in bins],
            },
        )
        _replace(self._slowest, _columns(numbers["slowest"], self._slowest))
        failures = numbers["failures"]
        self._tracebacks = [one["traceback"] for one in failures]
        _replace(self._failures, _columns(failures, self._failures))
        self._failed.visible = bool(failures)
        self._body.visible = numbers["done"] > 0
        self._plot.update(run.seen.rows())

    def _show_traceback(self) -> None:
        chosen = self._failures.selected.indices
        known = [one for one in chosen if one < len(self._tracebacks)]
        self._traceback.text = self._tracebacks[known[0]] if known else ASK

    def _histogram(self) -> Any:
        plot = figure(
            height=250,
            sizing_mode="stretch_width",
            x_axis_type="log",
            x_axis_label="runtime of a pset in seconds",
            y_axis_label="psets",
            tools="",
            toolbar_location=None,
            tooltips=[("seconds", "@left to @right"), ("psets", "@top{0,0}")],
        )
        plot.quad(source=self._runtimes, left="left", right="right", top="top", bottom=0, **BARS)
        plot.y_range.start = 0
        return at_ease(plot)


def _head(numbers: dict[str, Any], cluster: dict[str, int]) -> str:
    total, counts = numbers["total"], dict(numbers["counts"])
    left = counts.pop("left")
    running = min(cluster["busy"], left) if not numbers["ended"] else 0
    failed = sum(numbers["failed"].values())
    remaining = numbers["seconds_left"]
    cells = {
        "done": f"{numbers['done']:,}",
        "failed": f"{failed:,}",
        "running": f"{running:,}",
        "left": f"{left:,}",
        "rate": shown_rate(numbers["psets_per_second"]),
        "time": duration(numbers["seconds"]),
        "time left": "?" if remaining is None else duration(remaining),
        "workers": f"{cluster['workers']:,} on {counted(cluster['hosts'], 'host')}",
        **({"jobs": f"{cluster['jobs']:,}"} if cluster["jobs"] else {}),
    }
    shown = "".join(
        f'<div class="cell"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in cells.items()
    )
    segments = "".join(
        f'<i style="width:{100 * number / max(1, total):.3f}%;background:{colour_of(status)}" '
        f'title="{number:,} {escape(status)}"></i>'
        for status, number in counts.items()
        if number
    )
    legend = " ".join(
        f'<span><i style="background:{colour_of(status)}"></i>{number:,} {escape(status)}</span>'
        for status, number in counts.items()
        if number
    )
    state = "ended" if numbers["ended"] else "running"
    return (
        f"<h1>{escape(numbers['func'])} <small>in {escape(numbers['study'])}, {state}</small></h1>"
        f"<p>run {escape(numbers['run_id'])}, begun {escape(numbers['begun'][:19])} UTC</p>"
        f'<div class="bar">{segments}</div><div class="legend">{legend}</div>'
        f'<div class="cells">{shown}</div>'
    )


def _columns(rows: list[dict[str, Any]], source: ColumnDataSource) -> dict[str, list[Any]]:
    return {name: [one[name] for one in rows] for name in source.data}


def _replace(source: ColumnDataSource, data: dict[str, list[Any]]) -> None:
    """Send only what has changed."""
    if dict(source.data) != data:
        source.data = data


def _wide(*parts: Any) -> Column:
    return column(*parts, sizing_mode="stretch_width")


def _text(html: str) -> Div:
    return Div(text=html, sizing_mode="stretch_width", stylesheets=_sheets(TEXT))


def _table(source: ColumnDataSource, shown: dict[str, tuple[str, int]]) -> DataTable:
    columns = [
        TableColumn(
            field=name,
            title=title,
            width=width,
            formatter=NumberFormatter(format="0.000", text_align="right")
            if name == "seconds"
            else StringFormatter(),
        )
        for name, (title, width) in shown.items()
    ]
    return DataTable(
        source=source,
        columns=columns,
        height=250,
        index_position=None,
        reorderable=False,
        autosize_mode="none",
        sizing_mode="stretch_width",
        stylesheets=_sheets(TABLE),
    )


def _sheets(css: str) -> list[InlineStyleSheet]:
    return [InlineStyleSheet(css=css)]
