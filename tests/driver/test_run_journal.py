"""What a run has on disk as its psets finish, when its driver or its merge fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.funcs import double

import psweep_dask as ps
from psweep_dask.storage import database, journal, plan
from psweep_dask.worker.work import Work

DRIVER = """
import time
import psweep_dask as ps

def func(pset):
    time.sleep(0.05)
    return {"y": 2 * pset["a"]}

if __name__ == "__main__":
    ps.run(func, ps.plist("a", range(2000)), cluster="WHERE")
"""


def test_journal_has_the_finished_psets_when_the_driver_is_killed(where, study_folder):
    script = study_folder / "driver.py"
    script.write_text(DRIVER.replace("WHERE", where))
    with subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL) as driver:
        deadline = time.monotonic() + 60
        size = 0
        while size < 3000 and time.monotonic() < deadline:
            time.sleep(0.1)
            size = sum(path.stat().st_size for path in study_folder.glob("calc/runs/*/journal"))
        driver.kill()
    (path,) = study_folder.glob("calc/runs/*/journal")
    replayed = journal.replay(path)
    rows = [
        dict(zip(names, row, strict=True))
        for names, columns in replayed
        for row in zip(*columns, strict=True)
    ]
    assert len(rows) >= 8
    assert all(row["y"] == 2 * row["a"] for row in rows)
    with (path.parent / "plan.pk").open("rb") as stream:
        planned, work = plan.load(stream)
    assert len(planned) == 2000
    assert Work.unpack(work).func
    df = ps.run(double, [{"a": 1}], cluster="sync")
    assert df._pset_seq.tolist()[-1] == 2000  # no number is used twice
    assert len(df) == len(rows) + 1
    assert not path.exists()


def test_two_drivers_at_once_lose_no_row_and_share_no_number(study_folder):
    script = study_folder / "driver.py"
    script.write_text(DRIVER.replace("WHERE", "sync").replace("2000", "20").replace("0.05", "0.01"))
    drivers = [
        subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL) for _ in range(3)
    ]
    assert [driver.wait() for driver in drivers] == [0, 0, 0]
    df = ps.df_read("calc/database.pk")
    assert df._pset_seq.tolist() == list(range(60))
    assert df._run_seq.tolist() == sorted(df._run_seq)
    assert df._run_seq.nunique() == df._run_id.nunique() == 3


def test_journal_stays_when_the_merge_fails(study_folder, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database, "_write", full)
    with pytest.raises(ps.PsweepError, match=r"No space left.*5 finished rows are kept"):
        ps.run(double, ps.plist("a", range(5)), cluster="sync")
    monkeypatch.undo()
    (path,) = study_folder.glob("calc/runs/*/journal")
    assert sum(len(columns[0]) for _, columns in journal.replay(path)) == 5


def overwrite(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0" * 40)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [overwrite, cut])
def test_rows_that_another_program_takes_from_the_journal_are_told_and_run_again(
    study_folder, damage
):
    def func(pset):
        if pset["a"] == 20:
            (path,) = Path("calc", "runs").glob("*/journal")
            damage(path)
        time.sleep(0.05)
        return {"y": pset["a"]}

    with pytest.raises(ps.PsweepError, match="another program has (cut|written to)"):
        ps.run(func, ps.plist("a", range(40)), cluster="sync")
    left = 40 - len(ps.load("calc"))
    assert 0 < left < 40
    df = ps.resume("calc", func=lambda pset: {"y": pset["a"]}, cluster="sync")
    assert sorted(df.a) == sorted(df.y) == list(range(40))
    assert (df._status == "ok").all()


@pytest.mark.parametrize("place", ["copy", "gone"])
def test_journal_that_a_program_that_syncs_replaces_loses_nothing(study_folder, place, caplog):
    def func(pset):
        if pset["a"] == 20:
            (path,) = Path("calc", "runs").glob("*/journal")
            data = path.read_bytes()
            path.unlink()
            if place == "copy":
                path.write_bytes(data)
        if pset["a"] == 39:  # what a killed driver would leave
            assert len(ps.load("calc")) > 20
        time.sleep(0.05)
        return {"y": pset["a"]}

    df = ps.run(func, ps.plist("a", range(40)), cluster="sync")
    assert (df._status == "ok").all(), df._exc_txt.dropna().tolist()
    assert df.y.tolist() == list(range(40))
    assert "another program has replaced" in caplog.text
