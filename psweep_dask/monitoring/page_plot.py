"""The plot in the dashboard's page: any column against any other, growing while a run goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import CheckboxButtonGroup, ColumnDataSource, LinearColorMapper, Select
from bokeh.palettes import Cividis256

from psweep_dask.monitoring.scatter import NO_COLUMN, axis_labels, has_text, points, scatter
from psweep_dask.monitoring.style import WIDGET_CSS
from psweep_dask.storage.columns import ColumnOrder
from psweep_dask.storage.record import Record


class ResultsPlot:
    """The plot, and the menus that choose its columns."""

    def __init__(self) -> None:
        self._x = _menu("x")
        self._y = _menu("y")
        self._by = _menu("colour", options=[NO_COLUMN], value=NO_COLUMN)
        self._log = CheckboxButtonGroup(labels=["log x", "log y"], stylesheets=[WIDGET_CSS])
        self._points: dict[str, list[Any]] = {"x": [], "y": [], "by": [], "colour": [], "pset": []}
        self._source = ColumnDataSource(self._points, name="results")
        self._mapper = LinearColorMapper(Cividis256)
        self._rows: Sequence[Record] = ()
        self._drawn: tuple[Any, ...] = ()
        for menu in (self._x, self._y, self._by):
            menu.on_change("value", lambda attr, old, new: self._draw())
        self._log.on_change("active", lambda attr, old, new: self._draw())
        self._figure = column(sizing_mode="stretch_width")
        menus = row(self._x, self._y, self._by, column(self._log, align="end"))
        self.layout = column(menus, self._figure, sizing_mode="stretch_width")

    def reset(self) -> None:
        """Drop the choice of columns, since another run is shown now."""
        self._x.value = self._y.value = ""
        self._by.value = NO_COLUMN
        self._drawn = ()

    def update(self, rows: Sequence[Record]) -> None:
        """Draw these rows; columns that are new among them can be chosen."""
        self._rows = rows
        params, results, ours = columns_of(rows)
        names = [*params, *results, *ours]
        if not names:
            return
        _offer(self._x, names, [*_number_columns(params, rows), *names])
        _offer(self._y, names, [*_number_columns(results, rows), "_pset_runtime", *names])
        _offer(self._by, [NO_COLUMN, *names], [NO_COLUMN])
        self._draw()

    def _draw(self) -> None:
        """Send the points that are new; make a new figure where the axes or the legend change."""
        x, y, by = str(self._x.value), str(self._y.value), str(self._by.value)
        if not x or not y:
            return
        logs = [index in self._log.active for index in (0, 1)]
        data = points(self._rows, x, y, by, logs)
        by_text = has_text(data["by"])
        labels = axis_labels(data)
        if by != NO_COLUMN and not by_text and data["by"]:
            self._mapper.update(low=min(data["by"]), high=max(data["by"]))
        if data != self._points:
            self._points = data
            self._source.data = compact(data)
        groups = tuple(dict.fromkeys(data["by"])) if by_text else ()
        drawn = (x, y, by, by_text, groups, *logs, *map(tuple, labels))
        if drawn != self._drawn:
            self._drawn = drawn
            self._figure.children = [scatter(self._source, self._mapper, (x, y, by), logs, labels)]


def compact(data: dict[str, list[Any]]) -> dict[str, Any]:
    """Turn columns of numbers into arrays: bokeh sends these in a hundredth of the time."""
    return {
        name: values if has_text(values) else np.array(values, float)
        for name, values in data.items()
    }


def columns_of(rows: Iterable[Record]) -> tuple[list[str], list[str], list[str]]:
    """Return the names of the parameters, results and book-keeping columns in rows."""
    order = ColumnOrder()
    for record in rows:
        order.add(tuple(record))
    roles = order.roles()
    book_keeping = [name for name in roles.book_keeping if name != "_time_utc"]
    return list(map(str, roles.params)), list(map(str, roles.results)), book_keeping


def _number_columns(names: Iterable[str], rows: Iterable[Record]) -> list[str]:
    """Return the columns that hold numbers only, first those with more than one value."""
    values = {name: {record[name] for record in rows if name in record} for name in names}
    numbers = [
        name for name in values if all(isinstance(value, int | float) for value in values[name])
    ]
    return sorted(numbers, key=lambda name: len(values[name]) < 2)


def _menu(title: str, options: Sequence[str] = (), value: str = "") -> Select:
    sheets = [WIDGET_CSS]
    return Select(title=title, options=list(options), value=value, width=180, stylesheets=sheets)


def _offer(menu: Select, names: list[str], preferred: Iterable[str]) -> None:
    """Set what a menu offers; where its choice is not offered any more, choose the preferred."""
    if menu.options != names:
        menu.options = names
    if menu.value not in names:
        menu.value = next(name for name in preferred if name in names)
