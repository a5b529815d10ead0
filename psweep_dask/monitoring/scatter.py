"""The scatter plot of bokeh, in the page of the dashboard and in files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper
from bokeh.plotting import figure

from psweep_dask.monitoring.colors import BLUE, PALETTE
from psweep_dask.monitoring.page_style import QUIET, at_ease
from psweep_dask.storage.record import Record


@dataclass(frozen=True)
class Axes:
    """What is drawn along which axis.

    Parameters
    ----------
    x, y, by : str
        Columns; `by` decides on colours, unless it is `psweep_dask.monitoring.scatter.NONE`.
    logs : sequence of bool
        Whether x and y are logarithmic.
    labels : sequence of list of str
        The names along x and y, as `psweep_dask.monitoring.scatter.labels_of` gives them.
    """

    x: str
    y: str
    by: str
    logs: Sequence[bool]
    labels: Sequence[list[str]]


def scatter(source: ColumnDataSource, mapper: LinearColorMapper, axes: Axes, texts: bool) -> Any:
    """Make the figure.

    Parameters
    ----------
    source : ColumnDataSource
        With columns as `psweep_dask.monitoring.scatter.points` gives them.
    mapper : LinearColorMapper
        For colours that stand for numbers.
    axes : Axes
    texts : bool
        Whether colours stand for texts.
    """
    coloured = axes.by != NONE
    more: dict[str, Any] = {}
    for axis, log, known in zip("xy", axes.logs, axes.labels, strict=True):
        if known:
            more[f"{axis}_range"] = known
        elif log:
            more[f"{axis}_axis_type"] = "log"
    plot = figure(
        height=380,
        sizing_mode="stretch_width",
        x_axis_label=axes.x,
        y_axis_label=axes.y,
        tools="pan,wheel_zoom,box_zoom,reset,save",
        **more,
    )
    plot.toolbar.logo = None
    colour: Any = BLUE
    if coloured:
        colour = "colour" if texts else {"field": "by", "transform": mapper}
    drawn = plot.scatter(
        "x",
        "y",
        source=source,
        size=7,
        alpha=0.8,
        color=colour,
        **({"legend_group": "by"} if texts and coloured else {}),
    )
    tips = [("pset", "@pset"), (axes.x, "@x"), (axes.y, "@y")]
    tips += [(axes.by, "@by")] if coloured else []
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
    if coloured:
        _explain_colours(plot, mapper, axes.by, texts)
    return at_ease(plot)


def _explain_colours(plot: Any, mapper: LinearColorMapper, by: str, texts: bool) -> None:
    if texts:
        plot.add_layout(plot.legend[0], "right")  # where it covers no point
        plot.legend.title = by
        plot.legend.background_fill_alpha = 0.0
        plot.legend.label_text_color = plot.legend.title_text_color = QUIET
        plot.legend.border_line_color = QUIET
        return
    bar = ColorBar(
        color_mapper=mapper,
        title=by,
        background_fill_color=None,
        major_label_text_color=QUIET,
        title_text_color=QUIET,
    )
    plot.add_layout(bar, "right")


NONE = "(none)"
"""Stands for no column, where one can be chosen for the colours."""


def points(
    rows: Iterable[Record], x: str, y: str, by: str, logs: Sequence[bool]
) -> dict[str, list[Any]]:
    """Give what is drawn of rows: those that have all, and can be drawn on these axes.

    Colours stand for names, or for numbers if there are more than `PALETTE` has.

    Examples
    --------
    >>> rows = [{"a": 1, "y": 2.0, "_pset_seq": 7}, {"a": 0, "y": 1.0, "_pset_seq": 8}]
    >>> points(rows, "a", "y", NONE, [True, False])
    {'x': [1], 'y': [2.0], 'by': [''], 'colour': ['#0072b2'], 'pset': [7]}
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
    found, known = _grouped(found)
    colours = {one: PALETTE[min(at, len(PALETTE) - 1)] for at, one in enumerate(known)}
    return {
        "x": [one[0] for one in found],
        "y": [one[1] for one in found],
        "by": [one[2] for one in found],
        "colour": [colours[one[2]] for one in found],
        "pset": [one[3] for one in found],
    }


def _grouped(found: list[Any]) -> tuple[list[Any], list[Any]]:
    """Give points that have names, or few values, in groups with names; and what groups there are.

    On a scale of colours, 1 and 10 look the same beside 1000.
    """
    known = {one[2] for one in found}
    named = any(isinstance(value, str) for value in known)
    if not named and len(known) > len(PALETTE):
        return found, sorted(known)
    order = sorted(known, key=str if named else None)
    names = {value: value if isinstance(value, str) else f"{value:.6g}" for value in order}
    place = {value: at for at, value in enumerate(order)}
    found = sorted(found, key=lambda one: place[one[2]])  # legends stand in the order of points
    return [(x, y, names[by], pset) for x, y, by, pset in found], list(names.values())


def _fits(value: Any, log: bool) -> bool:
    if isinstance(value, str):
        return not log
    return math.isfinite(value) and (not log or value > 0)


def labels_of(data: dict[str, list[Any]]) -> list[list[str]]:
    """Tell, for x and y, the names that stand along it; none along an axis of numbers.

    Values among names are made names.

    Examples
    --------
    >>> data = {"x": [1, "b"], "y": [2, 3]}
    >>> labels_of(data), data["x"]
    ([['1', 'b'], []], ['1', 'b'])
    """
    labels: list[list[str]] = []
    for axis in "xy":
        named = any(isinstance(value, str) for value in data[axis])
        data[axis] = [str(value) for value in data[axis]] if named else data[axis]
        labels.append(sorted(set(data[axis])) if named else [])
    return labels
