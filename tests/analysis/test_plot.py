"""Plots in files: the right points, colours and axes, and an error where there is nothing."""

from __future__ import annotations

import decimal
import fractions
import re

import numpy as np
import pandas as pd
import pytest

from psweep_dask.analysis.plot import PlotError, save_plot

DF = pd.DataFrame(
    {
        "a": [1, 2, 3, 4],
        "b": ["x", "y", "x", "y"],
        "y": [0.1, -1.0, 10.0, np.nan],
        "_pset_seq": range(4),
        "d": [{}, [], None, 1],
    }
)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "html"])
@pytest.mark.parametrize("by", [None, "a", "b"])
def test_plot_in_each_format_with_each_kind_of_colour(suffix, by, tmp_path):
    path = tmp_path / f"x.{suffix}"
    assert save_plot(DF, "a", "y", path, by=by) == 3
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!DOCTYPE html>"}
    assert path.read_bytes().lstrip().startswith(begins[suffix])


def test_plot_points_are_in_the_right_place(tmp_path):
    save_plot(DF, "a", "y", tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    ys = [float(y) for y in re.findall(r'<use .*?y="([0-9.]+)".*?style="fill: #0072b2', text)]
    assert len(ys) == 3
    assert (ys[0] - ys[2]) / (ys[1] - ys[2]) == pytest.approx(9.9 / 11.0, rel=1e-3)


def test_plot_log_axis_leaves_out_what_is_not_above_zero(tmp_path):
    assert save_plot(DF, "a", "y", tmp_path / "x.png", log="xy") == 2
    assert save_plot(DF, "b", "a", tmp_path / "x.html", log="y") == 4


@pytest.mark.parametrize("suffix", ["png", "html"])
def test_plot_of_ints_of_any_size_and_of_other_numbers(suffix, tmp_path):
    ys = [1, 2**60 + 1, 10**400, decimal.Decimal("0.5"), fractions.Fraction(1, 2), np.longdouble(2)]
    df = pd.DataFrame({"x": range(6), "y": pd.Series(ys, dtype=object)})
    path = tmp_path / f"x.{suffix}"
    assert save_plot(df, "x", "y", path) == 5  # no axis has a place for 10**400
    assert save_plot(df, "y", "x", path, by="y", log="x") == 5


def test_plot_of_what_cannot_be_drawn_is_an_error(tmp_path):
    path = tmp_path / "x.png"
    with pytest.raises(PlotError, match="no column 'q'; there are a, b"):
        save_plot(DF, "q", "y", path)
    with pytest.raises(PlotError, match="ends in '.gif'; plots are .png"):
        save_plot(DF, "a", "y", tmp_path / "x.gif")
    with pytest.raises(PlotError, match="log must be 'x', 'y' or 'xy', not 'z'"):
        save_plot(DF, "a", "y", path, log="z")
    with pytest.raises(PlotError, match="no row has numbers or text in a and d"):
        save_plot(DF[:3], "a", "d", path)
    assert not path.exists()
