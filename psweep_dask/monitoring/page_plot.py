"""The plot of any column against any other that grows while a run goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    CheckboxButtonGroup,
    ColumnDataSource,
    InlineStyleSheet,
    LinearColorMapper,
    Select,
)
from bokeh.palettes import Cividis256

from psweep_dask.monitoring.page_style import WIDGET
from psweep_dask.monitoring.scatter import NONE, Axes, labels_of, points, scatter
from psweep_dask.params.pset import RESERVED_FIELDS
from psweep_dask.storage.record import Record


class Plot:
    """The plot with what can be chosen for it."""

    def __init__(self) -> None:
        sheet = InlineStyleSheet(css=WIDGET)
        self._x = Select(title="x", options=[], width=180, stylesheets=[sheet])
        self._y = Select(title="y", options=[], width=180, stylesheets=[sheet])
        self._by = Select(
            title="colour", options=[NONE], value=NONE, width=180, stylesheets=[sheet]
        )
        self._log = CheckboxButtonGroup(labels=["log x", "log y"], stylesheets=[sheet])
        empty: dict[str, list[Any]] = {one: [] for one in ("x", "y", "by", "colour", "pset")}
        self._source = ColumnDataSource(empty, name="results")
        self._mapper = LinearColorMapper(Cividis256)
        self._rows: Sequence[Record] = ()
        self._sent: dict[str, list[Any]] = {}
        self._drawn: tuple[Any, ...] = ()
        for choice in (self._x, self._y, self._by):
            choice.on_change("value", lambda attr, old, new: self._draw())
        self._log.on_change("active", lambda attr, old, new: self._draw())
        self._place = column(sizing_mode="stretch_width")
        choices = row(self._x, self._y, self._by, column(self._log, align="end"))
        self.layout = column(choices, self._place, sizing_mode="stretch_width")

    def forget(self) -> None:
        """Begin anew: another run is shown."""
        self._x.value = self._y.value = ""
        self._by.value = NONE
        self._drawn = ()

    def update(self, rows: Sequence[Record]) -> None:
        """Show the rows."""
        self._rows = rows
        params, results, ours = columns_of(rows)
        known = [*params, *results, *ours]
        if not known:
            return
        self._offer(self._x, known, [*_numbers(params, rows), *known])
        self._offer(self._y, known, [*_numbers(results, rows), "_pset_runtime", *known])
        self._offer(self._by, [NONE, *known], [NONE])
        self._draw()

    def _offer(self, choice: Select, options: list[str], best: Iterable[str]) -> None:
        if choice.options != options:
            choice.options = options
        if choice.value not in options:
            choice.value = next(one for one in best if one in options)

    def _draw(self) -> None:
        x, y, by = str(self._x.value), str(self._y.value), str(self._by.value)
        if not x or not y:
            return
        logs = [one in self._log.active for one in (0, 1)]
        data = points(self._rows, x, y, by, logs)
        texts = any(isinstance(value, str) for value in data["by"])
        labels = labels_of(data)
        if by != NONE and not texts and data["by"]:
            self._mapper.update(low=min(data["by"]), high=max(data["by"]))
        if data != self._sent:
            self._sent = data
            self._source.data = compact(data)
        wanted = (x, y, by, texts, *logs, *map(tuple, labels))
        if wanted != self._drawn:
            self._drawn = wanted
            drawn = scatter(self._source, self._mapper, Axes(x, y, by, logs, labels), texts)
            self._place.children = [drawn]


def compact(data: dict[str, list[Any]]) -> dict[str, Any]:
    """Make arrays of columns of numbers, which bokeh sends in a hundredth of the time.

    Examples
    --------
    >>> compact({"x": [1, 2.5], "by": ["", ""]})
    {'x': array([1. , 2.5]), 'by': ['', '']}
    """
    return {
        name: values if any(isinstance(one, str) for one in values) else np.array(values, float)
        for name, values in data.items()
    }


def columns_of(rows: Iterable[Record]) -> tuple[list[str], list[str], list[str]]:
    """Tell the names of parameters, of results and of book-keeping columns in rows.

    Examples
    --------
    >>> columns_of([{"a": 1, "_pset_seq": 0, "y": 2, "_pset_runtime": 0.1}])
    (['a'], ['y'], ['_pset_seq', '_pset_runtime'])
    """
    params: dict[str, None] = {}
    results: dict[str, None] = {}
    ours: dict[str, None] = {}
    for one in rows:
        kind = params
        for name in one:
            if name in RESERVED_FIELDS:
                ours[name] = None
                kind = results
            elif name not in params:
                kind[str(name)] = None
    ours.pop("_time_utc", None)
    return list(params), list(results), list(ours)


def _numbers(names: Iterable[str], rows: Iterable[Record]) -> list[str]:
    """Give the columns that hold numbers, those first that vary."""
    values = {name: {one[name] for one in rows if name in one} for name in names}
    numbers = [
        name for name, some in values.items() if all(isinstance(one, int | float) for one in some)
    ]
    return sorted(numbers, key=lambda name: len(values[name]) < 2)
