"""What a scatter plot of two columns draws: places, and colours by a third one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from psweep_dask.colours import PALETTE
from psweep_dask.record import Record

NONE = "(none)"
"""Stands for no column, where one can be chosen for the colours."""


def points(
    rows: Iterable[Record], x: str, y: str, by: str, logs: Sequence[bool]
) -> dict[str, list[Any]]:
    """Give what is drawn of rows: those that have all, and can be drawn on these axes.

    Colours stand for names, or for numbers if there are more than `PALETTE` has.

    Examples
    --------
    >>> rows = [{"a": 1, "y": 2.0, "_pset_seq": 7}, {"a": 0, "y": 1.0, "_pset_seq": 8}]
    >>> points(rows, "a", "y", NONE, [True, False])
    {'x': [1], 'y': [2.0], 'by': [''], 'colour': ['#0072b2'], 'pset': [7]}
    """
    found = [
        (one[x], one[y], one.get(by, ""), one["_pset_seq"])
        for one in rows
        if x in one and y in one and (by == NONE or by in one)
    ]
    found = [
        one
        for one in found
        if all(_fits(value, log) for value, log in zip(one, (*logs, False), strict=False))
    ]
    found, known = _grouped(found)
    colours = {one: PALETTE[min(at, len(PALETTE) - 1)] for at, one in enumerate(known)}
    return {
        "x": [one[0] for one in found],
        "y": [one[1] for one in found],
        "by": [one[2] for one in found],
        "colour": [colours[one[2]] for one in found],
        "pset": [one[3] for one in found],
    }


def _grouped(found: list[Any]) -> tuple[list[Any], list[Any]]:
    """Give points that have names, or few values, in groups with names; and what groups there are.

    On a scale of colours, 1 and 10 look the same beside 1000.
    """
    known = {one[2] for one in found}
    named = any(isinstance(value, str) for value in known)
    if not named and len(known) > len(PALETTE):
        return found, sorted(known)
    order = sorted(known, key=str if named else None)
    names = {value: value if isinstance(value, str) else f"{value:.6g}" for value in order}
    place = {value: at for at, value in enumerate(order)}
    found = sorted(found, key=lambda one: place[one[2]])  # legends stand in the order of points
    return [(x, y, names[by], pset) for x, y, by, pset in found], list(names.values())


def _fits(value: Any, log: bool) -> bool:
    if isinstance(value, str):
        return not log
    return math.isfinite(value) and (not log or value > 0)


def labels_of(data: dict[str, list[Any]]) -> list[list[str]]:
    """Tell, for x and y, the names that stand along it; none along an axis of numbers.

    Values among names are made names.

    Examples
    --------
    >>> data = {"x": [1, "b"], "y": [2, 3]}
    >>> labels_of(data), data["x"]
    ([['1', 'b'], []], ['1', 'b'])
    """
    labels: list[list[str]] = []
    for axis in "xy":
        named = any(isinstance(value, str) for value in data[axis])
        data[axis] = [str(value) for value in data[axis]] if named else data[axis]
        labels.append(sorted(set(data[axis])) if named else [])
    return labels
