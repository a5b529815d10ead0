"""``psweep-dask plot``: one column against another, in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from psweep_dask._convert import to_python
from psweep_dask._imports import needed_for
from psweep_dask.analysis.dataset import check_columns
from psweep_dask.errors import PsweepError
from psweep_dask.monitoring.scatter import NO_COLUMN, axis_labels, points
from psweep_dask.monitoring.style import PALETTE
from psweep_dask.storage.atomic import replace_file

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
"""Formats that matplotlib draws; bokeh makes .html."""


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
    """Plot two columns of a database: a point for each row with numbers or text in both.

    Parameters
    ----------
    df : DataFrame
    x, y : str
        Names of columns.
    path : str or PathLike
        The file. It ends in .png, .pdf, .svg, or in .html: there one can zoom, and see the row of
        the point under the pointer.
    by : str, optional
        Name of a column; points with the same value in it have the same colour.
    log : {'', 'x', 'y', 'xy'}, optional
        The axes that are logarithmic.

    Returns
    -------
    int
        Number of points.

    Raises
    ------
    PlotError
        If a column or the format is not known, or there is no point to draw.
    MissingPackageError
        If matplotlib is needed and not installed.

    Examples
    --------
    >>> import tempfile
    >>> df = pd.DataFrame({"a": [1, 2, 3], "y": [1.0, 4.0, None]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_plot(df, "a", "y", f"{folder}/y.html")
    2
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


def _rows(df: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    seqs = df["_pset_seq"] if "_pset_seq" in df.columns else pd.Series(range(len(df)))
    cells = [[_drawable(value) for value in df[name]] for name in columns]
    rows = []
    for seq, *values in zip(seqs.tolist(), *cells, strict=True):
        row = zip(columns, values, strict=True)
        rows.append({"_pset_seq": seq} | {name: value for name, value in row if value is not None})
    return rows


def _drawable(value: Any) -> Any:
    """Return a number or text as a type of Python; None for what cannot be drawn."""
    value = to_python(value)
    return value if isinstance(value, str | bool | int | float) else None


def _draw_html(path: Path, data: dict[str, list[Any]], names: Any, logs: list[bool]) -> None:
    from bokeh.embed import file_html
    from bokeh.models import ColumnDataSource, LinearColorMapper
    from bokeh.palettes import Cividis256
    from bokeh.resources import INLINE

    from psweep_dask.monitoring.scatter import Axes, scatter
    from psweep_dask.monitoring.style import PAGE_TEMPLATE

    x, y, by = names
    labels = axis_labels(data)
    by_text = any(isinstance(value, str) for value in data["by"])
    mapper = LinearColorMapper(Cividis256)
    if by is not None and not by_text:
        mapper.update(low=min(data["by"]), high=max(data["by"]))
    axes = Axes(x, y, NO_COLUMN if by is None else by, logs, labels)
    figure = scatter(ColumnDataSource(data), mapper, axes, by_text)
    text = file_html(figure, INLINE, title=f"{y} against {x}", template=PAGE_TEMPLATE)
    replace_file(path, lambda stream: stream.write(text.encode()))


def _draw_picture(path: Path, data: dict[str, list[Any]], names: Any, logs: list[bool]) -> None:
    with needed_for("a picture of a plot"):
        from matplotlib.figure import Figure

    x, y, by = names
    axis_labels(data)  # makes text of numbers that share an axis with text
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    style: dict[str, Any] = {"s": 22, "alpha": 0.8, "linewidths": 0}
    if by is None:
        axes.scatter(data["x"], data["y"], color=PALETTE[0], **style)
    elif any(isinstance(value, str) for value in data["by"]):
        for name, group in pd.DataFrame(data).groupby("by", sort=False):
            axes.scatter(group["x"], group["y"], color=group["colour"], label=name, **style)
        axes.legend(title=by)
    else:
        dots = axes.scatter(data["x"], data["y"], c=data["by"], cmap="cividis", **style)
        figure.colorbar(dots, label=by)
    for is_log, set_scale in zip(logs, (axes.set_xscale, axes.set_yscale), strict=True):
        if is_log:
            set_scale("log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)

    def write(stream: BinaryIO) -> None:
        figure.savefig(stream, format=path.suffix[1:], dpi=150)

    replace_file(path, write)
