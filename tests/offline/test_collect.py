"""Collecting without a batch system; with a real one: tests/integration/test_offline_slurm.py."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from helpers.driver_process import wait_until
from helpers.offline_study import folders, machine, submit, write, write_study

import psweep_dask as ps

RESULT = "#!/bin/sh\necho '{\"y\": $a}' >result.json\n"


def bring(folder, result, code=0):
    """Leave what a job leaves."""
    ended = f"exit_code={code} begun=100 ended=107 host=n1\n"
    write({"result.json": result, "ended": ended}, folder)


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
    assert "0 psets; 3 psets left: 3 not known to be submitted" in caplog.messages[-1]
    bring(folders(df)[1], '{"y": 7}')
    assert ps.collect()._status.tolist() == ["prepared", "ok", "prepared"]
    assert caplog.messages[-1].startswith("collected 1 pset: 1 ok; 2 psets left: ")
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


def test_edits_of_parameters_stay_and_so_does_an_index_of_ones_own():
    write(machine(jobscript=f"#!/bin/sh\n{sys.executable} -m psweep_dask.offline.job\n"))
    df = ps.prep_batch(ps.plist("a", [1, 2]), func=lambda pset: {"y": pset["a"]})
    df = df.assign(a=[10, 20], renamed=df.a).set_index("renamed")
    ps.df_write(df.drop(columns=["_exec_host"]), "calc/database.pk")
    submit()
    done = ps.collect()
    assert done.a.tolist() == [10, 20]
    assert done.y.tolist() == [1, 2]
    assert done.index.tolist() == [1, 2]
    assert done.index.name == "renamed"
    assert "_exec_host" not in done.columns


def test_types_that_the_user_has_chosen_stay():
    df = prepared()
    df["kind"] = pd.Categorical(["x", "y", "x"])
    df["number"] = pd.array([1, None, 3], dtype="Int64")
    df["y"] = pd.array([None, None, None], dtype="Int64")
    df["_time_utc"] = df["_time_utc"].dt.tz_localize("UTC")
    df[7] = "seven"
    ps.df_write(df, "calc/database.pk")
    submit()
    done = ps.collect()
    assert done.dtypes[["kind", "number", "y"]].astype(str).tolist() == [
        "category",
        "Int64",
        "Int64",
    ]
    assert done.y.tolist() == [0, 1, 2]
    assert str(done._time_utc.dtype).endswith("UTC]")
    assert done[7].tolist() == ["seven"] * 3
    assert "7" not in done.columns


@pytest.mark.parametrize("column", ["_status", "_pset_id", "_run_id", "_pset_seq"])
def test_a_database_whose_rows_cannot_be_found_is_told(column):
    df = prepared()
    ps.df_write(df.drop(columns=[column]), "calc/database.pk")
    submit()
    with pytest.raises(ps.PsweepError, match=f"the column '{column}' is gone"):
        ps.collect()
    ps.df_write(df, "calc/database.pk")
    assert ps.collect()._status.tolist() == ["ok"] * 3


def test_a_database_elsewhere_is_named():
    write_study(run_sh=RESULT)
    ps.prep_batch(ps.plist("a", [1]), database_dir="db", database_basename="x.pk")
    submit()
    with pytest.raises(ps.PsweepError, match=r"but to '../db/x.pk': say so by database_dir="):
        ps.collect()
    assert ps.collect(database_dir="db", database_basename="x.pk")._status.tolist() == ["ok"]


def test_a_job_that_runs_is_waited_for_though_it_has_told_something(study_folder):
    wait = "until [ -e ../go ]; do sleep 0.1; done"
    write_study(run_sh=f"#!/bin/sh\necho '{{\"y\": 1}}' >result.json\n{wait}\nexit 3\n")
    ps.prep_batch(ps.plist("a", [1]))
    process = subprocess.Popen(["sh", "calc/run_local.sh"])
    wait_until(lambda: list(Path("calc").glob("*/result.json")))
    assert ps.collect()._status.tolist() == ["prepared"]
    Path("calc/go").touch()
    assert process.wait() == 0
    done = ps.collect()
    assert (done._status.tolist(), done.y.tolist()) == (["error"], [1])


def test_a_strange_file_costs_no_other(caplog):
    df = prepared()
    submit()
    first = folders(df)[0]
    (first / "submitted_local").unlink()
    (first / "submitted_local").mkdir()
    assert ps.collect()._status.tolist() == ["ok"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ask": 3}, "ask=3; allowed are None, the name of a machine"),
        ({"over": 1}, "over=1; allowed are True, False"),
        ({"over": True, "ask": "x"}, "give one of them"),
        ({"calc_dir": 3}, "calc_dir=3; allowed are a path"),
    ],
)
def test_bad_options_are_told(options, message):
    prepared()
    with pytest.raises(ps.PsweepError, match=message):
        ps.collect(**options)


def test_a_live_row_is_never_touched():
    prepared(1)
    ps.run(lambda pset: {"y": 5}, [{"a": 9}], cluster="sync")
    submit()
    df = ps.collect()
    assert df._status.tolist() == ["ok", "ok"]
    assert df.y.tolist() == [0, 5]


def test_results_of_different_shape_do_not_disturb_one_another():
    df = prepared()
    bring(folders(df)[0], '{"y": 1, "a": "mine"}')
    bring(folders(df)[1], '{"z": [1, {"k": null}]}')
    done = ps.collect()
    assert done.a.tolist() == ["mine", 1, 2]
    assert done.z.iloc[1] == [1, {"k": None}]
    assert done.y.iloc[0] == 1
    assert pd.isna(done.y.iloc[1])


def test_a_record_that_cannot_be_read_waits_and_costs_no_other(caplog):
    write(machine(jobscript=f"#!/bin/sh\n{sys.executable} -m psweep_dask.offline.job\n"))
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
    with pytest.raises(ps.PsweepError, match="'local' cannot be reached: rsync"):
        ps.collect(ask="local")
    with pytest.raises(ps.PsweepError, match="no machine 'other'"):
        ps.collect(ask="other")
