"""Colours can be told apart and read, by day and in dark mode."""

from __future__ import annotations

from itertools import pairwise

import pytest
from bokeh.plotting import figure

from psweep_dask.monitoring.style import GREY, LINE_GREY, PALETTE, colour_of, style_figure
from psweep_dask.storage import status


def luminance(colour):
    """Relative luminance as WCAG defines it: 0 for black, 1 for white."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(colour, other):
    high, low = sorted([luminance(colour), luminance(other)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#161616"])
def test_colours_stand_out_from_the_page_by_day_and_in_dark_mode(ground):
    assert contrast(LINE_GREY, ground) > 3
    assert all(contrast(colour, ground) > 2 for colour in PALETTE)


def test_palette_has_each_colour_once():
    assert len(set(PALETTE)) == len(PALETTE)


def test_colour_of_each_failure_is_its_own_and_unknown_ones_are_grey():
    colours = [colour_of(name) for name in sorted(status.FAILED)]
    assert len({*colours, colour_of("ok"), GREY}) == len(status.FAILED) + 2
    assert colour_of("simulated") == colour_of("ok")
    assert colour_of("lost") == colour_of("no such status") == GREY


def test_style_figure_leaves_the_ground_to_the_page():
    plot = figure()
    assert style_figure(plot) is plot
    assert plot.background_fill_color is plot.border_fill_color is None
    colours = [axis.major_label_text_color for axis in plot.axis]
    assert all(one == other == LINE_GREY for one, other in pairwise(colours))
