"""Numbers between bounds."""

from __future__ import annotations

import numpy as np
import pytest

import psweep_dask as ps
from psweep_dask.params.grid import ParamsError
from psweep_dask.params.spacing import intspace, logspace


@pytest.mark.parametrize("bounds", [(1e-7, 3.3), (5, 0.1), (0.1, 0.3)])
@pytest.mark.parametrize("offset", [0, 1e-3, 2])
def test_logspace_has_exact_bounds_and_even_steps_in_the_logarithm(bounds, offset):
    numbers = logspace(*bounds, 17, offset=offset)
    assert (numbers[0], numbers[-1]) == bounds
    steps = np.diff(np.log10(numbers + offset))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_logspace_with_another_base_one_number_and_an_open_end():
    np.testing.assert_allclose(logspace(1, 8, 4, log_func=np.log2, base=2), [1, 2, 4, 8])
    assert logspace(2, 8, 1).tolist() == [2.0]
    assert logspace(1, 100, 2, endpoint=False).tolist() == [1.0, 10.0]


def test_logspace_names_a_bound_that_has_no_logarithm():
    with pytest.raises(ParamsError, match="above zero, not 0.0; offset= shifts them"):
        logspace(0, 1)
    with pytest.raises(ParamsError, match=r"not -2.0 \+ 1.0"):
        logspace(1, -2, offset=1)


def test_intspace_has_each_number_once_in_either_direction():
    assert intspace(1, 3, 100).tolist() == [1, 2, 3]
    assert intspace(10, 0, 3).tolist() == [10, 5, 0]
    assert intspace(0, 10, 3, dtype=np.int8).dtype == np.int8


@pytest.mark.parametrize(
    "call",
    [
        lambda: ps.logspace(1, 8, 4, base=2),
        lambda: ps.logspace(1, 8, 4, log_func=np.log2),
        lambda: ps.logspace(1, 8, -1),
        lambda: ps.intspace(0, 1000, 5, dtype=np.uint8),
        lambda: ps.intspace(2**60 + 1, 2**60 + 9, 5),
        lambda: ps.intspace(float("nan"), 4, 3),
        lambda: ps.sample({"n": (0, 2**70)}, 2),
        lambda: ps.sample({"x": (-1e308, 1e308)}, 2),
    ],
)
def test_spacing_never_returns_wrong_numbers(call):
    with pytest.raises(ps.PsweepError):
        call()


def test_logspace_with_a_logarithm_and_its_base():
    assert ps.logspace(1, 8, 4, log_func=np.log2, base=2).tolist() == [1, 2, 4, 8]
