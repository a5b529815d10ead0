"""The plot of any column against any other that grows while a run goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import (
    CheckboxButtonGroup,
    ColorBar,
    ColumnDataSource,
    HoverTool,
    InlineStyleSheet,
    LinearColorMapper,
    Select,
)
from bokeh.palettes import Cividis256, Colorblind
from bokeh.plotting import figure

from psweep_dask.page_style import BLUE, QUIET, WIDGET, at_ease
from psweep_dask.pset import RESERVED_FIELDS
from psweep_dask.record import Record

NONE = "(none)"
MOST_COLOURS = 8
"""More different texts than that share the last colour."""


class Plot:
    """The plot with what can be chosen for it."""

    def __init__(self) -> None:
        sheet = InlineStyleSheet(css=WIDGET)
        self._x = Select(title="x", options=[], width=180, stylesheets=[sheet])
        self._y = Select(title="y", options=[], width=180, stylesheets=[sheet])
        self._by = Select(
            title="colour", options=[NONE], value=NONE, width=180, stylesheets=[sheet]
        )
        self._log = CheckboxButtonGroup(labels=["log x", "log y"], stylesheets=[sheet])
        empty: dict[str, list[Any]] = {one: [] for one in ("x", "y", "by", "colour", "pset")}
        self._source = ColumnDataSource(empty, name="results")
        self._mapper = LinearColorMapper(Cividis256)
        self._rows: Sequence[Record] = ()
        self._drawn: tuple[Any, ...] = ()
        for choice in (self._x, self._y, self._by):
            choice.on_change("value", lambda attr, old, new: self._draw())
        self._log.on_change("active", lambda attr, old, new: self._draw())
        self._place = column(sizing_mode="stretch_width")
        choices = row(self._x, self._y, self._by, column(self._log, align="end"))
        self.layout = column(choices, self._place, sizing_mode="stretch_width")

    def forget(self) -> None:
        """Begin anew: another run is shown."""
        self._x.value = self._y.value = ""
        self._by.value = NONE
        self._drawn = ()

    def update(self, rows: Sequence[Record]) -> None:
        """Show the rows."""
        self._rows = rows
        params, results, ours = columns_of(rows)
        known = [*params, *results, *ours]
        if not known:
            return
        self._offer(self._x, known, [*_numbers(params, rows), *known])
        self._offer(self._y, known, [*_numbers(results, rows), "_pset_runtime", *known])
        self._offer(self._by, [NONE, *known], [NONE])
        self._draw()

    def _offer(self, choice: Select, options: list[str], best: Iterable[str]) -> None:
        if choice.options != options:
            choice.options = options
        if choice.value not in options:
            choice.value = next(one for one in best if one in options)

    def _draw(self) -> None:
        x, y, by = str(self._x.value), str(self._y.value), str(self._by.value)
        if not x or not y:
            return
        logs = [one in self._log.active for one in (0, 1)]
        data = points(self._rows, x, y, by, logs)
        texts = any(isinstance(value, str) for value in data["by"])
        labels: list[list[str]] = []
        for axis in "xy":  # each has either numbers or names
            named = any(isinstance(value, str) for value in data[axis])
            data[axis] = [str(value) for value in data[axis]] if named else data[axis]
            labels.append(sorted(set(data[axis])) if named else [])
        if by != NONE and not texts and data["by"]:
            self._mapper.update(low=min(data["by"]), high=max(data["by"]))
        if dict(self._source.data) != data:
            self._source.data = data
        wanted = (x, y, by, texts, *logs, *map(tuple, labels))
        if wanted != self._drawn:
            self._drawn = wanted
            self._place.children = [self._figure(x, y, by, texts, logs, labels)]

    def _figure(
        self, x: str, y: str, by: str, texts: bool, logs: list[bool], labels: list[list[str]]
    ) -> Any:
        more: dict[str, Any] = {}
        for axis, log, known in zip("xy", logs, labels, strict=True):
            if known:
                more[f"{axis}_range"] = known
            elif log:
                more[f"{axis}_axis_type"] = "log"
        plot = figure(
            height=380,
            sizing_mode="stretch_width",
            x_axis_label=x,
            y_axis_label=y,
            tools="pan,wheel_zoom,box_zoom,reset,save",
            **more,
        )
        plot.toolbar.logo = None
        colour: Any = BLUE
        if by != NONE:
            colour = "colour" if texts else {"field": "by", "transform": self._mapper}
        drawn = plot.scatter(
            "x",
            "y",
            source=self._source,
            size=7,
            alpha=0.8,
            color=colour,
            **({"legend_group": "by"} if texts and by != NONE else {}),
        )
        tips = [("pset", "@pset"), (x, "@x"), (y, "@y")] + ([(by, "@by")] if by != NONE else [])
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
        if texts and by != NONE:
            plot.legend.title = by
            plot.legend.background_fill_alpha = 0.0
            plot.legend.label_text_color = plot.legend.title_text_color = QUIET
            plot.legend.border_line_color = QUIET
        elif by != NONE:
            bar = ColorBar(
                color_mapper=self._mapper,
                title=by,
                background_fill_color=None,
                major_label_text_color=QUIET,
                title_text_color=QUIET,
            )
            plot.add_layout(bar, "right")
        return at_ease(plot)


def columns_of(rows: Iterable[Record]) -> tuple[list[str], list[str], list[str]]:
    """Tell the names of parameters, of results and of book-keeping columns in rows.

    Examples
    --------
    >>> columns_of([{"a": 1, "_pset_seq": 0, "y": 2, "_pset_runtime": 0.1}])
    (['a'], ['y'], ['_pset_seq', '_pset_runtime'])
    """
    params: dict[str, None] = {}
    results: dict[str, None] = {}
    ours: dict[str, None] = {}
    for one in rows:
        kind = params
        for name in one:
            if name in RESERVED_FIELDS:
                ours[name] = None
                kind = results
            elif name not in params:
                kind[str(name)] = None
    ours.pop("_time_utc", None)
    return list(params), list(results), list(ours)


def points(
    rows: Iterable[Record], x: str, y: str, by: str, logs: Sequence[bool]
) -> dict[str, list[Any]]:
    """Give what is drawn of rows: those that have all, and can be drawn on these axes.

    Examples
    --------
    >>> rows = [{"a": 1, "y": 2.0, "_pset_seq": 7}, {"a": 0, "y": 1.0, "_pset_seq": 8}]
    >>> points(rows, "a", "y", NONE, [True, False])
    {'x': [1], 'y': [2.0], 'by': [''], 'colour': ['#0072B2'], 'pset': [7]}
    """
    found = [
        (one[x], one[y], one.get(by, ""), one["_pset_seq"])
        for one in rows
        if x in one and y in one and (by == NONE or by in one)
    ]
    found = [
        one
        for one in found
        if all(_fits(value, log) for value, log in zip(one, (*logs, False), strict=False))
    ]
    if any(isinstance(one[2], str) for one in found):
        found = [(x, y, str(value), pset) for x, y, value, pset in found]
    known = list(dict.fromkeys(sorted({one[2] for one in found})))
    palette = Colorblind[MOST_COLOURS]
    colours = {one: palette[min(at, MOST_COLOURS - 1)] for at, one in enumerate(known)}
    return {
        "x": [one[0] for one in found],
        "y": [one[1] for one in found],
        "by": [one[2] for one in found],
        "colour": [colours[one[2]] for one in found],
        "pset": [one[3] for one in found],
    }


def _fits(value: Any, log: bool) -> bool:
    if isinstance(value, str):
        return not log
    return math.isfinite(value) and (not log or value > 0)


def _numbers(names: Iterable[str], rows: Iterable[Record]) -> list[str]:
    """Give the columns that hold numbers, those first that vary."""
    values = {name: {one[name] for one in rows if name in one} for name in names}
    numbers = [
        name for name, some in values.items() if all(isinstance(one, int | float) for one in some)
    ]
    return sorted(numbers, key=lambda name: len(values[name]) < 2)
