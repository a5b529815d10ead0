"""Samples: psets that fill a parameter space which is too large for a grid."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from psweep_dask._convert import to_python
from psweep_dask._format import short_repr, typed_repr
from psweep_dask._imports import needed_for
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset
from psweep_dask.params.spacing import EXACT_INT_LIMIT, intspace, is_whole, logspace

METHODS = ("lhs", "sobol", "halton", "random", "grid")


def sample(
    space: Mapping[str, Any], n: int, method: str = "lhs", seed: int | None = None
) -> list[Pset]:
    """Return psets that fill a parameter space evenly.

    Parameters
    ----------
    space : Mapping
        The range of each parameter: ``(0.0, 1.0)`` for floats, ``(1, 100)`` for whole numbers with
        both bounds included, ``(1e-6, 1.0, "log")`` for a logarithmic scale, ``["x", "y"]`` for
        choices, ``[5]`` for a constant.
    n : int
        Number of psets. With 'grid', it is the largest number that the grid may have.
    method : {'lhs', 'sobol', 'halton', 'random', 'grid'}, optional
        Latin hypercube, Sobol or Halton sequence as in `scipy.stats.qmc`; independent random
        numbers; or a grid of all choices and of the same number of levels for each range. A Sobol
        sequence is most even if `n` is a power of two.
    seed : int, optional
        The same seed gives the same psets. By default, they are different each time.

    Returns
    -------
    list of dict

    Raises
    ------
    ParamsError
        If a range, `n`, `method` or `seed` is not as above.
    MissingPackageError
        If scipy is needed and not installed: for 'lhs', 'sobol' and 'halton'.

    See Also
    --------
    refine : Proposes psets where a result changes most.
    pgrid : All combinations of given values.

    Examples
    --------
    >>> sample({"x": (0.0, 1.0), "n": (1, 100), "s": ["a", "b"]}, 2, method="random", seed=0)
    [{'x': 0.6369616873214543, 'n': 27, 's': 'a'}, {'x': 0.016527635528529094, 'n': 82, 's': 'b'}]
    >>> sample({"x": (0.0, 1.0), "lr": (0.01, 1.0, "log")}, 9, method="grid")[:2]
    [{'x': 0.0, 'lr': 0.01}, {'x': 0.0, 'lr': 0.1}]
    """
    if method not in METHODS:
        raise ParamsError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if not is_whole(n) or not 1 <= n < EXACT_INT_LIMIT:
        raise ParamsError(f"n must be a whole number above zero, not {typed_repr(n)}")
    if not isinstance(space, Mapping) or not space:
        raise ParamsError(
            f"space must be a dict of parameters and their ranges, not {short_repr(space)}"
        )
    if seed is not None and (not is_whole(seed) or seed < 0):
        raise ParamsError(f"seed must be None or a whole number from 0, not {short_repr(seed)}")
    ranges = {name: _range(name, spec) for name, spec in space.items()}
    if method == "grid":
        return _grid(ranges, int(n))
    numbers = _unit_cube(len(ranges), int(n), method, np.random.default_rng(seed))
    columns = [range_.at(numbers[:, axis]) for axis, range_ in enumerate(ranges.values())]
    return [dict(zip(ranges, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class _Range:
    """The values of a parameter.

    Parameters
    ----------
    at : callable
        Returns the values at an array of numbers between 0 and 1.
    levels : callable
        Returns values for a grid: so many, or fewer if there are not so many.
    choices : int or None, optional
        Number of choices; None for a scale.
    """

    at: Callable[[np.ndarray], list[Any]]
    levels: Callable[[int], list[Any]]
    choices: int | None = None


def _range(name: str, spec: Any) -> _Range:
    if not isinstance(name, str):
        raise ParamsError(f"the name of a parameter must be a str, not {short_repr(name)}")
    if isinstance(spec, list | range) or (isinstance(spec, np.ndarray) and spec.ndim):
        return _choices(name, list(spec))
    if isinstance(spec, tuple) and len(spec) in (2, 3) and spec[2:] in ((), ("log",)):
        low, high = (_number(name, bound, spec) for bound in spec[:2])
        log = len(spec) == 3
        if low >= high:
            raise ParamsError(f"{name!r}: the first bound must be lower than the second: {spec!r}")
        if log and low <= 0:
            raise ParamsError(f"{name!r}: a logarithmic scale begins above zero: {spec!r}")
        whole = isinstance(low, int) and isinstance(high, int)
        return _ints(low, high, log) if whole else _floats(low, high, log)
    raise ParamsError(
        f"{name!r}: {short_repr(spec)} is not a range; write (0.0, 1.0), (1, 100), "
        "(1e-3, 1.0, 'log'), a list of choices, or [value]"
    )


def _number(name: str, bound: Any, spec: Any) -> Any:
    bound = to_python(bound)
    if isinstance(bound, int) and abs(bound) >= EXACT_INT_LIMIT:
        raise ParamsError(f"{name!r}: a bound must be below 2**53, not {typed_repr(bound)}")
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
        raise ParamsError(
            f"{name!r}: {short_repr(bound)} cannot be a bound, in {short_repr(spec)}; a bound is a "
            "finite number"
        )
    if abs(bound) > sys.float_info.max / 4:
        raise ParamsError(f"{name!r}: {bound!r} is too large for a bound, in {spec!r}")
    return bound


def _choices(name: str, choices: list[Any]) -> _Range:
    if not choices:
        raise ParamsError(f"{name!r} has no choices")
    values = [to_python(choice) for choice in choices]
    last = len(values) - 1

    def at(numbers: np.ndarray) -> list[Any]:
        return [values[min(int(number * len(values)), last)] for number in numbers]

    return _Range(at, lambda count: values, len(values))


def _floats(low: float, high: float, log: bool) -> _Range:
    def at(numbers: np.ndarray) -> list[Any]:
        if log:
            values = np.exp(np.log(low) + numbers * (np.log(high) - np.log(low)))
        else:
            values = low + numbers * (high - low)
        return list(np.clip(values, low, high).tolist())

    space = logspace if log else np.linspace
    return _Range(at, lambda count: [float(level) for level in space(low, high, count)])


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

    if method == "sobol":  # scipy warns unless their number is a power of two
        numbers = qmc.Sobol(dims, rng=rng).random_base2(math.ceil(math.log2(n)))
        return np.asarray(numbers[:n])
    engine = {"lhs": qmc.LatinHypercube, "halton": qmc.Halton}[method]
    return np.asarray(engine(dims, rng=rng).random(n))


def _grid(ranges: Mapping[str, _Range], n: int) -> list[Pset]:
    choices = math.prod(range_.choices for range_ in ranges.values() if range_.choices is not None)
    scales = sum(range_.choices is None for range_ in ranges.values())
    if choices > n:
        raise ParamsError(f"the choices alone make {choices} psets, more than n={n}")
    levels = _root(n // choices, scales) if scales else 1
    values: Sequence[list[Any]] = [range_.levels(levels) for range_ in ranges.values()]
    return [dict(zip(ranges, row, strict=True)) for row in product(*values)]


def _root(number: int, degree: int) -> int:
    """Return the root of a number, rounded down to a whole number."""
    root = int(number ** (1 / degree))
    return root + 1 if (root + 1) ** degree <= number else root
