"""Numbers between bounds."""

from __future__ import annotations

import numpy as np
import pytest

from psweep_dask.params import ParamsError
from psweep_dask.spacing import intspace, logspace


@pytest.mark.parametrize("bounds", [(1e-7, 3.3), (5, 0.1), (0.1, 0.3)])
@pytest.mark.parametrize("offset", [0, 1e-3, 2])
def test_the_bounds_are_hit_exactly_and_steps_are_even_in_the_logarithm(bounds, offset):
    numbers = logspace(*bounds, 17, offset=offset)
    assert (numbers[0], numbers[-1]) == bounds
    steps = np.diff(np.log10(numbers + offset))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_another_base_a_single_number_and_an_open_end():
    np.testing.assert_allclose(logspace(1, 8, 4, log_func=np.log2, base=2), [1, 2, 4, 8])
    assert logspace(2, 8, 1).tolist() == [2.0]
    assert logspace(1, 100, 2, endpoint=False).tolist() == [1.0, 10.0]


def test_a_bound_that_has_no_logarithm_is_named():
    with pytest.raises(ParamsError, match="above zero, not 0; offset= shifts them"):
        logspace(0, 1)
    with pytest.raises(ParamsError, match=r"not -2 \+ 1"):
        logspace(1, -2, offset=1)


def test_whole_numbers_come_once_in_either_direction():
    assert intspace(1, 3, 100).tolist() == [1, 2, 3]
    assert intspace(10, 0, 3).tolist() == [10, 5, 0]
    assert intspace(0, 10, 3, dtype=np.int8).dtype == np.int8
