"""Rows that have finished are kept while a slow pset holds up their slice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from helpers.driver_process import wait_until

import psweep_dask as ps
from psweep_dask.monitoring.run_states import run_states
from psweep_dask.params.pset import check_params
from psweep_dask.storage import pickling
from psweep_dask.storage.frame import from_blocks
from psweep_dask.storage.layout import Layout
from psweep_dask.worker import early_rows
from psweep_dask.worker.early_rows import (
    LATE_SECONDS,
    early_blocks,
    early_dir,
    early_path,
    early_paths,
    read_early_file,
    remove_early_file,
    write_if_late,
)
from psweep_dask.worker.task import SlicePayload, run_slice
from psweep_dask.worker.work import SliceResult, Work

RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"

SCRIPT = """
import sys
import time
import psweep_dask as ps

def func(pset):
    time.sleep(600 if pset["a"] in (7, 23, 41) else 0.01)
    with open("ended", "a") as ended:
        ended.write(f"{pset['a']}\\n")
    return {"y": pset["a"] ** 2}

if __name__ == "__main__":
    ps.run_local(func, ps.plist("a", range(60)), poolsize=3)
"""


def ended():
    path = Path("ended")
    return sorted(map(int, path.read_text().split())) if path.exists() else []


def loaded():
    return sorted(ps.load("calc").get("a", ())) if Path("calc/runs").exists() else []


@contextmanager
def held_up():
    """A run all of whose workers are at a pset that takes long."""
    Path("script.py").write_text(SCRIPT)
    with subprocess.Popen([sys.executable, "script.py"], stderr=subprocess.PIPE) as driver:
        try:
            wait_until(lambda: len(ended()) == len(loaded()) >= 5 and nothing_ends())
            yield driver
        finally:
            driver.kill()


def nothing_ends():
    """Whether nothing ends for 3 seconds; a budget is half a second at most."""
    before = ended()
    try:
        wait_until(lambda: ended() != before, 3)
    except AssertionError:
        return True
    return False


def test_early_rows_are_loaded_and_outlive_the_driver(study_folder):
    with held_up() as driver:
        assert loaded() == ended()
        (alive,) = run_states(Layout("calc"))
        assert (alive.state, alive.done) == ("running", len(ended()))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    known = ended()
    (dead,) = run_states(Layout("calc"))
    assert (dead.state, dead.done) == ("dead", len(known))
    df = ps.resume("calc", func=lambda pset: {"y": pset["a"] ** 2})
    assert df.a.tolist() == list(range(60))
    assert (df.y == df.a**2).all()
    assert df._pset_id.is_unique
    assert ended() == known, "nothing that had finished was called again"
    assert not list(Path("calc/runs").glob("*/early"))


def test_early_rows_are_kept_when_a_second_ctrl_c_drops_their_slice(study_folder):
    with held_up() as driver:
        known = ended()
        driver.send_signal(signal.SIGINT)
        time.sleep(1.5)  # two signals at once would be one
        driver.send_signal(signal.SIGINT)
        stderr = driver.communicate(timeout=60)[1].decode()
    assert loaded() == known
    assert f"{len(known)} of 60 psets in " in stderr
    assert f"ps.resume('calc') runs the {60 - len(known)} left" in stderr
    (stopped,) = run_states(Layout("calc"))
    assert (stopped.state, stopped.counts) == ("stopped", {"ok": len(known)})
    assert stopped.left == 60 - len(known)


def test_early_rows_are_not_run_again_when_their_worker_is_lost_later(study_folder):
    def func(pset):
        if pset["a"] in (7, 41):
            time.sleep(2)
            os._exit(3)
        time.sleep(0.01)
        with open("ended", "a") as stream:
            stream.write(f"{pset['a']}\n")
        return {"y": [pset["a"]]}

    df = ps.run_local(func, ps.plist("a", range(60)), poolsize=2)
    assert df._status[df.a.isin([7, 41])].tolist() == ["killed"] * 2
    good = df[~df.a.isin([7, 41])]
    assert good.y.tolist() == [[a] for a in good.a]
    assert (good._status == "ok").all()
    assert ended() == good.a.tolist(), "each once"


def test_early_rows_are_not_written_by_slices_that_end_in_time(study_folder):
    def func(pset):
        time.sleep(0.02)
        return {"files": len(list(Path("calc/runs").glob("*/early/*")))}

    df = ps.run_local(func, ps.plist("a", range(300)), poolsize=2)
    assert (df.files > 0).mean() < 0.2  # none, but for moments in which all stood still
    assert not list(Path("calc/runs").glob("*/early"))


def file_writer(records, path):
    return early_rows._EarlyFileWriter(SliceResult(), records, path)


ROWS = [{"_pset_seq": 1, "_status": "ok", "y": [2], "_pset_runtime": 0.1, "_time_utc": 0}]


def test_early_rows_are_not_written_after_close_or_without_journal(study_folder):
    path = Layout("calc").run_folder("run").early_dir / "1.slice"
    file_writer(ROWS, path).write()
    assert not Path("calc").exists()
    path.parents[1].mkdir(parents=True)
    (path.parents[1] / "journal").touch()
    closed = file_writer(ROWS, path)
    closed.close()
    closed.write()
    assert early_paths(path.parent) == []
    file_writer([], path).write()
    assert early_paths(path.parent) == []
    file_writer(ROWS, path).write()
    assert read_early_file(path).seqs() == {1}
    remove_early_file(path)
    remove_early_file(path)
    assert read_early_file(path) is None


def test_early_blocks_leave_out_what_is_torn_known_or_there_twice(study_folder):
    folder = Layout("calc").run_folder("run").early_dir
    folder.mkdir(parents=True)
    (folder.parent / "journal").touch()
    for name, seqs in {"1": (1, 2, 3), "2": (3, 4), "5": (5,)}.items():
        rows = [ROWS[0] | {"_pset_seq": seq} for seq in seqs]
        file_writer(rows, folder / f"{name}.slice").write()
    torn = folder / "5.slice"
    torn.write_bytes(torn.read_bytes()[:-1])
    (folder / ".7.slice.tmp").write_bytes(b"half")
    seqs = [columns[names.index("_pset_seq")] for names, columns in early_blocks(folder, {1})]
    assert seqs == [[2, 3], [4]]
    assert list(early_blocks(Path("none"), known=set())) == []


def test_early_rows_of_a_late_slice_are_those_that_were_done_by_then(study_folder, monkeypatch):
    monkeypatch.setattr(early_rows, "LATE_SECONDS", 0.05)
    assert LATE_SECONDS == 0.5
    folder = Layout("calc").run_folder("run").early_dir
    folder.mkdir(parents=True)
    (folder.parent / "journal").touch()
    result, records = SliceResult(), list(ROWS)
    path = folder / "1.slice"
    with write_if_late(result, records, path, budget=0.0):
        wait_until(path.exists)
        records.append(ROWS[0] | {"_pset_seq": 2})
    early = read_early_file(path)
    assert (early.seqs(), early.statuses, result.has_early_file) == ({1}, {"ok": 1}, True)


def test_early_dir_is_none_where_the_driver_may_not_see_it():
    run = Work("run", 0, "calc", b"", cwd="/study")
    assert early_path(run, 7) == Path("/study/calc/runs/run/early/7.slice")
    assert early_dir(Work("run", 0, "calc", b"")) is None
    assert early_path(Work("run", 0, "calc", b"", cwd="/study", simulate=True), 7) is None


def test_rows_that_were_shown_stay_when_their_worker_dies(study_folder):
    def func(pset):
        if pset["a"] == 40:
            Path("at 40").touch()
            while not Path("looked").exists():
                time.sleep(0.05)
            os._exit(1)
        return {"y": os.urandom(8).hex(), "n": pset["a"], "z": [1.5]}

    sweep = ps.submit(func, ps.plist("a", range(80)), cluster="local", tmpsave=True)
    wait_until(Path("at 40").exists, seconds=300)
    shown = ps.load("calc")
    Path("looked").touch()
    df = sweep.result()
    assert df._status.tolist() == ["ok"] * 40 + ["killed"] + ["ok"] * 39
    assert len(shown) >= 3
    kept = df[df._pset_id.isin(shown._pset_id)]
    for column in ("y", "n", "z", "_pset_runtime", "_time_utc"):
        assert kept[column].tolist() == shown[column].tolist()


def test_slice_that_runs_again_has_the_rows_that_are_in_files(study_folder):
    def func(pset):
        if pset["a"] == 2:
            raise ValueError("two")
        return {"y": os.urandom(8), "t": np.float32(0.1), "f": 1.0, "none": None}

    work = Work(RUN_ID, 0, "calc", pickling.dumps(func), cwd=os.getcwd(), tmpsave=True)
    psets, digests = check_params(ps.plist("a", range(4)))
    packed = SlicePayload(list(range(4)), psets, digests).pack()
    first, second = (run_slice(work.pack(), RUN_ID, packed, 60.0) for _ in range(2))
    assert (second.done, second.statuses) == (4, first.statuses)
    assert second.failed == first.failed == {"ValueError": 1}
    before, after = (
        from_blocks(result.blocks()).drop(columns="_exc_txt") for result in (first, second)
    )
    pd.testing.assert_frame_equal(after[before.columns], before)


def test_rows_that_the_user_has_deleted_do_not_come_back_from_their_files(study_folder):
    def func(pset):
        return {"y": os.urandom(8).hex()}

    before = ps.run(func, ps.plist("a", range(4)), cluster="sync", tmpsave=True)
    ps.df_write(before[before.a != 2], "calc/database.pk")
    after = ps.resume("calc", run_id=before._run_id.iloc[0], cluster="sync")
    assert after.a.tolist() == [0, 1, 2, 3]
    assert (after.y.to_numpy() != before.y.to_numpy()).tolist() == [False, False, True, False]
