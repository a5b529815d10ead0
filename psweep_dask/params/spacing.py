"""Numbers between two bounds: on a logarithmic scale, and whole ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from psweep_dask.params.grid import ParamsError

MOST_EXACT = 2.0**53
"""From here on, floats do not tell a whole number from the next."""


def logspace(
    start: float,
    stop: float,
    num: int = 50,
    offset: float = 0,
    log_func: Callable[[Any], Any] = np.log10,
    **kwds: Any,
) -> np.ndarray:
    """Give numbers that are evenly spaced on a logarithmic scale, between real bounds.

    Parameters
    ----------
    start, stop : float
        The first and the last number, not exponents as in `numpy.logspace`.
    num : int, optional
        How many.
    offset : float, optional
        Added before the logarithm is taken and subtracted afterwards: the larger it is, the more
        even is the spacing. With one, bounds may be zero.
    log_func : callable, optional
        The logarithm to the ``base=`` among `kwds`, if there is one.
    **kwds
        Passed to `numpy.logspace`.

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    ParamsError
        If a bound is no number, or not above zero with `offset`, `num` is no count, or `log_func`
        and ``base=`` do not belong together.

    Examples
    --------
    >>> logspace(1, 100, 3).tolist()
    [1.0, 10.0, 100.0]
    >>> logspace(0, 2, 3, offset=1).round(2).tolist()
    [0.0, 0.73, 2.0]
    """
    start, stop, offset = map(_number, (start, stop, offset))
    for bound in (start, stop):
        if not 0 < bound + offset < math.inf:
            raise ParamsError(
                f"a logarithmic scale needs bounds above zero, not {bound!r}"
                + (f" + {offset!r}" if offset else "; offset= shifts them, such as offset=1")
            )
    _check_count(num)
    logs = [log_func(bound + offset) for bound in (start, stop)]
    base = kwds.get("base", 10)
    if not np.allclose(np.power(float(base), logs), [start + offset, stop + offset]):
        raise ParamsError(
            f"log_func={getattr(log_func, '__name__', log_func)} is not the logarithm to the base "
            f"{base}; pass both, such as log_func=np.log2, base=2"
        )
    numbers = np.logspace(logs[0], logs[1], num, **kwds) - offset
    if len(numbers):
        numbers[0] = start  # exactly, whatever rounding has made of it
    if len(numbers) > 1 and kwds.get("endpoint", True):
        numbers[-1] = stop
    return np.asarray(numbers)


def intspace(*args: Any, dtype: Any = np.int64, **kwds: Any) -> np.ndarray:
    """Give whole numbers that are as evenly spaced as they can be, each once.

    Parameters
    ----------
    *args, **kwds
        As for `numpy.linspace`.
    dtype : data-type, optional

    Returns
    -------
    numpy.ndarray
        Fewer numbers than were asked for, if there are not so many.

    Raises
    ------
    ParamsError
        If a number is beyond what `dtype` or a float can hold exactly, or `args` are no numbers.

    Examples
    --------
    >>> intspace(0, 10, 5).tolist()
    [0, 2, 5, 8, 10]
    >>> intspace(3, 1, 10).tolist()
    [3, 2, 1]
    """
    try:
        exact = np.rint(np.linspace(*args, **kwds))
        limits = np.iinfo(dtype)
    except (TypeError, ValueError, OverflowError) as err:
        shown = {**kwds, "dtype": dtype}
        raise ParamsError(
            f"intspace takes what numpy.linspace does, and whole numbers for dtype, not {args}, "
            f"{shown}: {err}"
        ) from err
    if (
        exact.ndim != 1
        or not (abs(exact) < MOST_EXACT).all()
        or not ((exact >= limits.min) & (exact <= limits.max)).all()
    ):
        raise ParamsError(
            f"whole numbers between {args} need bounds that are finite, that {np.dtype(dtype)} can "
            "hold, and that are below 2**53"
        )
    numbers = exact.astype(dtype)
    return np.array(list(dict.fromkeys(numbers.tolist())), dtype=dtype)


def _number(bound: Any) -> float:
    try:
        if isinstance(bound, bool | str):
            raise TypeError
        return float(bound)
    except (TypeError, ValueError, OverflowError):
        raise ParamsError(
            f"a logarithmic scale goes from number to number, not by {bound!r}"
        ) from None


def is_whole(value: object) -> bool:
    """Tell a whole number, of Python or of NumPy, from all else, bool included.

    Examples
    --------
    >>> is_whole(np.int64(3)), is_whole(3.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_count(num: Any) -> None:
    if not is_whole(num) or num < 0:
        raise ParamsError(f"num must be a whole number, how many to give, not {num!r}")
