"""What push and pull refuse before they reach out. What they copy is tested over a real ssh."""

from __future__ import annotations

import pytest

import psweep_dask as ps
from psweep_dask.hpc.ssh import RemoteError
from psweep_dask.offline.transfer import TransferError


def test_nothing_to_push_is_told_with_the_folder():
    with pytest.raises(TransferError, match=r"no folder 'calc', seen from .*; nothing to push"):
        ps.push("far")


def test_a_study_that_is_a_file_is_nothing_to_push(tmp_path):
    (tmp_path / "calc").touch()
    with pytest.raises(TransferError, match="nothing to push"):
        ps.push("far", calc_dir=tmp_path / "calc")


@pytest.mark.parametrize("copy", [ps.push, ps.pull])
def test_a_host_that_would_be_an_option_is_refused(copy, study_folder):
    (study_folder / "calc").mkdir()
    with pytest.raises(RemoteError, match="cannot be a host"):
        copy("-oProxyCommand=touch owned")
    assert not (study_folder / "owned").exists()


@pytest.mark.parametrize("copy", [ps.push, ps.pull])
def test_without_rsync_it_is_told(copy, study_folder, monkeypatch):
    (study_folder / "calc").mkdir()
    monkeypatch.setenv("PATH", str(study_folder))
    with pytest.raises(TransferError, match="there is no rsync on this machine"):
        copy("far")
