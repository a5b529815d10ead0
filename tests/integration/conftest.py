"""The lab, which each test leaves as it has found it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from helpers import slurm_lab
from helpers.driver_process import wait_until


@pytest.fixture(autouse=True)
def slurm(request, monkeypatch):
    """Give a test the SLURM that SLURM_CONF names; no job may wait or run when it is over.

    Where SLURM_CONF_2 names a second one, half of the tests use that, at the same time.
    """
    if "SLURM_CONF_2" in os.environ and request.path.name in (
        "test_allocations.py",
        "test_faults.py",
    ):
        monkeypatch.setenv("SLURM_CONF", os.environ["SLURM_CONF_2"])
    if "SLURM_CONF" not in os.environ or shutil.which("squeue") is None:
        pytest.skip(
            "needs a SLURM: start one with ../shared/labs/slurm-lab and export its SLURM_CONF"
        )
    slurm_lab.clear()
    wait_until(lambda: not slurm_lab.jobs())
    yield
    left = slurm_lab.jobs()
    slurm_lab.clear()
    assert not left


@pytest.fixture
def remote_home():
    """The home folder of another machine, which ssh reaches as labhost; it is empty."""
    if "SSH_LAB_HOME" not in os.environ:
        pytest.skip(
            "needs an sshd: start one with ../shared/labs/ssh-lab, with --setenv for the "
            "SLURM_CONF of slurm-lab, and export what `ssh-lab env` prints"
        )
    home = Path(os.environ["SSH_LAB_HOME"])
    for path in home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return home


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home folder here: one whose name a shell must not see without quotes."""
    folder = tmp_path / "ho'me $x"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder
