"""Which rows the scatter plot draws, where, and in which colour."""

from __future__ import annotations

import math

import pytest
from bokeh.models import ColorBar, ColumnDataSource, LinearColorMapper
from bokeh.palettes import Cividis256

from psweep_dask.monitoring.scatter import NO_COLUMN, axis_labels, points, scatter
from psweep_dask.monitoring.style import BLUE, PALETTE

ROWS = [
    {"a": 1, "c": 5, "_pset_seq": 0, "y": 10.0, "kind": "odd", "_pset_runtime": 0.1},
    {"a": 2, "c": 5, "_pset_seq": 1, "y": -20.0, "kind": "even", "_pset_runtime": 0.2},
    {"a": 3, "c": 5, "_pset_seq": 2, "y": math.inf, "kind": "odd", "_pset_runtime": 0.3},
    {"a": 4, "c": 5, "_pset_seq": 3, "_pset_runtime": 0.3},
]


@pytest.mark.parametrize(
    ("logs", "seqs"),
    [([False, False], [0, 1]), ([True, False], [0, 1]), ([False, True], [0])],
)
def test_points_are_rows_that_have_a_place_on_the_axes(logs, seqs):
    assert points(ROWS, "a", "y", NO_COLUMN, logs)["pset"] == seqs


def test_points_text_has_no_place_on_a_logarithmic_axis():
    assert points(ROWS, "kind", "a", NO_COLUMN, [False, True])["pset"] == [0, 1, 2]
    assert points(ROWS, "kind", "a", NO_COLUMN, [True, False])["pset"] == []


def test_points_each_text_has_a_colour_of_its_own():
    drawn = points(ROWS, "a", "_pset_runtime", "kind", [False, False])
    assert drawn["by"] == ["even", "odd", "odd"]
    assert drawn["colour"][1] == drawn["colour"][2] != drawn["colour"][0]


def test_points_few_numbers_are_groups_in_their_order_and_many_are_a_scale():
    rows = [{"a": 1, "y": 1, "b": value, "_pset_seq": 0} for value in (100, 1, 10)]
    assert points(rows, "a", "y", "b", [False, False])["by"] == ["1", "10", "100"]
    rows = [{"a": 1, "y": 1, "b": value, "_pset_seq": 0} for value in range(9)]
    assert points(rows, "a", "y", "b", [False, False])["by"] == list(range(9))


def test_points_groups_without_a_colour_of_their_own_share_the_last_one():
    rows = [{"a": 1, "y": 1, "b": f"{i:02}", "_pset_seq": i} for i in range(12)]
    colours = points(rows, "a", "y", "b", [False, False])["colour"]
    assert colours == [*PALETTE, *[PALETTE[-1]] * 4]


def test_axis_labels_numbers_among_texts_become_text():
    data = {"x": [2, "b", 1], "y": [1, 2, 3]}
    assert axis_labels(data) == [["1", "2", "b"], []]
    assert data == {"x": ["2", "b", "1"], "y": [1, 2, 3]}


def figure_of(x="a", y="y", by=NO_COLUMN, logs=(False, False), rows=ROWS):
    data = points(rows, x, y, by, logs)
    labels, mapper = axis_labels(data), LinearColorMapper(Cividis256)
    return scatter(ColumnDataSource(data), mapper, (x, y, by), logs, labels)


def test_scatter_without_colours_has_no_legend_and_no_colour_bar():
    plot = figure_of()
    assert (plot.xaxis.axis_label, plot.yaxis.axis_label) == ("a", "y")
    assert not plot.legend
    assert not plot.select(ColorBar)
    assert plot.renderers[0].glyph.fill_color == BLUE


def test_scatter_groups_have_a_legend_and_numbers_a_colour_bar():
    plot = figure_of(by="kind")
    assert plot.legend.title == "kind"
    assert not plot.select(ColorBar)
    rows = [{"a": i, "y": i, "b": i, "_pset_seq": i} for i in range(20)]
    plot = figure_of(by="b", rows=rows)
    assert not plot.legend
    (bar,) = plot.select(ColorBar)
    assert bar.title == "b"


def test_scatter_axes_are_of_text_or_logarithmic_as_asked():
    assert type(figure_of(logs=(True, True)).xaxis[0]).__name__ == "LogAxis"
    plot = figure_of(x="kind", logs=(False, True))
    assert plot.x_range.factors == ["odd"]
    assert type(plot.yaxis[0]).__name__ == "LogAxis"
