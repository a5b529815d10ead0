"""A plot of any column against any other, in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from psweep_dask._convert import of_python
from psweep_dask._imports import needed_for
from psweep_dask.errors import PsweepError
from psweep_dask.monitoring.colors import PALETTE
from psweep_dask.monitoring.scatter import NONE, labels_of, points
from psweep_dask.storage.atomic import replace_file

PICTURES = (".png", ".pdf", ".svg")
"""Suffixes of what matplotlib draws; bokeh makes .html."""


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
    """Draw a point for each row that has numbers or text in these columns.

    Parameters
    ----------
    df : DataFrame
    x, y : str
        Columns.
    path : str or PathLike
        Ends in .png, .pdf, .svg, or in .html, which can be zoomed and tells of the point under
        the pointer.
    by : str, optional
        Column that decides on colours.
    log : {'', 'x', 'y', 'xy'}, optional
        The axes that are logarithmic.

    Returns
    -------
    int
        Number of points.

    Raises
    ------
    PlotError
        If a column or the format is not known, or there is nothing to draw.
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
    if suffix not in (*PICTURES, ".html"):
        raise PlotError(
            f"{os.fspath(path)!r} ends in {suffix!r}; plots are {', '.join(PICTURES)} or .html"
        )
    if set(log) - set("xy"):
        raise PlotError(f"log must be 'x', 'y' or 'xy', not {log!r}")
    columns = [x, y] if by is None else [x, y, by]
    for name in columns:
        if name not in df.columns:
            raise PlotError(f"no column {name!r}; there are {', '.join(map(str, df.columns))}")
    logs = [axis in log for axis in "xy"]
    data = points(_rows(df, columns), x, y, NONE if by is None else by, logs)
    if not data["x"]:
        raise PlotError(
            f"no row has numbers or text in {' and '.join(columns)}"
            + (", above zero on logarithmic axes" if log else "")
        )
    draw = _html if suffix == ".html" else _picture
    draw(Path(path), data, (x, y, by), logs)
    return len(data["x"])


def _rows(df: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    seqs = df["_pset_seq"] if "_pset_seq" in df.columns else pd.Series(range(len(df)))
    cells = [[_drawable(value) for value in df[name]] for name in columns]
    rows = zip(seqs.tolist(), *cells, strict=True)
    return [
        {"_pset_seq": seq} | {k: v for k, v in zip(columns, some, strict=True) if v is not None}
        for seq, *some in rows
    ]


def _drawable(value: Any) -> Any:
    """Give what can be drawn of a value, None if it cannot."""
    value = of_python(value)
    return value if isinstance(value, str | bool | int | float) else None


def _html(path: Path, data: dict[str, list[Any]], names: Any, logs: list[bool]) -> None:
    from bokeh.embed import file_html
    from bokeh.models import ColumnDataSource, LinearColorMapper
    from bokeh.palettes import Cividis256
    from bokeh.resources import INLINE

    from psweep_dask.monitoring.page_style import DOCUMENT
    from psweep_dask.monitoring.scatter import Axes, scatter

    x, y, by = names
    labels = labels_of(data)
    texts = any(isinstance(value, str) for value in data["by"])
    mapper = LinearColorMapper(Cividis256)
    if by is not None and not texts:
        mapper.update(low=min(data["by"]), high=max(data["by"]))
    axes = Axes(x, y, NONE if by is None else by, logs, labels)
    drawn = scatter(ColumnDataSource(data), mapper, axes, texts)
    text = file_html(drawn, INLINE, title=f"{y} against {x}", template=DOCUMENT)
    replace_file(path, lambda stream: stream.write(text.encode()))


def _picture(path: Path, data: dict[str, list[Any]], names: Any, logs: list[bool]) -> None:
    with needed_for("a picture of a plot"):
        from matplotlib.figure import Figure

    x, y, by = names
    labels_of(data)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    how: dict[str, Any] = {"s": 22, "alpha": 0.8, "linewidths": 0}
    if by is None:
        axes.scatter(data["x"], data["y"], color=PALETTE[0], **how)
    elif any(isinstance(value, str) for value in data["by"]):
        rows = pd.DataFrame(data)
        for name, some in rows.groupby("by", sort=False):
            axes.scatter(some["x"], some["y"], color=some["colour"], label=name, **how)
        axes.legend(title=by)
    else:
        drawn = axes.scatter(data["x"], data["y"], c=data["by"], cmap="cividis", **how)
        figure.colorbar(drawn, label=by)
    for log, scale in zip(logs, (axes.set_xscale, axes.set_yscale), strict=True):
        if log:
            scale("log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)

    def write(stream: BinaryIO) -> None:
        figure.savefig(stream, format=path.suffix[1:], dpi=150)

    replace_file(path, write)
