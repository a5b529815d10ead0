from __future__ import annotations

import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from helpers.driver_process import wait_until

import psweep_dask as ps


def slow(pset):
    time.sleep(0.05)
    return {"y": 2 * pset["a"]}


@pytest.fixture(params=["local", "sync"])
def where(request):
    return request.param


def test_submit_returns_at_once_and_shows_how_far_it_is(where):
    sweep = ps.submit(slow, ps.plist("a", range(80)), cluster=where)
    assert not sweep.done
    wait_until(lambda: len(sweep.df) > 2)
    seen = sweep.df
    assert 0 < len(seen) < 80
    assert (seen.y == 2 * seen.a).all()
    assert seen._pset_seq.is_monotonic_increasing
    assert set(sweep.progress) == {"ok", "left"}
    assert "running" in repr(sweep)
    assert sum(sweep.progress.values()) == 80
    if where == "local":
        assert sweep.dashboard_link.startswith("http://127.0.0.1:")
    with pytest.raises(TimeoutError, match="goes on"):
        sweep.result(timeout=0.01)
    df = sweep.result()
    assert sweep.done
    assert df.a.tolist() == list(range(80))
    pd.testing.assert_frame_equal(sweep.df, df)
    pd.testing.assert_frame_equal(ps.load("calc"), df)


def test_stop_lets_psets_finish_and_returns_the_rows_there_are(where):
    sweep = ps.submit(slow, ps.plist("a", range(1000)), cluster=where)
    wait_until(lambda: sweep.progress["ok"] > 2)
    sweep.stop()
    df = sweep.result(timeout=30)
    assert 2 < len(df) < 1000
    assert len(ps.resume("calc", lambda pset: {}, cluster="sync")) == 1000


def test_stop_now_drops_psets_that_run():
    sweep = ps.submit(lambda pset: time.sleep(600), ps.plist("a", range(4)), save=False)
    time.sleep(1)
    sweep.stop(now=True)
    assert len(sweep.result(timeout=30)) == 0


def test_submit_raises_for_bad_input_and_result_for_failures():
    with pytest.raises(ps.PsweepError, match="params must be a list"):
        ps.submit(slow, {"a": 1})
    sweep = ps.submit(lambda pset: 1 / 0, [{"a": 1}], cluster="sync", on_error="raise", save=False)
    with pytest.raises(ps.PsetFailedError, match="ZeroDivisionError"):
        sweep.result()
    assert sweep.done


def test_submit_twice_at_once_in_one_study():
    sweeps = [ps.submit(slow, ps.plist("a", range(30))) for _ in range(2)]
    lengths = sorted(len(sweep.result()) for sweep in sweeps)
    assert lengths[-1] == 60
    df = ps.load("calc")
    assert df._pset_seq.tolist() == list(range(60))
    assert sorted(len(sweep.df) for sweep in sweeps) == [30, 30]


def test_submit_in_a_script_that_ends_before_keeps_finished_rows(study_folder):
    script = """
import time
import psweep_dask as ps
def func(pset):
    time.sleep(0.05 if pset["a"] else 600)
    return {}
if __name__ == "__main__":
    sweep = ps.submit(func, ps.plist("a", [1] * 10 + [0] * 10))
    while sweep.progress["ok"] < 5:
        time.sleep(0.1)
"""
    (study_folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Traceback" not in done.stderr
    assert "ps.resume('calc') runs the" in done.stderr
    assert len(ps.df_read("calc/database.pk")) >= 5


def test_submit_works_in_a_repl(study_folder):
    typed = (
        "import psweep_dask as ps\n"
        "sweep = ps.submit(lambda pset: {'y': pset['a']}, ps.plist('a', range(5)))\n"
        "print('rows', len(sweep.result()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-i"], input=typed, capture_output=True, text=True, check=True, timeout=60
    )
    assert "rows 5" in done.stdout
    assert "Traceback" not in done.stderr


def test_rows_so_far_may_be_read_by_several_threads():
    sweep = ps.submit(slow, ps.plist("a", range(60)), save=False)
    lengths = []

    def ask():
        while not sweep.done:
            lengths.append(len(sweep.df))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sweep.df) == 60
    assert sweep.df._pset_id.is_unique
