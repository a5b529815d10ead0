"""The psweep section of dask's configuration, and how settings reach workers elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import dask.config
import distributed  # noqa: F401  (its defaults are what we compare with)
import pytest

import psweep_dask as ps
from psweep_dask.clusters.config import CLUSTER_SETTINGS, as_environment, cluster_settings


@pytest.mark.parametrize("name", CLUSTER_SETTINGS)
def test_cluster_settings_are_known_to_dask(name):
    assert dask.config.get(name, default="unknown") != "unknown"


def test_cluster_settings_are_replaced_by_the_psweep_section():
    with dask.config.set({"psweep.dask": {"distributed.scheduler.allowed-failures": 7}}):
        assert cluster_settings()["distributed.scheduler.allowed-failures"] == 7
    assert cluster_settings()["distributed.scheduler.allowed-failures"] == 0


PRINT_SETTINGS = """
import json, sys
import dask.config, distributed
print(json.dumps({name: dask.config.get(name) for name in json.load(sys.stdin)}))
"""


def test_environment_brings_settings_to_another_process():
    settings = {
        **CLUSTER_SETTINGS,
        "distributed.comm.tls.worker.key": "/home/me/it's 100% mine/größe/.psweep_dask-x1/key.pem",
        "distributed.comm.require-encryption": True,
        "distributed.admin.max-error-length": 12345,
        "distributed.worker.preload": ["one.py", "two.py"],
    }
    done = subprocess.run(
        [sys.executable, "-c", PRINT_SETTINGS],
        input=json.dumps(list(settings)),
        env={**os.environ, **as_environment(settings)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == settings


def test_unknown_key_of_the_psweep_section_is_an_error(study_folder):
    with (
        dask.config.set({"psweep": {"clustr": "lab"}}),
        pytest.raises(
            ps.PsweepError, match=r"psweep.clustr; known below psweep: are cluster, dask"
        ),
    ):
        ps.run(lambda pset: {}, [{"a": 1}])
