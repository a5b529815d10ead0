"""How the page in the dashboard looks, by day and in dark mode."""

from __future__ import annotations

from typing import Any

from bokeh.core.templates import FILE

from psweep_dask.monitoring.colors import BLUE

BARS: dict[str, Any] = {"fill_color": BLUE, "line_color": None}
"""How bars are drawn."""

QUIET = "#8a8a8a"
"""Lines and text of plots: to be read on white and on black."""

DOCUMENT = FILE.environment.from_string("""{% extends base %}
{% block inner_head %}
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
""")
"""The document around all."""

TEXT = """
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
"""Text, in the shadow of its element, which knows no style of the document but its variables."""

TABLE = """
:host, .slick-header-column.ui-state-default, .slick-cell { color: var(--text) !important; }
.slick-header-column.ui-state-default { background: var(--raised) !important; }
.slick-row, .slick-row.odd, .slick-viewport { background: var(--ground) !important; }
.slick-cell { border-color: var(--line) !important; font: 13px/1.5 system-ui, sans-serif; }
.slick-cell.selected { background: var(--line) !important; }
:host { border: 1px solid var(--line); }
"""
"""Tables."""

WIDGET = """
:host { color: var(--soft); }
.bk-input { background-color: var(--ground); color: var(--text); border-color: var(--line); }
.bk-btn { background: var(--ground); color: var(--text); border-color: var(--line); }
.bk-btn.bk-active { background: var(--line); }
"""
"""What can be chosen."""


def at_ease(plot: Any) -> Any:
    """Let a plot be read on the ground of the page, be it light or dark."""
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = QUIET
    plot.grid.grid_line_color = QUIET
    plot.grid.grid_line_alpha = 0.25
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = QUIET
        axis.axis_label_text_color = axis.major_label_text_color = QUIET
        axis.axis_label_text_font_style = "normal"
    return plot
