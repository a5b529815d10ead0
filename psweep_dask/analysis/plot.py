"""``psweep-dask plot``: one column against another, in a file."""

from __future__ import annotations

import decimal
import fractions
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bokeh.embed import file_html
from bokeh.models import ColumnDataSource, LinearColorMapper
from bokeh.palettes import Cividis256
from bokeh.resources import INLINE

from psweep_dask._convert import to_python
from psweep_dask._imports import needed_for
from psweep_dask.analysis.dataset import check_columns
from psweep_dask.errors import PsweepError
from psweep_dask.monitoring.scatter import NO_COLUMN, axis_labels, has_text, points, scatter
from psweep_dask.monitoring.style import PAGE_TEMPLATE, PALETTE
from psweep_dask.storage.atomic import replace_file

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")  # formats that matplotlib draws; bokeh makes .html


class PlotError(PsweepError):
    """A plot that cannot be drawn as asked."""


def save_plot(
    df: pd.DataFrame,
    x: str,
    y: str,
    path: str | os.PathLike[str],
    *,
    by: str | None = None,
    log: str = "",
) -> int:
    """Plot a point for each row with numbers or text in both columns; return how many there are.

    The suffix of the file is .png, .pdf, .svg or .html: there one can zoom, and see the row of the
    point under the pointer. Points with the same value in the column `by` have the same colour.
    `log` names the axes that are logarithmic: "", "x", "y" or "xy".
    """
    suffix = Path(path).suffix
    if suffix not in (*PICTURE_SUFFIXES, ".html"):
        raise PlotError(
            f"{os.fspath(path)!r} ends in {suffix!r}; "
            f"plots are {', '.join(PICTURE_SUFFIXES)} or .html"
        )
    if set(log) - set("xy"):
        raise PlotError(f"log must be 'x', 'y' or 'xy', not {log!r}")
    columns = [x, y] if by is None else [x, y, by]
    check_columns(df, columns, PlotError)
    logs = [axis in log for axis in "xy"]
    data = points(_rows(df, columns), x, y, NO_COLUMN if by is None else by, logs)
    if not data["x"]:
        raise PlotError(
            f"no row has numbers or text in {' and '.join(columns)}"
            + (", above zero on logarithmic axes" if log else "")
        )
    draw = _draw_html if suffix == ".html" else _draw_picture
    draw(Path(path), data, (x, y, by), logs)
    return len(data["x"])


def _rows(df: pd.DataFrame, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows as dicts, without the cells that cannot be drawn."""
    seqs = df["_pset_seq"].tolist() if "_pset_seq" in df.columns else range(len(df))
    for seq, cells in zip(seqs, df[list(dict.fromkeys(columns))].to_dict("records"), strict=True):
        row = {str(name): _plain(value) for name, value in cells.items()}
        drawable = {name: row[name] for name in row if isinstance(row[name], str | int | float)}
        yield {"_pset_seq": seq} | drawable


def _plain(value: Any) -> Any:
    """Return numbers of all types as those of Python."""
    if isinstance(value, decimal.Decimal | fractions.Fraction | np.longdouble):
        return float(value)
    return to_python(value)


def _draw_html(path: Path, data: dict[str, list[Any]], names: Any, logs: list[bool]) -> None:
    x, y, by = names
    labels = axis_labels(data)
    mapper = LinearColorMapper(Cividis256)
    if by is not None and not has_text(data["by"]):
        mapper.update(low=min(data["by"]), high=max(data["by"]))
    columns = (x, y, NO_COLUMN if by is None else by)
    figure = scatter(ColumnDataSource(data), mapper, columns, logs, labels)
    text = file_html(figure, INLINE, title=f"{y} against {x}", template=PAGE_TEMPLATE)
    replace_file(path, lambda stream: stream.write(text.encode()))


def _draw_picture(path: Path, data: dict[str, list[Any]], names: Any, logs: list[bool]) -> None:
    with needed_for("a picture of a plot"):
        from matplotlib.figure import Figure

    x, y, by = names
    axis_labels(data)  # makes text of numbers that share an axis with text
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    scales = {f"{axis}scale": "log" for axis, is_log in zip("xy", logs, strict=True) if is_log}
    axes = figure.add_subplot(xlabel=x, ylabel=y, **scales)
    style: dict[str, Any] = {"s": 22, "alpha": 0.8, "linewidths": 0}
    if by is None:
        axes.scatter(data["x"], data["y"], color=PALETTE[0], **style)
    elif has_text(data["by"]):
        for name, group in pd.DataFrame(data).groupby("by", sort=False):
            axes.scatter(group["x"], group["y"], color=group["colour"], label=name, **style)
        axes.legend(title=by)
    else:
        dots = axes.scatter(data["x"], data["y"], c=data["by"], cmap="cividis", **style)
        figure.colorbar(dots, label=by)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    replace_file(path, lambda stream: figure.savefig(stream, format=path.suffix[1:], dpi=150))
