"""Collecting without a batch system; with a real one: tests/integration/test_offline_slurm.py."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from helpers.driver_process import wait_until
from helpers.offline_study import folders, submit, write, write_func_machine, write_study

import psweep_dask as ps

RESULT = "#!/bin/sh\necho '{\"y\": $a}' >result.json\n"


def leave(folder, result, code=0):
    """Write the files that a job leaves."""
    ended = f"exit_code={code} begun=100 ended=107 host=n1\n"
    write({"result.json": result, "ended": ended}, folder)


def run_json():
    (path,) = Path("calc/runs").glob("*/run.json")
    return json.loads(path.read_text())


def prepared(count=3):
    write_study(run_sh=RESULT)
    return ps.prep_batch(ps.plist("a", range(count)))


def test_collect_at_any_time_changes_nothing_twice(caplog):
    caplog.set_level("INFO", "psweep_dask")
    df = prepared()
    assert ps.collect()._status.tolist() == ["prepared"] * 3
    assert "0 psets; 3 psets left: 3 not known to be submitted" in caplog.messages[-1]
    leave(folders(df)[1], '{"y": 7}')
    assert ps.collect()._status.tolist() == ["prepared", "ok", "prepared"]
    assert caplog.messages[-1].startswith("collected 1 pset: 1 ok; 2 psets left: ")
    assert run_json()["ended"] == "prepared"
    submit()
    done = ps.collect()
    assert done.y.tolist() == [0, 7, 2]
    assert done._status.tolist() == ["ok"] * 3
    written = Path("calc/database.pk").stat()
    pd.testing.assert_frame_equal(ps.collect(), done)
    again = Path("calc/database.pk").stat()  # reading it may change st_atime
    assert (again.st_ino, again.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert (run_json()["ended"], run_json()["counts"]) == ("done", {"ok": 3, "left": 0})


def test_collect_orders_columns_and_rows_as_live_runs_do():
    df = prepared()
    submit()
    done = ps.collect()
    assert list(done.columns) == [*df.columns[:8], "y", *df.columns[8:]]
    assert done._pset_seq.tolist() == [0, 1, 2]
    assert (done.index == done._time_utc).all()
    assert done._exec_host.notna().all()
    assert (done._pset_runtime >= 0).all()


def test_collect_keeps_columns_and_deletions_of_the_user():
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


def test_collect_keeps_edited_parameters_and_the_index_of_the_user():
    write_func_machine()
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


def test_collect_keeps_dtypes_of_the_user():
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
def test_collect_needs_book_keeping_columns(column):
    df = prepared()
    ps.df_write(df.drop(columns=[column]), "calc/database.pk")
    submit()
    with pytest.raises(ps.PsweepError, match=f"the column '{column}' is gone"):
        ps.collect()
    ps.df_write(df, "calc/database.pk")
    assert ps.collect()._status.tolist() == ["ok"] * 3


def test_collect_names_a_database_elsewhere():
    write_study(run_sh=RESULT)
    ps.prep_batch(ps.plist("a", [1]), database_dir="db", database_basename="x.pk")
    submit()
    with pytest.raises(ps.PsweepError, match=r"but to '../db/x.pk': say so by database_dir="):
        ps.collect()
    assert ps.collect(database_dir="db", database_basename="x.pk")._status.tolist() == ["ok"]


def test_collect_waits_for_a_job_with_a_result_json_that_runs_on(study_folder):
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


def test_collect_goes_on_after_a_strange_file(caplog):
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
def test_collect_options_that_are_wrong_are_an_error(options, message):
    prepared()
    with pytest.raises(ps.PsweepError, match=message):
        ps.collect(**options)


def test_collect_leaves_rows_of_live_runs_alone():
    prepared(1)
    ps.run(lambda pset: {"y": 5}, [{"a": 9}], cluster="sync")
    submit()
    df = ps.collect()
    assert df._status.tolist() == ["ok", "ok"]
    assert df.y.tolist() == [0, 5]


def test_collect_takes_results_with_different_columns():
    df = prepared()
    leave(folders(df)[0], '{"y": 1, "a": "mine"}')
    leave(folders(df)[1], '{"z": [1, {"k": null}]}')
    done = ps.collect()
    assert done.a.tolist() == ["mine", 1, 2]
    assert done.z.iloc[1] == [1, {"k": None}]
    assert done.y.iloc[0] == 1
    assert pd.isna(done.y.iloc[1])


def test_collect_waits_for_a_record_that_cannot_be_read(caplog):
    write_func_machine()
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


def test_collect_in_two_threads_loses_and_doubles_nothing():
    prepared(40)
    submit()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ps.collect(), range(4)))
    df = ps.load()
    assert df._pset_seq.tolist() == list(range(40))
    assert df.y.tolist() == list(range(40))


def test_collect_of_a_study_without_jobs_returns_the_database():
    ps.run(lambda pset: {"y": 5}, [{"a": 9}], cluster="sync")
    assert ps.collect().y.tolist() == [5]
    with pytest.raises(ps.PsweepError, match="no study in 'nowhere'"):
        ps.collect("nowhere")


def test_ask_of_a_machine_that_cannot_be_reached_is_an_error(monkeypatch):
    prepared()
    monkeypatch.setenv("RSYNC_RSH", "false")
    with pytest.raises(ps.PsweepError, match="'local' cannot be reached: rsync"):
        ps.collect(ask="local")
    with pytest.raises(ps.PsweepError, match="no machine 'other'"):
        ps.collect(ask="other")
