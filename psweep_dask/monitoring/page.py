"""The page `/psweep` in dask's dashboard, which shows runs while they go on."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from bokeh import models
from bokeh.layouts import column, row
from bokeh.plotting import figure

from psweep_dask._format import format_count, format_duration, format_rate
from psweep_dask.monitoring import style
from psweep_dask.monitoring.dashboard_runs import DashboardRun, cluster_counts, shown_runs
from psweep_dask.monitoring.page_plot import ResultsPlot
from psweep_dask.monitoring.style import colour_of

if TYPE_CHECKING:
    from bokeh.document import Document
    from distributed import Scheduler

NO_RUN_HTML = "<p>No run yet in this process: what <code>ps.run</code> does here is shown here.</p>"
NO_FAILURE_SELECTED = "Select a failure to see its traceback."


def fill_document(scheduler: Scheduler, extra: dict[str, Any], document: Document) -> None:
    """Fill a document of bokeh; `distributed.dashboard` calls this for each visitor of the page."""
    page = Page(scheduler)
    document.title = "psweep_dask"
    document.template = style.PAGE_TEMPLATE
    document.add_root(page.layout)
    page.update()
    document.add_periodic_callback(page.update, period_milliseconds=1000)


class Page:
    """The page as one visitor sees it, with the numbers of the cluster of `scheduler`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._run_id = self._newest_run_id = ""
        self._run_menu = models.Select(
            title="run", options=[], visible=False, stylesheets=[style.WIDGET_CSS]
        )
        self._run_menu.on_change("value", lambda attr, old, new: self.update())
        self._head = _text(NO_RUN_HTML)
        self._runtimes = models.ColumnDataSource({"from": [], "to": [], "psets": []})
        slowest = _table(seconds=("seconds", 90), pset_seq=("pset", 70), pset=("parameters", 420))
        self._slowest = slowest.source
        failures = _table(kind=("kind", 160), pset_seq=("pset", 70), pset=("parameters", 940))
        self._failures = failures.source
        self._failures.selected.on_change("indices", lambda attr, old, new: self._show_traceback())
        self._tracebacks: list[str] = []
        self._traceback = models.PreText(
            text=NO_FAILURE_SELECTED,
            sizing_mode="stretch_width",
            stylesheets=[style.TEXT_CSS],
            max_height=400,
        )
        self._failure_part = _wide(_text("<h2>Failures</h2>"), failures, self._traceback)
        self._plot = ResultsPlot()
        times = row(
            _wide(_text("<h2>Runtimes</h2>"), self._histogram()),
            _wide(_text("<h2>Slowest psets</h2>"), slowest),
            sizing_mode="stretch_width",
        )
        results = _text("<h2>Results</h2>")
        self._body = _wide(times, results, self._plot.layout, self._failure_part)
        self._failure_part.visible = self._body.visible = False
        self.layout = _wide(self._run_menu, self._head, self._body)
        self.layout.name = "psweep"

    def update(self) -> None:
        """Show the current numbers of the chosen run, and new runs in the menu."""
        runs = {run.run_id: run for run in shown_runs()}
        if not runs:
            return
        options = [(run.run_id, f"{run.begun[11:19]} {run.func}") for run in runs.values()]
        if options != self._run_menu.options:
            shows_newest = self._newest_run_id in ("", self._run_menu.value)
            self._newest_run_id = options[0][0]
            self._run_menu.options = options
            if shows_newest or self._run_menu.value not in runs:
                self._run_menu.value = self._newest_run_id
            self._run_menu.visible = len(options) > 1
        run = runs.get(self._run_menu.value) or next(iter(runs.values()))
        if self._run_id != run.run_id:
            self._run_id = run.run_id
            self._plot.reset()
            self._failures.selected.indices = []
        self._show(run)

    def _show(self, run: DashboardRun) -> None:
        numbers = run.as_dict()
        head = _head_html(numbers, cluster_counts(self._scheduler))
        if head != self._head.text:
            self._head.text = head
        self._tracebacks = [failure["traceback"] for failure in numbers["failures"]]
        _set_rows(self._runtimes, numbers["runtimes"])
        _set_rows(self._slowest, numbers["slowest"])
        _set_rows(self._failures, numbers["failures"])
        self._failure_part.visible = bool(numbers["failures"])
        self._body.visible = numbers["done"] > 0
        self._plot.update(run.stats.rows())

    def _show_traceback(self) -> None:
        selected = [i for i in self._failures.selected.indices if i < len(self._tracebacks)]
        self._traceback.text = self._tracebacks[selected[0]] if selected else NO_FAILURE_SELECTED

    def _histogram(self) -> Any:
        histogram = figure(
            height=250,
            sizing_mode="stretch_width",
            x_axis_type="log",
            x_axis_label="runtime of a pset in seconds",
            y_axis_label="psets",
            tools="",
            toolbar_location=None,
            tooltips=[("seconds", "@from to @to"), ("psets", "@psets{0,0}")],
        )
        edges = {"left": "from", "right": "to", "bottom": 0, "top": "psets"}
        histogram.quad(source=self._runtimes, **edges, fill_color=style.BLUE, line_color=None)
        histogram.y_range.start = 0
        return style.style_figure(histogram)


