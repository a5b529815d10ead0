"""A pset that has finished is kept, also while a slow one holds up its slice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from helpers.driver_process import wait_until

import psweep_dask as ps
from psweep_dask.monitoring.run_states import run_states
from psweep_dask.storage.layout import Layout
from psweep_dask.worker import partial
from psweep_dask.worker.early_rows import early_blocks, early_paths, read_early, seqs_of
from psweep_dask.worker.work import SliceResult

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
            wait_until(lambda: len(ended()) == len(loaded()) >= 5 and still())
            yield driver
        finally:
            driver.kill()


def still():
    """Whether nothing ends any more; a budget is half a second at most."""
    before = ended()
    try:
        wait_until(lambda: ended() != before, 3)
    except AssertionError:
        return True
    return False


def test_what_has_finished_is_seen_and_outlives_the_driver_though_its_slice_goes_on(study_folder):
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


def test_what_has_finished_stays_when_a_second_ctrl_c_drops_its_slice(study_folder):
    with held_up() as driver:
        known = ended()
        driver.send_signal(signal.SIGINT)
        time.sleep(1.5)  # two signals at once would be one
        driver.send_signal(signal.SIGINT)
        said = driver.communicate(timeout=60)[1].decode()
    assert loaded() == known
    assert f"{len(known)} of 60 psets in " in said
    assert f"ps.resume('calc') runs the {60 - len(known)} left" in said
    (one,) = run_states(Layout("calc"))
    assert (one.state, one.counts) == ("stopped", {"ok": len(known)})
    assert one.left == 60 - len(known)


def test_what_has_finished_is_not_called_again_when_its_worker_dies_later(study_folder):
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


def test_slices_that_end_when_they_should_write_no_file(study_folder):
    def func(pset):
        time.sleep(0.02)
        return {"files": len(list(Path("calc/runs").glob("*/early/*")))}

    df = ps.run_local(func, ps.plist("a", range(300)), poolsize=2)
    assert (df.files > 0).mean() < 0.2  # none, but for moments in which all stood still
    assert not list(Path("calc/runs").glob("*/early"))


def keeper(records, path):
    return partial._Keeper(SliceResult(), records, path)


ROWS = [{"_pset_seq": 1, "_status": "ok", "y": [2], "_pset_runtime": 0.1, "_time_utc": 0}]


def test_nothing_is_written_after_the_end_or_where_there_is_no_journal(study_folder):
    path = Layout("calc").run_folder("run").early_dir / "1.slice"
    keeper(ROWS, path).keep()
    assert not Path("calc").exists()
    path.parents[1].mkdir(parents=True)
    (path.parents[1] / "journal").touch()
    over = keeper(ROWS, path)
    over.end()
    over.keep()
    assert early_paths(path.parent) == []
    keeper([], path).keep()
    assert early_paths(path.parent) == []
    keeper(ROWS, path).keep()
    assert seqs_of(read_early(path)) == {1}


def test_what_is_torn_or_known_or_kept_twice_is_left_out(study_folder):
    folder = Layout("calc").run_folder("run").early_dir
    folder.mkdir(parents=True)
    (folder.parent / "journal").touch()
    for name, seqs in {"1": (1, 2, 3), "2": (3, 4), "5": (5,)}.items():
        rows = [ROWS[0] | {"_pset_seq": seq} for seq in seqs]
        keeper(rows, folder / f"{name}.slice").keep()
    torn = folder / "5.slice"
    torn.write_bytes(torn.read_bytes()[:-1])
    (folder / ".7.slice.tmp").write_bytes(b"half")
    found = [
        columns[names.index("_pset_seq")] for names, columns in early_blocks(folder, known={1})
    ]
    assert found == [[2, 3], [4]]
    assert list(early_blocks(Path("none"), known=set())) == []
