"""A pset that has finished is kept, also while a slow one holds up its slice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from drivers import wait_until

import psweep_dask as ps
from psweep_dask.early import early_blocks, kept_when_late
from psweep_dask.layout import Layout
from psweep_dask.record import pack
from psweep_dask.run_state import run_states

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
        driver.wait(60)
    assert loaded() == known
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


@pytest.mark.parametrize("folder", ["run", "elsewhere"])
def test_nothing_is_written_in_time_after_the_end_or_where_there_is_no_run(folder, study_folder):
    Path("run").mkdir()
    path = Path(folder, "early", "1.frame")
    with kept_when_late([{"_pset_seq": 1}], path, 0.0 if folder == "elsewhere" else 60.0):
        wait_until(lambda: True)
    assert not path.exists()
    assert not Path("elsewhere").exists()


def test_what_is_torn_or_known_or_kept_twice_is_left_out(study_folder):
    Path("early").mkdir()
    Path("early/1.frame").write_bytes(pack([{"_pset_seq": seq, "y": seq} for seq in (1, 2, 3)]))
    Path("early/2.frame").write_bytes(pack([{"_pset_seq": seq, "y": seq} for seq in (3, 4)]))
    Path("early/3.frame").write_bytes(pack([{"_pset_seq": 5, "y": 5}])[:-1])
    Path("early/.4.frame.tmp").write_bytes(pack([{"_pset_seq": 6, "y": 6}]))
    blocks = list(early_blocks(Path("early"), known={1}))
    assert blocks == [(("_pset_seq", "y"), [[2, 3], [2, 3]]), (("_pset_seq", "y"), [[4], [4]])]
    assert list(early_blocks(Path("none"), known=set())) == []
