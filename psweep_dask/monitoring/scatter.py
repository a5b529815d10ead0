"""The scatter plot of rows: its points, and its figure for the dashboard's page and for files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper
from bokeh.plotting import figure

from psweep_dask.monitoring.style import BLUE, LINE_GREY, PALETTE, style_figure
from psweep_dask.storage.columns import LARGEST_EXACT_INT
from psweep_dask.storage.record import Record

NO_COLUMN = "(none)"
"""Stands for a column in the menu of the colours: all points have the same colour."""


def scatter(
    source: ColumnDataSource,
    mapper: LinearColorMapper,
    names: tuple[str, str, str],
    logs: Sequence[bool],
    labels: Sequence[list[str]],
) -> Any:
    """Make the figure of bokeh.

    Parameters
    ----------
    source : ColumnDataSource
        With the columns that `points` returns.
    mapper : LinearColorMapper
        Colours of numbers. Colours that stand for text have a legend instead of a colour bar.
    names : tuple of str
        The columns along x, along y, and that of the colours or `NO_COLUMN`.
    logs : sequence of bool
        Whether x and y are logarithmic.
    labels : sequence of list of str
        The labels along x and y, as `axis_labels` returns them.
    """
    x, y, by = names
    has_colours = by != NO_COLUMN
    has_legend = has_colours and has_text(source.data["by"])
    axis_options: dict[str, Any] = {}
    for axis, log, axis_range in zip("xy", logs, labels, strict=True):
        if axis_range:
            axis_options[f"{axis}_range"] = axis_range
        elif log:
            axis_options[f"{axis}_axis_type"] = "log"
    plot = figure(
        height=380,
        sizing_mode="stretch_width",
        x_axis_label=x,
        y_axis_label=y,
        tools="pan,wheel_zoom,box_zoom,reset,save",
        **axis_options,
    )
    plot.toolbar.logo = None
    style: dict[str, Any] = {"color": BLUE}
    if has_legend:
        style = {"color": "colour", "legend_field": "by"}
    elif has_colours:
        style = {"color": {"field": "by", "transform": mapper}}
    renderer = plot.scatter("x", "y", source=source, size=7, alpha=0.8, **style)
    tips = [("pset", "@pset"), (x, "@x"), (y, "@y")]
    tips += [(by, "@by")] if has_colours else []
    plot.add_tools(HoverTool(renderers=[renderer], tooltips=tips))
    if has_legend:
        _place_legend(plot, by)
    elif has_colours:
        _add_colour_bar(plot, by, mapper)
    return style_figure(plot)


def _place_legend(plot: Any, title: str) -> None:
    plot.add_layout(plot.legend[0], "right")  # where it covers no point
    plot.legend.title = title
    plot.legend.background_fill_alpha = 0.0
    plot.legend.label_text_color = plot.legend.title_text_color = LINE_GREY
    plot.legend.border_line_color = LINE_GREY


def _add_colour_bar(plot: Any, title: str, mapper: LinearColorMapper) -> None:
    bar = ColorBar(
        color_mapper=mapper,
        title=title,
        background_fill_color=None,
        major_label_text_color=LINE_GREY,
        title_text_color=LINE_GREY,
    )
    plot.add_layout(bar, "right")


def points(
    rows: Iterable[Record], x: str, y: str, by: str, logs: Sequence[bool]
) -> dict[str, list[Any]]:
    """Return the points of the rows that have these columns and a place on these axes.

    A point has the colour of its group: its text in the column `by`, or its number there. Numbers
    that are more than `PALETTE` has colours are no groups; the figure gives them a colour scale.

    Parameters
    ----------
    by : str
        May be `NO_COLUMN`.
    logs : sequence of bool
        Whether x and y are logarithmic, where only numbers above zero have a place.

    Examples
    --------
    >>> rows = [{"a": 1, "y": 2.0, "_pset_seq": 7}, {"a": 0, "y": 1.0, "_pset_seq": 8}]
    >>> points(rows, "a", "y", NO_COLUMN, [True, False])
    {'x': [1], 'y': [2.0], 'by': [''], 'colour': ['#0072b2'], 'pset': [7]}
    """
    complete = (
        (_drawable(row[x]), _drawable(row[y]), _drawable(row.get(by, "")), row["_pset_seq"])
        for row in rows
        if x in row and y in row and (by == NO_COLUMN or by in row)
    )
    drawable = [
        point
        for point in complete
        if all(_has_place(value, log) for value, log in zip(point[:3], (*logs, False), strict=True))
    ]
    grouped, groups = _grouped(drawable)
    colours = {group: PALETTE[min(i, len(PALETTE) - 1)] for i, group in enumerate(groups)}
    return {
        "x": [point[0] for point in grouped],
        "y": [point[1] for point in grouped],
        "by": [point[2] for point in grouped],
        "colour": [colours[point[2]] for point in grouped],
        "pset": [point[3] for point in grouped],
    }


def _grouped(points: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the points with the names of their groups, in the order of these; and the groups.

    Few different numbers are groups too: on a colour scale, 1 and 10 look the same beside 1000.
    """
    values = {by for _, _, by, _ in points}
    with_text = has_text(values)
    if not with_text and len(values) > len(PALETTE):
        return points, sorted(values)
    ordered = sorted(values, key=str if with_text else None)
    names = {value: value if isinstance(value, str) else f"{value:.6g}" for value in ordered}
    ranks = {value: rank for rank, value in enumerate(ordered)}
    points = sorted(points, key=lambda point: ranks[point[2]])  # a legend has the order of points
    return [(x, y, names[by], seq) for x, y, by, seq in points], list(names.values())


def _drawable(value: Any) -> Any:
    """Return ints that browsers and matplotlib do not know as floats; NaN if there is no float."""
    if not isinstance(value, int) or abs(value) <= LARGEST_EXACT_INT:
        return value
    try:
        return float(value)
    except OverflowError:  # such as 10**400
        return math.nan


def _has_place(value: Any, log: bool) -> bool:
    if isinstance(value, str):
        return not log
    return math.isfinite(value) and (not log or value > 0)


def axis_labels(data: dict[str, list[Any]]) -> list[list[str]]:
    """Return the labels along x and along y: none on an axis of numbers.

    Where text and numbers share an axis, the numbers become text, in `data` itself.
    """
    labels: list[list[str]] = []
    for axis in "xy":
        with_text = has_text(data[axis])
        data[axis] = list(map(str, data[axis])) if with_text else data[axis]
        labels.append(sorted(set(data[axis])) if with_text else [])
    return labels


def has_text(values: Iterable[Any]) -> bool:
    """Return whether one of the values is text."""
    return any(isinstance(value, str) for value in values)
