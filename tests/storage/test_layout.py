from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout, LayoutError


def test_paths_of_a_study(study_folder):
    layout = Layout("calc")
    assert layout.database_path == study_folder / "calc/database.pk"
    assert layout.run_folder("r").plan_path == study_folder / "calc/runs/r/plan.pk"
    assert layout.run_folder("r").journal_path == study_folder / "calc/runs/r/journal"
    assert layout.run_folder("r").info_path == study_folder / "calc/runs/r/run.json"
    assert layout.backup_dir("T", "r") == study_folder / "calc.bak_T_run_id_r"


def test_paths_stay_when_the_working_directory_changes(study_folder, monkeypatch):
    layout = Layout("calc")
    monkeypatch.chdir("/")
    assert layout.database_path == study_folder / "calc/database.pk"
    assert layout.calc_dir == "calc"


def test_the_database_may_live_elsewhere(study_folder):
    layout = Layout("calc", "data", "db.pk")
    assert layout.database_path == study_folder / "data/db.pk"
    assert layout.simulated().database_path == study_folder / "calc.simulate/db.pk"


def test_calc_dir_with_a_trailing_slash_is_simulated_beside_it(study_folder):
    assert Layout("calc/").simulated().root == study_folder / "calc.simulate"


@pytest.mark.parametrize("calc_dir", ["taken/calc", "taken"])
def test_a_folder_that_cannot_be_made_is_named(study_folder, calc_dir):
    (study_folder / "taken").write_text("a file")
    with pytest.raises(LayoutError, match="taken.*calc_dir="):
        Layout(calc_dir).make_writable()


def test_replace_keeps_the_old_file_if_writing_fails(study_folder):
    path = study_folder / "file"
    path.write_text("old")

    def write(stream):
        stream.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        replace_file(path, write)
    assert path.read_text() == "old"
    assert list(study_folder.iterdir()) == [path]


def test_replace_makes_the_folder_keeps_permissions_and_follows_links(study_folder):
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


COUNT = """
import sys
from pathlib import Path
from psweep_dask.storage.layout import Layout
for _ in range(100):
    with Layout(".").lock():
        path = Path("counter")
        path.write_text(str(int(path.read_text()) + 1))
"""


def test_the_lock_keeps_processes_apart(study_folder):
    (study_folder / "counter").write_text("0")
    drivers = [subprocess.Popen([sys.executable, "-c", COUNT]) for _ in range(3)]
    assert [driver.wait() for driver in drivers] == [0, 0, 0]
    assert (study_folder / "counter").read_text() == "300"
