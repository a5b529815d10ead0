"""Disks that are full or taken away: the run ends with the reason, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers.driver_process import start, wait_for_journal
from helpers.offline_study import write, write_study

import psweep_dask as ps
from psweep_dask.storage.layout import Layout


def large(pset):
    return {"y": np.full(20_000, pset["a"])}


FULL = """
import resource, time
import numpy as np
import psweep_dask as ps

def func(pset):
    time.sleep(0.02)
    return {"y": np.full(3_000, pset["a"])}

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
    ps.run(func, ps.plist("a", range(60)), cluster="sync")
"""


def test_disk_limit_of_file_size_ends_the_run_and_resume_goes_on(study_folder):
    (study_folder / "script.py").write_text(FULL)
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "JournalError: cannot write to" in done.stderr.splitlines()[-1]
    assert "File too large" in done.stderr
    rows = ps.load("calc")
    assert 0 < len(rows) < 60
    df = ps.resume("calc", large, cluster="sync")
    assert [y[-1] for y in df.y] == list(range(60))
    assert df._pset_id.is_unique
    assert set(rows._pset_id) <= set(df._pset_id)


@pytest.fixture
def small_disk(study_folder):
    """A file system of one MB, where we may make one."""
    folder = study_folder / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk; the test above takes a limit instead")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_disk_full_ends_the_run_and_resume_goes_on_when_there_is_space(small_disk):
    calc = small_disk / "calc"
    with pytest.raises(ps.PsweepError, match=r"cannot write to .*journal.*No space left"):
        ps.run(large, ps.plist("a", range(30)), calc_dir=calc)
    rows = ps.load(calc)
    assert 0 < len(rows) < 30
    shutil.move(calc, small_disk.parent / "calc")
    calc.mkdir()
    df = ps.resume("calc")
    assert [y[-1] for y in df.y] == list(range(30))
    assert set(rows._pset_id) <= set(df._pset_id)


def test_disk_full_for_the_database_leaves_rows_in_the_journal(small_disk):
    calc = small_disk / "calc"
    with pytest.raises(ps.PsweepError, match=r"No space left.*4 finished rows are kept in"):
        ps.run(large, ps.plist("a", range(4)), calc_dir=calc)
    assert len(ps.load(calc)) == 4
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert len(ps.resume(calc)) == 4
    assert not list(calc.glob("runs/*/journal"))


def test_disk_read_only_lets_load_work_and_nothing_else(small_disk):
    calc = small_disk / "calc"
    ps.run(lambda pset: {"y": 1}, ps.plist("a", range(3)), calc_dir=calc, cluster="sync")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert len(ps.load(calc)) == 3
    for change in (lambda: ps.run(large, [{"a": 1}], calc_dir=calc), lambda: ps.resume(calc)):
        with pytest.raises(ps.PsweepError, match=r"cannot write to .*Read-only file system"):
            change()


def test_disk_full_with_tmpsave_ends_the_run_with_the_reason(small_disk, study_folder):
    calc = small_disk / "calc"
    with pytest.raises(ps.PsweepError, match="No space left"):
        ps.run(large, ps.plist("a", range(30)), calc_dir=calc, tmpsave=True)
    assert 0 < len(ps.load(calc)) < 30


def test_disk_full_in_prep_batch_and_prep_rest_goes_on_when_there_is_space(small_disk):
    write_study()
    write({"templates/calc/large": bytes(60_000)})
    calc = small_disk / "calc"
    with pytest.raises(ps.PsweepError, match=r"cannot write .*No space left"):
        ps.prep_batch(ps.plist("a", range(300)), calc)
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    df = ps.prep_rest(calc)
    assert df._status.tolist() == ["prepared"] * 300
    assert all((calc / pset_id / "large").stat().st_size == 60_000 for pset_id in df._pset_id)


def test_large_result_of_200_mb_is_returned():
    df = ps.run(lambda pset: {"y": np.full(25_000_000, 7.0)}, [{"a": 1}])
    assert df.y.iloc[0].nbytes == 200_000_000
    assert df._status.tolist() == ["ok"]


def test_study_that_is_removed_while_it_runs_ends_with_the_reason(study_folder):
    def func(pset):
        if pset["a"] == 50:
            shutil.rmtree("calc", ignore_errors=True)
        return {"y": pset["a"]}

    with pytest.raises(ps.PsweepError, match="calc"):
        ps.run(func, ps.plist("a", range(100)), cluster="sync")


def test_database_edited_while_a_run_goes_on_keeps_the_edits(study_folder):
    ps.run(lambda pset: {"y": 1}, ps.plist("a", [7]), cluster="sync")
    with start(study_folder, count=100) as driver:
        wait_for_journal(study_folder)
        with Layout("calc").lock():
            df = ps.df_read("calc/database.pk")
            df["note"] = "mine"
            ps.df_write(df, "calc/database.pk")
        driver.send_signal(signal.SIGINT)
        driver.wait()
    df = ps.load("calc")
    assert df.note.iloc[0] == "mine"
    assert len(df) > 2
