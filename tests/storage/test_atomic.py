"""A file is replaced in one step, and its folder is synced."""

from __future__ import annotations

import os
import stat

import pytest

from psweep_dask.storage.atomic import replace_file


def test_replace_file_keeps_the_old_file_if_writing_fails(study_folder):
    path = study_folder / "file"
    path.write_text("old")

    def write(stream):
        stream.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        replace_file(path, write)
    assert path.read_text() == "old"
    assert list(study_folder.iterdir()) == [path]


def test_replace_file_makes_the_folder_keeps_permissions_and_follows_links(study_folder):
    path = study_folder / "new" / "file"
    replace_file(path, lambda stream: stream.write(b"1"))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    link = study_folder / "link"
    link.symlink_to(path)
    replace_file(link, lambda stream: stream.write(b"2"))
    assert link.is_symlink()
    assert path.read_bytes() == b"2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(("sync_folder", "syncs"), [(True, 2), (False, 1)])
def test_replace_file_syncs_the_file_and_its_folder(study_folder, monkeypatch, sync_folder, syncs):
    real, synced = os.fsync, []

    def fsync(descriptor):
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    replace_file(study_folder / "file", lambda stream: stream.write(b"1"), sync_folder=sync_folder)
    assert synced == [False, True][:syncs]
