"""Evenly spaced numbers: on a logarithmic scale, and whole numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from psweep_dask._convert import to_int
from psweep_dask._format import short_repr
from psweep_dask.params.grid import ParamsError

EXACT_INT_LIMIT = 2.0**53  # from here on, a float cannot hold each whole number


def logspace(
    start: float,
    stop: float,
    num: int = 50,
    offset: float = 0,
    log_func: Callable[[Any], Any] = np.log10,
    **options: Any,
) -> np.ndarray:
    """Return numbers that are evenly spaced on a logarithmic scale.

    Parameters
    ----------
    start, stop : float
        The first and the last number (not their exponents, as in `numpy.logspace`).
    num : int, optional
        How many numbers.
    offset : float, optional
        Added before the logarithm is taken, and subtracted afterwards. The larger it is, the more
        even is the spacing. With an offset above zero, a bound may be zero.
    log_func : callable, optional
        The logarithm. Its base must be that of ``base=`` in `options`, which is 10 by default.
    **options
        Passed to `numpy.logspace`.

    Returns
    -------
    numpy.ndarray
        Floats, of shape ``(num,)``. The bounds in it are exact, not rounded.

    Raises
    ------
    ParamsError
        If a bound is not a number, or with `offset` not above zero; if `num` is not a whole number
        from 0; or if `log_func` has another base than ``base=``.

    See Also
    --------
    intspace : Whole numbers.
    plist : Makes psets of the numbers.

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
    number = to_int(num)
    if number is None or number < 0:
        raise ParamsError(f"num must be a whole number from 0, not {short_repr(num)}")
    logs = [log_func(bound + offset) for bound in (start, stop)]
    base = options.get("base", 10)
    if not np.allclose(np.power(float(base), logs), [start + offset, stop + offset]):
        raise ParamsError(
            f"log_func={getattr(log_func, '__name__', log_func)} is not the logarithm to the base "
            f"{base}; pass both, such as log_func=np.log2, base=2"
        )
    numbers = np.logspace(logs[0], logs[1], number, **options) - offset
    if len(numbers):
        numbers[0] = start  # exactly, without the error of rounding
    if len(numbers) > 1 and options.get("endpoint", True):
        numbers[-1] = stop
    return np.asarray(numbers)


def intspace(*args: Any, dtype: Any = np.int64, **options: Any) -> np.ndarray:
    """Return different whole numbers that are as evenly spaced as possible.

    Parameters
    ----------
    *args, **options
        As for `numpy.linspace`: ``start, stop, num``.
    dtype : data-type, optional
        An integer type of NumPy.

    Returns
    -------
    numpy.ndarray
        One-dimensional, from ``start`` to ``stop``. It is shorter than ``num`` if there are not so
        many whole numbers between them.

    Raises
    ------
    ParamsError
        If `args` are not numbers, or if `dtype` or a float cannot hold a number exactly.

    See Also
    --------
    logspace : Numbers on a logarithmic scale.
    plist : Makes psets of the numbers.

    Examples
    --------
    >>> intspace(0, 10, 5).tolist()
    [0, 2, 5, 8, 10]
    >>> intspace(3, 1, 10).tolist()
    [3, 2, 1]
    """
    try:
        exact = np.rint(np.linspace(*args, **options))
        limits = np.iinfo(dtype)
    except (TypeError, ValueError, OverflowError) as err:
        raise ParamsError(
            f"intspace takes the arguments of numpy.linspace and an integer dtype, not "
            f"{short_repr(args)}, {short_repr({**options, 'dtype': dtype})}: {err}"
        ) from err
    low, high = max(limits.min, 1 - EXACT_INT_LIMIT), min(limits.max, EXACT_INT_LIMIT - 1)
    if exact.ndim != 1 or not ((low <= exact) & (exact <= high)).all():
        raise ParamsError(
            f"whole numbers between {args} need bounds that are finite, that {np.dtype(dtype)} can "
            "hold, and that are below 2**53"
        )
    return np.array(list(dict.fromkeys(exact.astype(dtype).tolist())), dtype=dtype)


def _number(bound: Any) -> float:
    if not isinstance(bound, bool | str):
        with suppress(TypeError, ValueError, OverflowError):
            return float(bound)
    raise ParamsError(f"a bound of a logarithmic scale must be a number, not {short_repr(bound)}")
