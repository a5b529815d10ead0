"""Paths of a study, and the lock of its database."""

from __future__ import annotations

import subprocess
import sys

import pytest
from filelock import Timeout

import psweep_dask as ps
from psweep_dask.storage.layout import Layout, LayoutError


def test_layout_paths_of_a_study(study_folder):
    layout = Layout("calc")
    assert layout.database_path == study_folder / "calc/database.pk"
    assert layout.run_folder("r").plan_path == study_folder / "calc/runs/r/plan.pk"
    assert layout.run_folder("r").journal_path == study_folder / "calc/runs/r/journal"
    assert layout.run_folder("r").info_path == study_folder / "calc/runs/r/run.json"
    assert layout.backup_dir("T", "r") == study_folder / "calc.bak_T_run_id_r"


def test_layout_paths_stay_when_the_working_directory_changes(study_folder, monkeypatch):
    layout = Layout("calc")
    monkeypatch.chdir("/")
    assert layout.database_path == study_folder / "calc/database.pk"
    assert layout.calc_dir == "calc"


def test_database_dir_may_be_elsewhere(study_folder):
    layout = Layout("calc", "data", "db.pk")
    assert layout.database_path == study_folder / "data/db.pk"
    assert layout.simulated().database_path == study_folder / "calc.simulate/db.pk"


def test_simulated_study_of_a_calc_dir_with_a_slash_is_beside_it(study_folder):
    assert Layout("calc/").simulated().root == study_folder / "calc.simulate"


def test_layout_refuses_what_is_no_path_or_is_a_folder_of_its_own():
    with pytest.raises(LayoutError, match="calc_dir must be a folder such as 'calc', not a list"):
        Layout(["calc"])
    with pytest.raises(LayoutError, match="null byte"):
        Layout("calc\0")
    with pytest.raises(LayoutError, match="give the database another name"):
        Layout("calc", database_basename="runs")


def test_run_folder_finds_the_submissions_of_its_job_arrays(study_folder):
    folder = Layout("calc").run_folder("r")
    folder.path.mkdir(parents=True)
    for name in ("array_b_0.submitted", "array_a_0.submitted", "array_a_0", "array_a_0.psets"):
        (folder.path / name).touch()
    assert [path.name for path in folder.arrays_submitted()] == [
        "array_a_0.submitted",
        "array_b_0.submitted",
    ]


def test_driver_lock_can_be_taken_once(study_folder):
    folder = Layout("calc").run_folder("r")
    folder.path.mkdir(parents=True)
    with folder.driver_lock(), pytest.raises(Timeout):
        folder.driver_lock().acquire(timeout=0)


@pytest.mark.parametrize("calc_dir", ["taken/calc", "taken"])
def test_make_writable_names_a_folder_that_cannot_be_made(study_folder, calc_dir):
    (study_folder / "taken").write_text("a file")
    with pytest.raises(LayoutError, match="taken.*calc_dir="):
        Layout(calc_dir).make_writable()


COUNT = """
import sys
from pathlib import Path
from psweep_dask.storage.layout import Layout
for _ in range(100):
    with Layout(".").lock():
        path = Path("counter")
        path.write_text(str(int(path.read_text()) + 1))
"""


def test_lock_keeps_processes_apart(study_folder):
    (study_folder / "counter").write_text("0")
    drivers = [subprocess.Popen([sys.executable, "-c", COUNT]) for _ in range(3)]
    assert [driver.wait() for driver in drivers] == [0, 0, 0]
    assert (study_folder / "counter").read_text() == "300"


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to(path.name), lambda path: path.mkdir()]
)
def test_lock_that_is_a_folder_or_a_link_to_itself_is_an_error_that_names_it(study_folder, make):
    path = study_folder / "calc" / ".database.pk.lock"
    path.parent.mkdir()
    make(path)
    with pytest.raises(ps.PsweepError, match=r"database.pk.lock' cannot be the file of a lock"):
        ps.run(lambda pset: {}, [{"a": 1}], cluster="sync")
