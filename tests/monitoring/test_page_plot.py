"""The plot in the page follows the rows, and keeps what was chosen."""

from __future__ import annotations

import math

from psweep_dask.monitoring.page_plot import NO_COLUMN, ResultsPlot, columns_of

ROWS = [
    {"a": 1, "c": 5, "_pset_seq": 0, "y": 10.0, "kind": "odd", "_pset_runtime": 0.1},
    {"a": 2, "c": 5, "_pset_seq": 1, "y": -20.0, "kind": "even", "_pset_runtime": 0.2},
    {"a": 3, "c": 5, "_pset_seq": 2, "y": math.inf, "kind": "odd", "_pset_runtime": 0.3},
    {"a": 4, "c": 5, "_pset_seq": 3, "_pset_runtime": 0.3},
]


def chosen(plot):
    return plot._x.value, plot._y.value, plot._by.value


def test_columns_of_rows_are_parameters_results_and_book_keeping():
    assert columns_of(ROWS) == (["a", "c"], ["y", "kind"], ["_pset_seq", "_pset_runtime"])
    timed = [{"a": 1, "_time_utc": 123, "_pset_seq": 0, "y": 1}]
    assert columns_of(timed) == (["a"], ["y"], ["_pset_seq"])


def test_plot_shows_at_first_a_parameter_that_varies_and_a_result():
    plot = ResultsPlot()
    plot.update([])
    assert chosen(plot) == ("", "", NO_COLUMN)
    plot.update(ROWS)
    assert chosen(plot) == ("a", "y", NO_COLUMN)
    assert plot._source.data["x"].tolist() == [1, 2]


def test_plot_offers_every_column():
    plot = ResultsPlot()
    plot.update(ROWS)
    names = ["a", "c", "y", "kind", "_pset_seq", "_pset_runtime"]
    assert plot._x.options == plot._y.options == names
    assert plot._by.options == [NO_COLUMN, *names]


def test_plot_choice_stays_when_rows_come_and_goes_with_the_run():
    plot = ResultsPlot()
    plot.update(ROWS[:1])
    plot._x.value, plot._y.value, plot._by.value = "c", "_pset_runtime", "kind"
    plot._log.active = [1]
    plot.update(ROWS)
    assert (plot._x.value, plot._y.value) == ("c", "_pset_runtime")
    assert plot._source.data["y"].tolist() == [0.2, 0.1, 0.3]
    plot.reset()
    plot.update([{"q": 1, "_pset_seq": 0, "r": 2}])
    assert chosen(plot) == ("q", "r", NO_COLUMN)


def test_plot_axis_of_texts_and_numbers_is_one_of_texts():
    plot = ResultsPlot()
    plot.update([{"a": 1, "_pset_seq": 0, "y": 1}, {"a": "one", "_pset_seq": 1, "y": 2}])
    plot._x.value = "a"
    assert plot._source.data["x"] == ["1", "one"]


def test_plot_makes_a_new_figure_only_where_its_axes_change():
    plot = ResultsPlot()
    plot.update(ROWS[:1])
    (figure,) = plot._figure.children
    plot.update(ROWS)
    assert plot._figure.children == [figure]  # new points go to the same figure
    plot._x.value = "c"
    assert plot._figure.children != [figure]


def test_plot_legend_has_the_groups_that_come_later_in_the_colours_of_their_points():
    plot = ResultsPlot()
    plot.update(ROWS[:1])
    plot._y.value, plot._by.value = "_pset_runtime", "kind"
    (figure,) = plot._figure.children
    plot.update(ROWS[:2])  # "even" comes before "odd", and so has the first colour now
    assert plot._source.data["by"] == ["even", "odd"]
    assert plot._figure.children != [figure]
    (item,) = plot._figure.children[0].legend[0].items
    assert item.index is None  # the browser looks up the colour of each group in the points
    assert item.label.field == "by"
