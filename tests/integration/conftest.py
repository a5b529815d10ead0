"""The lab, which each test leaves as it has found it."""

from __future__ import annotations

import os
import shutil

import lab
import pytest
from drivers import wait_until


@pytest.fixture(autouse=True)
def slurm():
    """Give a test the SLURM that SLURM_CONF names; no job may wait or run when it is over."""
    if "SLURM_CONF" not in os.environ or shutil.which("squeue") is None:
        pytest.skip(
            "needs a SLURM: start one with ../shared/labs/slurm-lab and export its SLURM_CONF"
        )
    lab.clear()
    wait_until(lambda: not lab.jobs())
    yield
    left = lab.jobs()
    lab.clear()
    assert not left
