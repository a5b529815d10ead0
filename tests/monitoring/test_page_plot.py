"""What the plot of the dashboard draws of rows that may hold anything."""

from __future__ import annotations

import math

import pytest

from psweep_dask.monitoring.page_plot import NONE, Plot, columns_of, points

ROWS = [
    {"a": 1, "c": 5, "_pset_seq": 0, "y": 10.0, "kind": "odd", "_pset_runtime": 0.1},
    {"a": 2, "c": 5, "_pset_seq": 1, "y": -20.0, "kind": "even", "_pset_runtime": 0.2},
    {"a": 3, "c": 5, "_pset_seq": 2, "y": math.inf, "kind": "odd", "_pset_runtime": 0.3},
    {"a": 4, "c": 5, "_pset_seq": 3, "_pset_runtime": 0.3},
]


def test_columns_are_told_apart():
    assert columns_of(ROWS) == (["a", "c"], ["y", "kind"], ["_pset_seq", "_pset_runtime"])


@pytest.mark.parametrize(
    ("logs", "seqs"),
    [([False, False], [0, 1]), ([True, False], [0, 1]), ([False, True], [0])],
)
def test_rows_are_drawn_that_have_a_place_on_the_axes(logs, seqs):
    assert points(ROWS, "a", "y", NONE, logs)["pset"] == seqs


def test_each_text_has_a_colour_of_its_own():
    drawn = points(ROWS, "a", "_pset_runtime", "kind", [False, False])
    assert drawn["by"] == ["even", "odd", "odd"]
    assert drawn["colour"][1] == drawn["colour"][2] != drawn["colour"][0]


def test_few_numbers_are_a_legend_in_their_order_and_many_a_scale():
    rows = [{"a": 1, "y": 1, "b": one, "_pset_seq": 0} for one in (100, 1, 10)]
    assert points(rows, "a", "y", "b", [False, False])["by"] == ["1", "10", "100"]
    rows = [{"a": 1, "y": 1, "b": one, "_pset_seq": 0} for one in range(9)]
    assert points(rows, "a", "y", "b", [False, False])["by"] == list(range(9))


def test_at_first_a_parameter_that_varies_and_a_result_are_shown():
    plot = Plot()
    plot.update([])
    plot.update(ROWS)
    assert (plot._x.value, plot._y.value, plot._by.value) == ("a", "y", NONE)
    assert plot._source.data["x"].tolist() == [1, 2]


def test_what_was_chosen_stays_when_rows_come_and_goes_with_the_run():
    plot = Plot()
    plot.update(ROWS[:1])
    plot._x.value, plot._y.value, plot._by.value = "c", "_pset_runtime", "kind"
    plot._log.active = [1]
    plot.update(ROWS)
    assert (plot._x.value, plot._y.value) == ("c", "_pset_runtime")
    assert plot._source.data["y"].tolist() == [0.2, 0.1, 0.3]
    plot.forget()
    plot.update([{"q": 1, "_pset_seq": 0, "r": 2}])
    assert (plot._x.value, plot._y.value, plot._by.value) == ("q", "r", NONE)


def test_an_axis_of_texts_and_numbers_is_one_of_texts():
    plot = Plot()
    plot.update([{"a": 1, "_pset_seq": 0, "y": 1}, {"a": "one", "_pset_seq": 1, "y": 2}])
    plot._x.value = "a"
    assert plot._source.data["x"] == ["1", "one"]
