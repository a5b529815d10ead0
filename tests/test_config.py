from __future__ import annotations

import dask.config
import distributed  # noqa: F401  (its defaults are what we compare with)
import pytest

from psweep_dask.config import CLUSTER_SETTINGS, cluster_settings


@pytest.mark.parametrize("name", CLUSTER_SETTINGS)
def test_each_setting_is_one_that_dask_knows(name):
    assert dask.config.get(name, default="unknown") != "unknown"


def test_the_psweep_section_wins():
    with dask.config.set({"psweep.dask": {"distributed.scheduler.allowed-failures": 7}}):
        assert cluster_settings()["distributed.scheduler.allowed-failures"] == 7
    assert cluster_settings()["distributed.scheduler.allowed-failures"] == 0