def _head_html(numbers: dict[str, Any], cluster: dict[str, int]) -> str:
    left, total = numbers["counts"]["left"], max(1, numbers["total"])
    counts = {name: number for name, number in numbers["counts"].items() if number}
    counts.pop("left", None)
    running = min(cluster["busy"], left) if not numbers["ended"] else 0
    failed = sum(numbers["failed"].values())
    remaining = numbers["seconds_left"]
    cells = {
        "done": f"{numbers['done']:,}",
        "failed": f"{failed:,}",
        "running": f"{running:,}",
        "left": f"{left:,}",
        "rate": format_rate(numbers["psets_per_second"]),
        "time": format_duration(numbers["seconds"]),
        "time left": "?" if remaining is None else format_duration(remaining),
        "workers": f"{cluster['workers']:,} on {format_count(cluster['hosts'], 'host')}",
        **({"jobs": f"{cluster['jobs']:,}"} if cluster["jobs"] else {}),
    }
    shown = "".join(
        f'<div class="cell"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in cells.items()
    )
    segments = "".join(
        f'<i style="width:{100 * number / total:.3f}%;background:{colour_of(status)}" '
        f'title="{number:,} {escape(status)}"></i>'
        for status, number in counts.items()
    )
    legend = " ".join(
        f'<span><i style="background:{colour_of(status)}"></i>{number:,} {escape(status)}</span>'
        for status, number in counts.items()
    )
    state = "ended" if numbers["ended"] else "running"
    return (
        f"<h1>{escape(numbers['func'])} <small>in {escape(numbers['study'])}, {state}</small></h1>"
        f"<p>run {escape(numbers['run_id'])}, begun {escape(numbers['begun'][:19])} UTC</p>"
        f'<div class="bar">{segments}</div><div class="legend">{legend}</div>'
        f'<div class="cells">{shown}</div>'
    )


def _set_rows(source: models.ColumnDataSource, rows: list[dict[str, Any]]) -> None:
    data = {name: [values[name] for values in rows] for name in source.data}
    if dict(source.data) != data:  # each assignment is sent to the browser
        source.data = data


def _wide(*parts: Any) -> models.Column:
    return column(*parts, sizing_mode="stretch_width")


def _text(html: str) -> models.Div:
    return models.Div(text=html, sizing_mode="stretch_width", stylesheets=[style.TEXT_CSS])


def _table(**titles: tuple[str, int]) -> models.DataTable:
    """Make a table; `titles` has the title and the width in pixels of each column."""
    number = models.NumberFormatter(format="0.000", text_align="right")
    text = models.StringFormatter()
    columns = [
        models.TableColumn(
            field=name, title=title, width=width, formatter=number if name == "seconds" else text
        )
        for name, (title, width) in titles.items()
    ]
    return models.DataTable(
        source=models.ColumnDataSource({name: [] for name in titles}),
        columns=columns,
        height=250,
        index_position=None,
        reorderable=False,
        autosize_mode="none",
        sizing_mode="stretch_width",
        stylesheets=[style.TABLE_CSS],
    )
