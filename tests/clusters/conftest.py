"""A small dask cluster as users have it, and the commands of a fake SLURM."""

from __future__ import annotations

import pytest
from distributed import Client, LocalCluster
from helpers.fake_slurm import FakeSlurm


@pytest.fixture(scope="module")
def client():
    """A client of a cluster of two workers, each with one thread, that is not ours."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def slurm(bin_dir, tmp_path):
    """A fake SLURM whose queue is in a folder with a blank in its name."""
    (tmp_path / "the queue").mkdir()
    return FakeSlurm(bin_dir, tmp_path / "the queue")
