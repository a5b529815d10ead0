"""Colours and styles: of the dashboard's page, of plots, and of what a notebook shows."""

from __future__ import annotations

from typing import Any

# By Okabe and Ito: colour-blind people can tell these apart, on white and on black.
BLUE, ORANGE, GREEN = "#0072b2", "#e69f00", "#009e73"
RED, PURPLE, GREY = "#d55e00", "#cc79a7", "#888888"

PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, "#56b4e9", "#b8ac00", GREY)
"""Colours of groups without an order; where there are more groups, they share the last colour."""

LINE_GREY = "#8a8a8a"
"""Colour of lines and text in plots: it can be read on white and on black."""

_STATUS_COLOURS = {
    "ok": BLUE,
    "simulated": BLUE,
    "prepared": GREEN,
    "error": RED,
    "timeout": ORANGE,
    "killed": PURPLE,
}

PAGE_TEMPLATE = """{% block inner_head %}
{{ super() }}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --ground: #ffffff; --text: #1a1a1a; --soft: #666666;
        --line: #d8d8d8; --raised: #f4f4f4; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #161616; --text: #ececec; --soft: #a5a5a5; --line: #3c3c3c; --raised: #242424; }
}
body { background: var(--ground); color: var(--text); margin: 1rem auto; max-width: 75rem;
       padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; }
</style>
{% endblock %}
"""
"""The HTML around the elements of bokeh: blocks that replace those of bokeh's own template."""

TEXT_CSS = """
:host { color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
.bk-clearfix { display: block; width: 100%; }
h1 { font-size: 1.5rem; margin: 0; } h1 small { font-weight: normal; color: var(--soft); }
h2 { font-size: 1.1rem; margin: 1.2rem 0 0; } p { margin: 0 0 0.6rem; color: var(--soft); }
.bar { display: flex; height: 1rem; background: var(--raised); border: 1px solid var(--line); }
.bar i { display: block; }
.legend { color: var(--soft); display: flex; gap: 1.2rem; margin: 0.2rem 0 0.8rem; }
.legend i { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 0.4em; }
.cells { display: flex; flex-wrap: wrap; gap: 0.6rem; }
.cell { flex: 1 1 7rem; background: var(--raised); padding: 0.4rem 0.8rem; border-radius: 4px; }
.cell b { display: block; font-size: 1.15rem; white-space: nowrap; }
.cell span { color: var(--soft); }
pre { font: 13px/1.45 ui-monospace, monospace; background: var(--raised); padding: 0.6rem;
      overflow: auto; color: var(--text); margin: 0.4rem 0; }
"""
"""Of text. The elements of bokeh see no style of the page but its variables, such as --text."""

TABLE_CSS = """
:host, .slick-header-column.ui-state-default, .slick-cell { color: var(--text) !important; }
.slick-header-column.ui-state-default { background: var(--raised) !important; }
.slick-row, .slick-row.odd, .slick-viewport { background: var(--ground) !important; }
.slick-cell { border-color: var(--line) !important; font: 13px/1.5 system-ui, sans-serif; }
.slick-cell.selected { background: var(--line) !important; }
:host { border: 1px solid var(--line); }
"""
"""Of tables."""

WIDGET_CSS = """
:host { color: var(--soft); }
.bk-input { background-color: var(--ground); color: var(--text); border-color: var(--line); }
.bk-btn { background: var(--ground); color: var(--text); border-color: var(--line); }
.bk-btn.bk-active { background: var(--line); }
"""
"""Of menus and buttons."""


def colour_of(status: str) -> str:
    """Return the colour of a ``_status``."""
    return _STATUS_COLOURS.get(status, GREY)


def style_figure(figure: Any) -> Any:
    """Make a figure of bokeh readable on a light and on a dark page; return the same figure."""
    figure.background_fill_color = figure.border_fill_color = None
    figure.outline_line_color = LINE_GREY
    figure.grid.grid_line_color = LINE_GREY
    figure.grid.grid_line_alpha = 0.25
    for axis in figure.axis:
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = LINE_GREY
        axis.axis_label_text_color = axis.major_label_text_color = LINE_GREY
        axis.axis_label_text_font_style = "normal"
    return figure
