"""``refine``: propose parameters where a curve needs more points."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from psweep_dask._convert import to_int
from psweep_dask._imports import needed_for
from psweep_dask._query import check_database
from psweep_dask.analysis.dataset import check_columns, only_value, params_and_results
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset
from psweep_dask.storage.columns import without_own_types

log = logging.getLogger("psweep_dask")

MAX_ROUNDS = 20
"""How often integers are asked for, until there are enough that have not been tried."""


def refine(df: pd.DataFrame, x: str, y: str, n: int = 20) -> list[Pset]:
    """Propose psets where a result changes much from one value of a parameter to the next.

    The longest pieces of the curve are divided first, where both axes are scaled to 1. This is the
    rule of the package adaptive.

    Parameters
    ----------
    df : DataFrame
        The rows that there are. Each parameter other than `x` must have the same value in all of
        them, which the new psets get, too. If it has several values, choose rows first.
    x, y : str
        Names of a parameter and of a result, both numbers. Rows with equal `x` are averaged. Where
        `y` is no number, since the pset has failed or gave NaN, `x` is not proposed again.
    n : int, optional
        Number of psets. There can be fewer if `x` are integers.

    Returns
    -------
    list of dict
        Sorted by `x`. Pass them to `run`, and refine again.

    Raises
    ------
    ParamsError
        If there are less than two points, or a column is missing or does not hold numbers.
    LabelError
        If another parameter varies.
    NoDataFrameError, DatabaseError, MissingPackageError
        If `df` is no DataFrame, or a database of psweep, which `import_psweep` reads, or the
        package adaptive is not installed.

    See Also
    --------
    sample : Fill a whole space with points.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> step = lambda pset: {"y": float(pset["a"] > 6.3)}
    >>> params = ps.plist("a", [0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    >>> df = ps.run(step, params, cluster="sync", save=False)
    >>> [pset["a"] for pset in refine(df, "a", "y", n=3)]
    [6.5, 7.0, 7.5]
    """
    check_database(df, "ps.refine(df, x, y)")
    if not isinstance(x, str) or not isinstance(y, str):
        raise ParamsError(f"x and y name one column each, not {x!r} and {y!r}")
    xs, ys = _points(df, x, y)
    others = {name: only_value(df, name) for name in params_and_results(df)[0] if name != x}
    with needed_for("refine"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # adaptive looks for notebooks when it is imported
        import adaptive
    number = to_int(n)
    if number is None or number < 1:
        raise ParamsError(f"n must be a whole number above zero, not {n!r}")
    learner = adaptive.Learner1D(None, bounds=(float(xs[0]), float(xs[-1])))
    learner.tell_many(xs.astype(float).tolist(), ys.tolist())
    tried = set(without_own_types(df[x]).dropna().tolist())
    for value in tried.difference(xs.tolist()):  # its pset has failed, or gave NaN
        if xs[0] < value < xs[-1]:
            learner.tell_pending(float(value))
    new = _proposed(learner, number, tried, xs.dtype.kind in "iu")
    if not new:
        log.warning(
            "nothing to refine: %r are whole numbers, and all between them have been tried", x
        )
    return [{**others, x: value} for value in sorted(new)]


def _proposed(learner: Any, number: int, tried: Collection[float], integers: bool) -> list[float]:
    """Return up to this number of values that have not been tried."""
    new: dict[float, None] = {}
    for _ in range(MAX_ROUNDS if integers else 1):
        # Several points can round to the same integer, so one may have to ask several times.
        points = learner.ask(number)[0]
        values = (round(point) if integers else float(point) for point in points)
        new |= dict.fromkeys(value for value in values if value not in tried)
        if len(new) >= number:
            break
    return list(new)[:number]


def _points(df: pd.DataFrame, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of `x`, sorted, and the mean of `y` at each of them."""
    check_columns(df, [x, y], ParamsError)
    column = without_own_types(df[x])
    if column.dtype.kind not in "iuf":
        raise ParamsError(f"{x!r} holds no numbers, so nothing is between its values")
    numbers = pd.to_numeric(without_own_types(df[y]), errors="coerce").astype(float)
    usable = np.isfinite(numbers) & column.notna()
    means = numbers[usable].groupby(column[usable].to_numpy()).mean()
    if len(means) < 2:
        raise ParamsError(f"{len(means)} values of {x!r} have a number as {y!r}; two are needed")
    return means.index.to_numpy(), means.to_numpy(dtype=float)
