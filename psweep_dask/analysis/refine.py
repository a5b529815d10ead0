"""Where a curve needs more points."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd

from psweep_dask._imports import needed_for
from psweep_dask._query import check_df
from psweep_dask.analysis.dataset import only_value, params_and_results
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset
from psweep_dask.params.spacing import is_whole

log = logging.getLogger("psweep_dask")


def refine(df: pd.DataFrame, x: str, y: str, n: int = 20) -> list[Pset]:
    """Propose psets where a result changes much from one value of a parameter to the next.

    Parameters
    ----------
    df : DataFrame
        Rows that are there. The parameters other than `x` have one value throughout, which the
        new psets get too: choose rows before, if they do not.
    x, y : str
        A parameter and a result, both numbers. Repeats are averaged, gaps left out.
    n : int, optional
        How many psets, at most: fewer if `x` are whole numbers and there are no more between.

    Returns
    -------
    list of dict
        Sorted by `x`. Pass them to `run`, and refine again.

    Raises
    ------
    ParamsError
        If there are less than two points, or a column is missing or holds no numbers.
    LabelError
        If another parameter varies.
    MissingPackageError
        If the package adaptive is not installed, whose rule is used: the longest piece of the
        curve, drawn with both axes scaled to 1, is divided first.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> step = lambda pset: {"y": float(pset["a"] > 6.3)}
    >>> params = ps.plist("a", [0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    >>> df = ps.run(step, params, cluster="sync", save=False)
    >>> [pset["a"] for pset in refine(df, "a", "y", n=3)]
    [6.5, 7.0, 7.5]
    """
    check_df(df, "ps.refine(df, x, y)")
    if not isinstance(x, str) or not isinstance(y, str):
        raise ParamsError(f"x and y name one column each, not {x!r} and {y!r}")
    xs, ys = _points(df, x, y)
    others = _others(df, x)
    with needed_for("refine"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # adaptive looks for notebooks when it is imported
        import adaptive
    if not is_whole(n) or n < 1:
        raise ParamsError(f"n must be a whole number above zero, not {n!r}")
    learner = adaptive.Learner1D(None, bounds=(float(xs[0]), float(xs[-1])))
    learner.tell_many(xs.astype(float).tolist(), ys.tolist())
    whole = xs.dtype.kind in "iu"
    known = set(xs.tolist())
    found: set[Any] = set()
    for point in learner.ask(4 * n if whole else n)[0]:
        value = round(point) if whole else float(point)
        if value not in known and len(found) < n:
            found.add(value)
    if not found:
        log.warning("nothing to refine: %r are whole numbers, and none lies between them", x)
    return [{**others, x: value} for value in sorted(found)]


def _points(df: pd.DataFrame, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    for name in (x, y):
        if name not in df.columns:
            raise ParamsError(f"no column {name!r}; there are {', '.join(map(str, df.columns))}")
    if df[x].dtype.kind not in "iuf":
        raise ParamsError(f"{x!r} holds no numbers, so nothing is between its values")
    numbers = pd.to_numeric(df[y], errors="coerce")
    good = np.isfinite(numbers.astype(float)) & df[x].notna()
    means = numbers[good].groupby(df.loc[good, x].to_numpy()).mean()
    if len(means) < 2:
        raise ParamsError(f"{len(means)} values of {x!r} have a number as {y!r}; two are needed")
    return means.index.to_numpy(), means.to_numpy(dtype=float)


def _others(df: pd.DataFrame, x: str) -> Pset:
    """Give the other parameters, which have one value each."""
    return {name: only_value(df, name) for name in params_and_results(df)[0] if name != x}
