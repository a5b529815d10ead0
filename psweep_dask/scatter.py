"""The scatter plot of bokeh, in the page of the dashboard and in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper
from bokeh.plotting import figure

from psweep_dask.colours import BLUE
from psweep_dask.page_style import QUIET, at_ease
from psweep_dask.points import NONE


@dataclass(frozen=True)
class Axes:
    """What is drawn along which axis.

    Parameters
    ----------
    x, y, by : str
        Columns; `by` decides on colours, unless it is `psweep_dask.points.NONE`.
    logs : sequence of bool
        Whether x and y are logarithmic.
    labels : sequence of list of str
        The names along x and y, as `psweep_dask.points.labels_of` gives them.
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
        With columns as `psweep_dask.points.points` gives them.
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
