"""Tests of what the doctor says; tests/integration/test_driver_jobs.py lets it see a real job."""

from __future__ import annotations

import time

import pytest

from psweep_dask.clusters.doctor import PACKAGES, compare, look_around
from psweep_dask.hpc.machine_schema import MachineError


@pytest.fixture
def seen(study_folder):
    (study_folder / "from_driver").write_text("here")
    return look_around(str(study_folder), list(PACKAGES))


def told(seen, folder):
    now = time.time()
    return {one.what: one for one in compare(seen, folder, now, now)}


def test_where_driver_and_worker_see_the_same_all_is_well(seen, study_folder):
    assert [one.advice for one in told(seen, study_folder).values()] == [""] * 7


@pytest.mark.parametrize(
    ("what", "differs", "found", "advice"),
    [
        ("shared files", {"sees_files": False}, "do not see", "mounts under the same path"),
        ("working folder", {"cwd": "/elsewhere"}, "/elsewhere", "absolute"),
        ("Python", {"python": "3.9.1"}, "3.9.1", "python: in info.yaml"),
        ("room for temporary files", {"free": 10**6}, "free in", "local_directory"),
        ("clocks", {"time": 0.0}, "s apart", "_time_utc"),
    ],
)
def test_what_differs_is_named_with_what_to_change(
    seen, study_folder, what, differs, found, advice
):
    check = told({**seen, **differs}, study_folder)[what]
    assert found in check.found
    assert advice in check.advice


def test_packages_that_differ_are_named_with_both_versions(seen, study_folder):
    there = {**seen["packages"], "dask": "2025.1.0"}
    check = told({**seen, "packages": there}, study_folder)["packages"]
    assert "dask 2025.1.0 (here " in check.found
    assert "distributed" not in check.found
    assert check.advice


def test_a_folder_that_the_worker_cannot_write_is_not_shared(tmp_path):
    assert not look_around(str(tmp_path / "nowhere"), [])["sees_files"]


def test_a_machine_that_is_not_there_is_named():
    from psweep_dask.clusters.doctor import examine

    with pytest.raises(MachineError, match="nix"):
        examine("nix")
