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


# dask reads this one, too, but has no default for it.
@pytest.mark.parametrize(
    "name", sorted(CLUSTER_SETTINGS.keys() - {"distributed.nanny.blocked-handlers"})
)
def test_cluster_settings_are_known_to_dask(name):
    assert dask.config.get(name, default="unknown") != "unknown"


def test_cluster_settings_are_replaced_by_the_psweep_section():
    with dask.config.set({"psweep.dask": {"distributed.scheduler.allowed-failures": 7}}):
        assert cluster_settings()["distributed.scheduler.allowed-failures"] == 7
    assert cluster_settings()["distributed.scheduler.allowed-failures"] == 0


def test_psweep_section_may_have_sections_as_those_of_dask_or_of_environment_variables():
    environ = {"OMP_NUM_THREADS": 4}
    section = {
        "distributed": {
            "worker": {"daemon": True, "memory.spill": 0.5},
            "nanny": {"pre_spawn_environ": environ},
        },
        "distributed.scheduler.validate": True,
    }
    with dask.config.set({"psweep.dask": section}):
        settings = cluster_settings()
    assert settings["distributed.worker.daemon"] is True
    assert settings["distributed.worker.memory.spill"] == 0.5
    assert settings["distributed.nanny.pre_spawn_environ"] == environ
    assert settings["distributed.scheduler.validate"] is True
    assert settings["distributed.worker.profile.enabled"] is False
    assert "distributed" not in settings


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


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("local", "psweep: 'local', which is no section"),
        ({"dask": ["daemon"]}, r"psweep.dask: \['daemon'\]; settings of dask are expected"),
    ],
)
def test_psweep_section_that_is_none_is_an_error_before_anything_runs(section, message):
    with dask.config.set({"psweep": section}), pytest.raises(ps.PsweepError, match=message):
        ps.run(lambda pset: {}, [{"a": 1}])
