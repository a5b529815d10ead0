"""Collecting without a batch system; with a real one: tests/integration/test_offline_slurm.py."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from offline import folders, machine, submit, write, write_study

import psweep_dask as ps

RESULT = "#!/bin/sh\necho '{\"y\": $a}' >result.json\n"


def run_json():
    (path,) = Path("calc/runs").glob("*/run.json")
    return json.loads(path.read_text())


def prepared(count=3):
    write_study(run_sh=RESULT)
    return ps.prep_batch(ps.plist("a", range(count)))


def test_it_may_be_done_at_any_time_and_changes_nothing_twice(caplog):
    caplog.set_level("INFO", "psweep_dask")
    df = prepared()
    assert ps.collect()._status.tolist() == ["prepared"] * 3
    assert "0 psets; 3 are left: 3 not known to be submitted" in caplog.messages[-1]
    write({"result.json": '{"y": 7}'}, folders(df)[1])
    assert ps.collect()._status.tolist() == ["prepared", "ok", "prepared"]
    assert caplog.messages[-1].startswith("collected 1 pset: 1 ok; 2 are left: ")
    assert run_json()["ended"] == "prepared"
    submit()
    done = ps.collect()
    assert done.y.tolist() == [0, 7, 2]
    assert done._status.tolist() == ["ok"] * 3
    written = Path("calc/database.pk").stat()
    pd.testing.assert_frame_equal(ps.collect(), done)
    assert Path("calc/database.pk").stat() == written
    assert (run_json()["ended"], run_json()["counts"]) == ("done", {"ok": 3, "left": 0})


def test_the_order_of_columns_and_of_rows_is_that_of_live_runs():
    df = prepared()
    submit()
    done = ps.collect()
    assert list(done.columns) == [*df.columns[:8], "y", *df.columns[8:]]
    assert done._pset_seq.tolist() == [0, 1, 2]
    assert (done.index == done._time_utc).all()
    assert done._exec_host.notna().all()
    assert (done._pset_runtime >= 0).all()


def test_what_the_user_has_changed_stays_so():
    df = prepared()
    df["study"] = ["x", "y", "z"]
    df["number"] = [1, 2, 3]
    ps.df_write(df.iloc[1:], "calc/database.pk")
    submit()
    done = ps.collect()
    assert done.a.tolist() == [1, 2]
    assert done.study.tolist() == ["y", "z"]
    assert done.number.tolist() == [2, 3]
    assert done.y.tolist() == [1, 2]


def test_a_live_row_is_never_touched():
    prepared(1)
    ps.run(lambda pset: {"y": 5}, [{"a": 9}], cluster="sync")
    submit()
    df = ps.collect()
    assert df._status.tolist() == ["ok", "ok"]
    assert df.y.tolist() == [0, 5]


def test_results_of_different_shape_do_not_disturb_one_another():
    df = prepared()
    write({"result.json": '{"y": 1, "a": "mine"}'}, folders(df)[0])
    write({"result.json": '{"z": [1, {"k": null}]}'}, folders(df)[1])
    done = ps.collect()
    assert done.a.tolist() == ["mine", 1, 2]
    assert done.z.iloc[1] == [1, {"k": None}]
    assert done.y.iloc[0] == 1
    assert pd.isna(done.y.iloc[1])


def test_a_record_that_cannot_be_read_waits_and_costs_no_other(caplog):
    write(machine(jobscript=f"#!/bin/sh\n{sys.executable} -m psweep_dask.task\n"))
    df = ps.prep_batch(ps.plist("a", [1, 2]), func=lambda pset: {"y": pset["a"]})
    submit()
    first = folders(df)[0] / "record.pk"
    good = first.read_bytes()
    first.unlink()
    first.mkdir()
    done = ps.collect()
    assert done._status.tolist() == ["prepared", "ok"]
    assert f"{df._pset_id.iloc[0]} is not collected: " in caplog.text
    first.rmdir()
    first.write_bytes(good[:-1])
    assert ps.collect()._status.tolist() == ["lost", "ok"]
    first.write_bytes(good)
    done = ps.collect()
    assert done._status.tolist() == ["ok", "ok"]
    assert done._exc_txt.isna().all()


def test_two_at_once_lose_nothing_and_double_nothing():
    prepared(40)
    submit()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ps.collect(), range(4)))
    df = ps.load()
    assert df._pset_seq.tolist() == list(range(40))
    assert df.y.tolist() == list(range(40))


def test_a_study_without_jobs_has_nothing_to_collect():
    ps.run(lambda pset: {"y": 5}, [{"a": 9}], cluster="sync")
    assert ps.collect().y.tolist() == [5]
    with pytest.raises(ps.PsweepError, match="no study in 'nowhere'"):
        ps.collect("nowhere")


def test_a_machine_that_cannot_be_asked_is_told(monkeypatch):
    prepared()
    monkeypatch.setenv("RSYNC_RSH", "false")
    with pytest.raises(ps.PsweepError, match="squeue does not answer by 'false local'"):
        ps.collect(ask="local")
    with pytest.raises(ps.PsweepError, match="no machine 'other'"):
        ps.collect(ask="other")
