"""Samples: psets that fill a parameter space which is too large for a grid."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from psweep_dask._convert import to_int, to_python
from psweep_dask._format import short_repr, typed_repr
from psweep_dask._imports import needed_for
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.pset import Pset
from psweep_dask.params.spacing import EXACT_INT_LIMIT, intspace, logspace

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
        Each pset has all parameters; numbers are int or float of Python. In a grid, the last
        parameter varies fastest.

    Raises
    ------
    ParamsError
        If a range, `n`, `method` or `seed` is not as above.
    MissingPackageError
        If scipy is needed and not installed: for 'lhs', 'sobol' and 'halton'.

    See Also
    --------
    refine : Proposes psets where a result changes most.

    Examples
    --------
    >>> sample({"x": (0.0, 1.0), "n": (1, 100), "s": ["a", "b"]}, 2, method="random", seed=0)
    [{'x': 0.6369616873214543, 'n': 27, 's': 'a'}, {'x': 0.016527635528529094, 'n': 82, 's': 'b'}]
    >>> sample({"x": (0.0, 1.0), "lr": (0.01, 1.0, "log")}, 9, method="grid")[:2]
    [{'x': 0.0, 'lr': 0.01}, {'x': 0.0, 'lr': 0.1}]
    """
    if method not in METHODS:
        raise ParamsError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    number, seed_number = to_int(n), to_int(seed)
    if number is None or not 1 <= number < EXACT_INT_LIMIT:
        raise ParamsError(f"n must be a whole number above zero, not {typed_repr(n)}")
    if not isinstance(space, Mapping) or not space:
        raise ParamsError(
            f"space must be a dict of parameters and their ranges, not {short_repr(space)}"
        )
    if seed is not None and (seed_number is None or seed_number < 0):
        raise ParamsError(f"seed must be None or a whole number from 0, not {short_repr(seed)}")
    ranges = {name: _range(name, spec) for name, spec in space.items()}
    if method == "grid":
        return _grid(ranges, number)
    parts = _unit_cube(len(ranges), number, method, np.random.default_rng(seed_number))
    columns = map(_at, ranges.values(), parts.T)
    return [dict(zip(ranges, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class _Scale:
    """The numbers between two bounds."""

    low: float
    high: float
    log: bool
    whole: bool

    def at(self, parts: np.ndarray) -> list[Any]:
        """Return the numbers at parts of the scale, from 0 to 1."""
        low, high = self.low, self.high + self.whole
        if self.log:
            low, high = np.log(low), np.log(high)
        numbers = low + parts * (high - low)
        numbers = np.exp(numbers) if self.log else numbers
        if self.whole:
            numbers = np.floor(numbers).astype(int)
        return list(np.clip(numbers, self.low, self.high).tolist())

    def levels(self, count: int) -> list[Any]:
        """Return numbers for a grid: so many, or fewer if there are not so many."""
        space = logspace if self.log else intspace if self.whole else np.linspace
        numbers = space(self.low, self.high, count)
        if self.whole:
            numbers = np.rint(numbers).astype(int)
        return list(dict.fromkeys(numbers.tolist()))


def _range(name: str, spec: Any) -> list[Any] | _Scale:
    if not isinstance(name, str):
        raise ParamsError(f"the name of a parameter must be a str, not {short_repr(name)}")
    if isinstance(spec, list | range) or (isinstance(spec, np.ndarray) and spec.ndim):
        if not len(spec):
            raise ParamsError(f"{name!r} has no choices")
        return [to_python(choice) for choice in spec]
    if isinstance(spec, tuple) and len(spec) in (2, 3) and spec[2:] in ((), ("log",)):
        low, high = (_number(name, bound, spec) for bound in spec[:2])
        log = len(spec) == 3
        if low >= high:
            raise ParamsError(f"{name!r}: the first bound must be lower than the second: {spec!r}")
        if log and low <= 0:
            raise ParamsError(f"{name!r}: a logarithmic scale begins above zero: {spec!r}")
        return _Scale(low, high, log, whole=isinstance(low, int) and isinstance(high, int))
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


def _at(range_: list[Any] | _Scale, parts: np.ndarray) -> list[Any]:
    if isinstance(range_, _Scale):
        return range_.at(parts)
    return [range_[min(int(part * len(range_)), len(range_) - 1)] for part in parts]


def _unit_cube(dims: int, n: int, method: str, rng: np.random.Generator) -> np.ndarray:
    if method == "random":
        return rng.random((n, dims))
    with needed_for(f"sample(method={method!r})"):
        from scipy.stats import qmc

    engine = {"lhs": qmc.LatinHypercube, "halton": qmc.Halton, "sobol": qmc.Sobol}[method]
    # scipy warns unless the number of Sobol's points is a power of two.
    size = 2 ** math.ceil(math.log2(n)) if method == "sobol" else n
    return np.asarray(engine(dims, rng=rng).random(size)[:n])


def _grid(ranges: Mapping[str, list[Any] | _Scale], n: int) -> list[Pset]:
    choices = [range_ for range_ in ranges.values() if isinstance(range_, list)]
    number = math.prod(map(len, choices))
    if number > n:
        raise ParamsError(f"the choices alone make {number} psets, more than n={n}")
    degree = max(1, len(ranges) - len(choices))
    count = int((n // number) ** (1 / degree))  # of levels
    count += (count + 1) ** degree <= n // number  # where a rounding error made it too low
    values = [
        range_.levels(count) if isinstance(range_, _Scale) else range_ for range_ in ranges.values()
    ]
    return [dict(zip(ranges, row, strict=True)) for row in product(*values)]
