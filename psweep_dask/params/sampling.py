"""Samples of a parameter space that has too many dimensions for a grid."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from psweep_dask._convert import of_python
from psweep_dask._format import typed_repr
from psweep_dask._imports import needed_for
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset
from psweep_dask.params.spacing import MOST_EXACT, intspace, is_whole, logspace

METHODS = ("lhs", "sobol", "halton", "random", "grid")


def sample(
    space: Mapping[str, Any], n: int, method: str = "lhs", seed: int | None = None
) -> list[Pset]:
    """Draw psets that fill a space evenly.

    Parameters
    ----------
    space : Mapping
        For each parameter its range: ``(0.0, 1.0)`` floats, ``(1, 100)`` whole numbers, both bounds
        included, ``(1e-6, 1.0, "log")`` the same on a logarithmic scale, ``["x", "y"]`` choices,
        and ``[5]`` what stays the same.
    n : int
        How many psets. 'grid' gives as many as make a whole grid, but not more.
    method : {'lhs', 'sobol', 'halton', 'random', 'grid'}, optional
        Latin hypercube, Sobol and Halton sequences as in `scipy.stats.qmc`, independent random
        numbers, or a grid with the same number of levels for each range and all choices. Sobol is
        most even where `n` is a power of two.
    seed : int, optional
        The same seed gives the same psets. None is another each time.

    Returns
    -------
    list of dict

    Raises
    ------
    ParamsError
        If a range, `n`, `method` or `seed` is not as above.
    MissingPackageError
        If scipy is needed and not installed.

    Examples
    --------
    >>> sample({"x": (0.0, 1.0), "n": (1, 100), "s": ["a", "b"]}, 2, method="random", seed=0)
    [{'x': 0.6369616873214543, 'n': 27, 's': 'a'}, {'x': 0.016527635528529094, 'n': 82, 's': 'b'}]
    >>> sample({"x": (0.0, 1.0), "lr": (0.01, 1.0, "log")}, 9, method="grid")[:2]
    [{'x': 0.0, 'lr': 0.01}, {'x': 0.0, 'lr': 0.1}]
    """
    if method not in METHODS:
        raise ParamsError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if not is_whole(n) or not 1 <= n < MOST_EXACT:
        raise ParamsError(f"n must be a whole number above zero, not {typed_repr(n)}")
    if not isinstance(space, Mapping) or not space:
        raise ParamsError(f"space must be a dict of parameters and their ranges, not {space!r}")
    if seed is not None and (not is_whole(seed) or seed < 0):
        raise ParamsError(f"seed must be None or a whole number from 0, not {seed!r}")
    ranges = {name: _range(name, given) for name, given in space.items()}
    if method == "grid":
        return _grid(ranges, int(n))
    numbers = _unit_cube(len(ranges), int(n), method, np.random.default_rng(seed))
    columns = [one.at(numbers[:, axis]) for axis, one in enumerate(ranges.values())]
    return [dict(zip(ranges, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class _Range:
    """The range of a parameter.

    Parameters
    ----------
    at : callable
        Gives values for numbers between 0 and 1.
    levels : callable
        Gives so many values for a grid, or fewer.
    size : int or None
        Number of choices; None if it is a scale.
    """

    at: Callable[[np.ndarray], list[Any]]
    levels: Callable[[int], list[Any]]
    size: int | None = None


def _range(name: str, given: Any) -> _Range:
    if not isinstance(name, str):
        raise ParamsError(f"the name of a parameter must be a str, not {name!r}")
    if isinstance(given, list | range) or (isinstance(given, np.ndarray) and given.ndim):
        return _choices(name, list(given))
    if isinstance(given, tuple) and len(given) in (2, 3) and (given[2:] in ((), ("log",))):
        low, high = (_number(name, bound, given) for bound in given[:2])
        if low >= high:
            raise ParamsError(f"{name!r}: the lower bound comes first, and is lower: {given!r}")
        if given[2:] and low <= 0:
            raise ParamsError(f"{name!r}: a logarithmic scale begins above zero: {given!r}")
        whole = isinstance(low, int) and isinstance(high, int)
        return (_ints if whole else _floats)(low, high, bool(given[2:]))
    raise ParamsError(
        f"{name!r}: {given!r} is no range; write (0.0, 1.0), (1, 100), (1e-3, 1.0, 'log'), "
        "a list of choices, or [value]"
    )


def _number(name: str, bound: Any, given: Any) -> Any:
    bound = of_python(bound)
    if isinstance(bound, int) and abs(bound) >= MOST_EXACT:
        raise ParamsError(f"{name!r}: a bound is not below 2**53: {typed_repr(bound)}")
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
        raise ParamsError(f"{name!r}: {bound!r} is no number that can be a bound, in {given!r}")
    if abs(bound) > sys.float_info.max / 4:
        raise ParamsError(f"{name!r}: {bound!r} is too large for a bound, in {given!r}")
    return bound


def _choices(name: str, choices: list[Any]) -> _Range:
    if not choices:
        raise ParamsError(f"{name!r} has no choices")
    plain = [of_python(one) for one in choices]

    def at(numbers: np.ndarray) -> list[Any]:
        return [plain[min(int(one * len(plain)), len(plain) - 1)] for one in numbers]

    return _Range(at, lambda count: plain, len(plain))


def _floats(low: float, high: float, log: bool) -> _Range:
    def at(numbers: np.ndarray) -> list[Any]:
        if log:
            values = np.exp(np.log(low) + numbers * (np.log(high) - np.log(low)))
        else:
            values = low + numbers * (high - low)
        return list(np.clip(values, low, high).tolist())

    space = logspace if log else np.linspace
    return _Range(at, lambda count: [float(one) for one in space(low, high, count)])


def _ints(low: int, high: int, log: bool) -> _Range:
    def at(numbers: np.ndarray) -> list[Any]:
        if log:
            values = np.exp(np.log(low) + numbers * (np.log(high + 1) - np.log(low)))
        else:
            values = low + numbers * (high + 1 - low)
        return list(np.clip(np.floor(values), low, high).astype(int).tolist())

    def levels(count: int) -> list[int]:
        if not log:
            return list(intspace(low, high, count).tolist())
        numbers = np.rint(logspace(low, high, count)).astype(int).tolist()
        return list(dict.fromkeys(numbers))

    return _Range(at, levels)


def _unit_cube(dims: int, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
    if method == "random":
        return rng.random((n, dims))
    with needed_for(f"sample(method={method!r})"):
        from scipy.stats import qmc

    if method == "sobol":  # of a power of two, it does not warn
        whole = qmc.Sobol(dims, rng=rng).random_base2(math.ceil(math.log2(n)))
        return np.asarray(whole[:n])
    engine = {"lhs": qmc.LatinHypercube, "halton": qmc.Halton}[method]
    return np.asarray(engine(dims, rng=rng).random(n))


def _grid(ranges: Mapping[str, _Range], n: int) -> list[Pset]:
    fixed = math.prod(one.size for one in ranges.values() if one.size is not None)
    scales = sum(one.size is None for one in ranges.values())
    if fixed > n:
        raise ParamsError(f"the choices alone make {fixed} psets, more than n={n}")
    levels = _root(n // fixed, scales) if scales else 1
    values: Sequence[list[Any]] = [one.levels(levels) for one in ranges.values()]
    return [dict(zip(ranges, row, strict=True)) for row in product(*values)]


def _root(number: int, degree: int) -> int:
    """Give the largest whole number whose power is not larger."""
    found = int(number ** (1 / degree))
    return found + 1 if (found + 1) ** degree <= number else found
