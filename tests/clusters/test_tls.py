"""Credentials in a folder of their own, and who can connect with them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from distributed import Client, LocalCluster

from psweep_dask.clusters.config import as_environment
from psweep_dask.clusters.tls import temporary_credentials
from psweep_dask.storage.layout import PRIVATE_PREFIX


@pytest.fixture
def _umask_of_zero():
    umask = os.umask(0)
    yield
    os.umask(umask)


@contextmanager
def scheduler(credentials):
    with LocalCluster(
        n_workers=0, dashboard_address=":0", host="127.0.0.1", security=credentials.security
    ) as cluster:
        yield cluster


@pytest.mark.usefixtures("_umask_of_zero")
def test_credentials_can_be_read_by_nobody_else(study_folder):
    with temporary_credentials(study_folder) as credentials:
        assert credentials.folder.parent == study_folder
        assert credentials.folder.name.startswith(PRIVATE_PREFIX)
        assert credentials.folder.stat().st_mode & 0o777 == 0o700
        files = list(credentials.folder.iterdir())
        assert len(files) == 2
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_credentials_are_removed_at_the_end(study_folder):
    with temporary_credentials(study_folder) as credentials:
        (credentials.folder / "jobs").write_text("what a run keeps there as well")
    assert list(study_folder.iterdir()) == []


def test_credentials_are_removed_after_an_exception(study_folder):
    with pytest.raises(KeyboardInterrupt), temporary_credentials(study_folder):
        raise KeyboardInterrupt
    assert list(study_folder.iterdir()) == []


def test_credentials_differ_for_each_cluster(study_folder):
    with temporary_credentials(study_folder) as first, temporary_credentials(study_folder) as other:
        keys = {(credentials.folder / "key.pem").read_text() for credentials in (first, other)}
        assert len(keys) == 2


def test_worker_elsewhere_finds_credentials_by_its_environment(study_folder):
    with temporary_credentials(study_folder) as credentials, scheduler(credentials) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        with (
            Client(cluster, set_as_default=False) as client,
            subprocess.Popen(
                [*command, "--no-nanny", "--nthreads", "1", "--no-dashboard"],
                env={**os.environ, **as_environment(credentials.worker_settings())},
                stderr=subprocess.DEVNULL,
            ) as worker,
        ):
            try:
                assert client.submit(abs, -5).result(timeout=30) == 5
            finally:
                worker.terminate()


def test_client_without_credentials_is_refused(study_folder):
    with temporary_credentials(study_folder) as credentials, scheduler(credentials) as cluster:
        with Client(cluster.scheduler_address, security=credentials.security) as client:
            assert client.scheduler_info()["workers"] == {}
        with (
            temporary_credentials(study_folder) as stranger,
            pytest.raises(OSError, match="TLS certificate does not match"),
        ):
            Client(cluster.scheduler_address, security=stranger.security, timeout=2)
        in_the_clear = cluster.scheduler_address.replace("tls://", "tcp://")
        with pytest.raises(OSError, match=r"TCP \(closed\)|Timed out"):
            Client(in_the_clear, timeout=1)
