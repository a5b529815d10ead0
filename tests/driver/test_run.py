"""What users rely on when they call run and run_local, mostly on a real LocalCluster."""

from __future__ import annotations

import functools
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from distributed import Client, LocalCluster, default_client
from helpers import driver_process

import psweep_dask as ps
from psweep_dask.clusters import local
from psweep_dask.storage import database, journal, plan
from psweep_dask.worker.work import Work

PARAMS = ps.pgrid(ps.plist("a", [1, 2, 3]), ps.plist("b", [77, 88]))
SEED_COLUMNS = [
    "_run_id", "_pset_id", "_calc_dir", "_time_utc", "_pset_sha1", "_pset_seq", "_run_seq",
]  # fmt: skip
OUR_COLUMNS = ["_status", "_exc_txt", "_exec_host", "_pset_runtime", "_attempt"]


def product(pset):
    return {"result": pset["a"] * pset["b"]}


def double(pset):
    return {"y": 2 * pset["a"]}


def fail_odd(pset):
    if pset["a"] % 2:
        raise ValueError(f"{pset['a']} is odd")
    return {"y": pset["a"]}


@pytest.fixture(params=["local", "sync"])
def where(request):
    """Both ways to run must give the same."""
    return request.param


def test_the_first_study_of_the_seed(where, study_folder):
    df = ps.run(product, PARAMS, cluster=where)
    assert list(df) == ["a", "b", *SEED_COLUMNS, "result", *OUR_COLUMNS]
    assert df.result.tolist() == [77, 88, 154, 176, 231, 264]
    assert df._pset_seq.tolist() == list(range(6))
    assert df._run_seq.tolist() == [0] * 6
    assert df._run_id.nunique() == 1
    assert df._pset_id.nunique() == 6
    assert all(uuid.UUID(one).version == 4 for one in [*df._run_id, *df._pset_id])
    assert df._calc_dir.tolist() == ["calc"] * 6
    assert df._pset_sha1.tolist() == [ps.pset_sha1(pset) for pset in PARAMS]
    assert (df.index == df._time_utc).all()
    assert df._status.tolist() == ["ok"] * 6
    assert df._exc_txt.tolist() == [None] * 6
    assert df._attempt.tolist() == [1] * 6
    assert str(df._time_utc.dtype) == str(df.index.dtype) == "datetime64[ns]"
    assert [str(df[name].dtype) for name in ("a", "_pset_seq", "result")] == ["int64"] * 3
    pd.testing.assert_frame_equal(ps.df_read("calc/database.pk"), df)


def test_a_run_leaves_its_plan_and_its_story_but_no_journal(where, study_folder):
    df = ps.run(fail_odd, ps.plist("a", range(4)), cluster=where)
    (run_dir,) = (study_folder / "calc" / "runs").iterdir()
    assert run_dir.name == df._run_id.iloc[0]
    names = sorted(path.name for path in run_dir.iterdir())
    assert names == ["driver.lock", "plan.pk", "run.json"]
    info = json.loads((run_dir / "run.json").read_text())
    assert info["ended"] == "done"
    assert info["counts"] == {"ok": 2, "error": 2, "left": 0}
    assert info["func"] == "fail_odd"
    assert info["start"] < info["end"]
    assert info["cluster"]["kind"] == where
    with (run_dir / "plan.pk").open("rb") as stream:
        planned, work = plan.load(stream)
    assert planned.psets == ps.plist("a", range(4))
    func = pickle.loads(pickle.loads(work).func)
    assert func({"a": 2}) == {"y": 2}


def test_runs_append_and_count_on(where):
    ps.run(double, ps.plist("a", [1, 2]), cluster=where)
    df = ps.run(double, ps.plist("a", [1, 2]), cluster=where)
    assert df._run_seq.tolist() == [0, 0, 1, 1]
    assert df._pset_seq.tolist() == [0, 1, 2, 3]
    assert df._run_id.nunique() == 2
    assert df._pset_id.nunique() == 4
    assert df._pset_sha1.nunique() == 2


def test_equal_psets_are_separate_evaluations():
    df = ps.run(lambda pset: {"y": ps.rng(pset).random()}, [{"a": 1}] * 20)
    assert len(df) == df._pset_id.nunique() == df.y.nunique() == 20


def test_the_users_edits_columns_and_deletions_survive(study_folder):
    df = ps.run(double, ps.plist("a", [1, 2, 3]), cluster="sync")
    df["study"] = "first"
    df.loc[df.a == 1, "y"] = -1
    ps.df_write(df[df.a != 2], "calc/database.pk")
    df = ps.run(double, ps.plist("a", [4]), cluster="sync")
    assert df.a.tolist() == [1, 3, 4]
    assert df.y.tolist() == [-1, 6, 8]
    assert df.study.tolist()[:2] == ["first", "first"]
    assert pd.isna(df.study.iloc[2])


def test_columns_that_appear_later_are_filled_as_pandas_does():
    ps.run(double, ps.plist("a", [1]), cluster="sync")
    df = ps.run(lambda pset: {"z": "text"}, [{"a": 2, "b": 5}], cluster="sync")
    assert list(df)[:2] == ["a", "b"]
    assert df.y.tolist()[0] == 2.0
    assert np.isnan(df.y.tolist()[1])
    assert df.b.dtype == float


def test_databases_of_psweep_are_continued(study_folder):
    old = pd.DataFrame(
        {
            "a": [1],
            "_run_id": ["r"],
            "_pset_id": ["p"],
            "_run_seq": [4],
            "_pset_seq": [7],
            "y": [0.5],
        },
        index=[pd.Timestamp("2021-03-19 22:58:17.015223265")],
    )
    ps.df_write(old, "calc/database.pk")
    df = ps.run(double, ps.plist("a", [2]), cluster="sync")
    assert df._pset_seq.tolist() == [7, 8]
    assert df._run_seq.tolist() == [4, 5]
    assert df.y.tolist() == [0.5, 4.0]


def test_generators_are_as_good_as_lists():
    assert ps.run(double, ({"a": n} for n in range(3)), cluster="sync").y.tolist() == [0, 2, 4]


def test_no_psets_give_the_database_as_it_is(study_folder):
    assert ps.run(double, [], cluster="sync").empty
    ps.run(double, ps.plist("a", [1]), cluster="sync")
    assert len(ps.run(double, [], cluster="sync")) == 1
    assert len(list((study_folder / "calc" / "runs").iterdir())) == 1


# -- failures ----------------------------------------------------------------------------------


def test_a_failing_pset_is_a_row_and_the_summary_tells(where, caplog):
    df = ps.run(fail_odd, ps.plist("a", range(5)), cluster=where)
    assert df._status.tolist() == ["ok", "error", "ok", "error", "ok"]
    assert "ValueError: 3 is odd" in df._exc_txt.iloc[3]
    assert df.y.tolist()[::2] == [0, 2, 4]
    told = caplog.text
    assert "5 of 5 psets" in told
    assert "3 ok, 2 failed (2 ValueError)" in told
    assert "is odd" in told
    assert 'raise ValueError(f"' in told


def test_on_error_raise_stops_at_the_first_with_the_traceback_of_func(where, study_folder):
    with pytest.raises(ps.PsetFailedError) as caught:
        ps.run(fail_odd, ps.plist("a", [0, 2, 4, 7, 8]), cluster=where, on_error="raise")
    assert "{'a': 7}" in str(caught.value)
    assert "in fail_odd" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    df = ps.df_read("calc/database.pk")
    assert df._status.tolist().count("error") == 1
    assert set(df.a) <= {0, 2, 4, 7, 8}
    (info,) = (study_folder / "calc" / "runs").glob("*/run.json")
    assert json.loads(info.read_text())["ended"] == "given up"


def test_on_error_takes_a_number():
    with pytest.raises(ps.PsetFailedError, match="with 3 failed psets"):
        ps.run(fail_odd, ps.plist("a", range(100)), cluster="sync", on_error=3, save=False)


def test_giving_up_does_not_wait_for_long_psets_and_the_next_run_has_workers():
    def slow(pset):
        if pset["a"] == 0:
            time.sleep(0.5)
            raise ValueError("first")
        time.sleep(600)

    started = time.monotonic()
    with pytest.raises(ps.PsetFailedError):
        ps.run(slow, ps.plist("a", range(2)), on_error="raise", save=False)
    assert ps.run(double, ps.plist("a", range(4)), save=False).y.tolist() == [0, 2, 4, 6]
    assert time.monotonic() - started < 60


# -- options -----------------------------------------------------------------------------------


def test_save_false_leaves_nothing_on_disk_but_reads_what_is_there(where, study_folder):
    assert len(ps.run(double, ps.plist("a", [1]), cluster=where, save=False)) == 1
    assert list(study_folder.iterdir()) == []
    ps.run(double, ps.plist("a", [1]), cluster=where)
    before = (study_folder / "calc/database.pk").read_bytes()
    df = ps.run(double, ps.plist("a", [2]), cluster=where, save=False)
    assert df._pset_seq.tolist() == [0, 1]
    assert (study_folder / "calc/database.pk").read_bytes() == before


def test_df_takes_the_place_of_the_database(study_folder):
    first = ps.run(double, ps.plist("a", [1]), cluster="sync", save=False)
    both = ps.run(double, ps.plist("a", [2]), cluster="sync", save=False, df=first)
    assert both.a.tolist() == [1, 2]
    assert both._run_seq.tolist() == [0, 1]
    assert list(study_folder.iterdir()) == []
    saved = ps.run(double, ps.plist("a", [3]), cluster="sync", df=both)
    pd.testing.assert_frame_equal(ps.df_read("calc/database.pk"), saved)
    assert saved.a.tolist() == [1, 2, 3]


def test_df_that_lacks_rows_of_the_database_loses_none_of_them(study_folder):
    df = ps.run(double, ps.plist("a", [1, 2]), cluster="sync")
    df = ps.run(double, ps.plist("a", [3]), cluster="sync", df=df[df.a == 2])
    assert df.a.tolist() == [2, 3]
    (kept,) = (study_folder / "calc").glob("database.pk.replaced-*")
    assert ps.df_read(kept).a.tolist() == [1, 2]


def test_simulate_touches_nothing_of_the_real_study(study_folder, caplog):
    ps.run(double, ps.plist("a", [1]), cluster="sync")
    before = {path: path.read_bytes() for path in study_folder.rglob("*") if path.is_file()}
    caplog.set_level("INFO")

    def never(pset):
        (study_folder / "called").touch()

    df = ps.run_local(never, ps.plist("a", [2, 3]), simulate=True)
    after = {path: path.read_bytes() for path in study_folder.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert not (study_folder / "called").exists()
    assert df.a.tolist() == [1, 2, 3]
    assert df._status.tolist() == ["ok", "simulated", "simulated"]
    assert ": 2 simulated" in caplog.text
    assert df._calc_dir.tolist() == ["calc", "calc.simulate", "calc.simulate"]
    pd.testing.assert_frame_equal(ps.df_read("calc.simulate/database.pk"), df)
    ps.run_local(never, ps.plist("a", [9]), simulate=True)
    assert ps.df_read("calc.simulate/database.pk").a.tolist() == [1, 9]


def test_simulate_works_without_a_database(study_folder):
    assert len(ps.run(double, ps.plist("a", [2]), simulate=True)) == 1
    assert not (study_folder / "calc").exists()


def test_backup_copies_the_study_and_refuses_to_overwrite(study_folder):
    ps.run(double, ps.plist("a", [1]), cluster="sync", backup=True)
    assert [path.name for path in study_folder.iterdir()] == ["calc"]
    old = ps.df_read("calc/database.pk")
    (study_folder / "calc" / "data.bin").write_bytes(b"x")
    ps.run(double, ps.plist("a", [2]), cluster="sync", backup=True)
    stamp = old.index.max().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    copy = study_folder / f"calc.bak_{stamp}_run_id_{old._run_id.iloc[-1]}"
    pd.testing.assert_frame_equal(ps.df_read(copy / "database.pk"), old)
    assert (copy / "data.bin").read_bytes() == b"x"
    ps.df_write(old, "calc/database.pk")
    with pytest.raises(ps.PsweepError, match="calc.bak_.*nothing new"):
        ps.run(double, ps.plist("a", [3]), cluster="sync", backup=True)
    pd.testing.assert_frame_equal(ps.df_read("calc/database.pk"), old)


def test_the_database_may_live_elsewhere(study_folder):
    for value in (1, 2):
        df = ps.run_local(
            double,
            ps.plist("a", [value]),
            database_dir="data",
            database_basename="db.pk",
            calc_dir="work",
        )
    assert df.a.tolist() == [1, 2]
    pd.testing.assert_frame_equal(ps.df_read("data/db.pk"), df)
    assert not (study_folder / "work" / "database.pk").exists()


def test_tmpsave_writes_each_row(where, study_folder):
    df = ps.run(double, ps.plist("a", [1, 2]), cluster=where, tmpsave=True)
    for seq, pset_id in enumerate(df._pset_id):
        row = ps.df_read(f"calc/tmpsave/{df._run_id.iloc[0]}/{pset_id}.pk")
        pd.testing.assert_frame_equal(row, df.iloc[[seq]])


@pytest.mark.parametrize(("verbose", "shown"), [(True, ["_pset_id", "y"]), (["y"], ["y"])])
def test_verbose_prints_rows(where, verbose, shown, capsys):
    ps.run(double, ps.plist("a", [17]), cluster=where, verbose=verbose, save=False)
    out = capsys.readouterr().out
    assert "34" in out
    assert all(name in out for name in shown)
    assert ("_pset_id" in out) == (verbose is True)


def test_skip_dups_runs_only_what_has_no_result_yet(caplog):
    caplog.set_level("INFO")
    ps.run(fail_odd, ps.plist("a", [0, 1, 2]), cluster="sync")
    df = ps.run(fail_odd, ps.plist("a", [0, 1, 2, 4]), cluster="sync", skip_dups=True)
    assert df.a.tolist() == [0, 1, 2, 1, 4]
    assert df._pset_seq.tolist() == [0, 1, 2, 3, 4]
    assert "2 of 4 psets left out" in caplog.text
    same = ps.run(fail_odd, ps.plist("a", [0, 2, 4]), cluster="sync", skip_dups=True)
    pd.testing.assert_frame_equal(same, df)


@pytest.mark.parametrize("how", ["db", "file", "db+file"])
def test_capture_logs_catches_each_psets_own_output(where, how, study_folder):
    def func(pset):
        print("python", pset["a"])
        subprocess.run(f"echo child {pset['a']} >&2", shell=True, check=True)
        return {}

    df = ps.run(func, ps.plist("a", range(4)), cluster=where, capture_logs=how)
    texts = [f"python {number}\nchild {number}\n" for number in range(4)]
    if "db" in how:
        assert df._logs.tolist() == texts
    else:
        assert "_logs" not in df
    if "file" in how:
        logs = [study_folder / "calc" / pset_id / "logs.txt" for pset_id in df._pset_id]
        assert [path.read_text() for path in logs] == texts


def test_git_commits_before_and_after(study_folder, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.org")
    subprocess.run(["git", "init", "--quiet"], check=True)
    (study_folder / "run.py").write_text("params = 1")
    df = ps.run(double, ps.plist("a", [1]), cluster="sync", git=True)
    log = subprocess.run(["git", "log", "--format=%s"], capture_output=True, text=True, check=True)
    after, before = log.stdout.splitlines()
    assert after.endswith(f"run_id={df._run_id.iloc[0]}")
    assert before.endswith("local changes")
    status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=True)
    assert status.stdout == b""


def test_uncommitted_changes_are_kept_with_the_run(study_folder, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.org")
    script = study_folder / "run.py"
    script.write_text("params = 1\n")
    for arguments in (["init"], ["add", "."], ["commit", "--message", "first"]):
        subprocess.run(["git", *arguments], check=True, capture_output=True)
    script.write_text("params = 2\n")
    ps.run(double, ps.plist("a", [1]), cluster="sync")
    (run_dir,) = (study_folder / "calc" / "runs").iterdir()
    assert json.loads((run_dir / "run.json").read_text())["git"]["dirty"] is True
    assert "+params = 2" in (run_dir / "uncommitted.patch").read_text()


# -- how psets travel --------------------------------------------------------------------------


def test_run_local_keeps_the_seeds_positional_order(study_folder):
    first = ps.run_local(double, ps.plist("a", [1]), None, 1, False)
    assert list(study_folder.iterdir()) == []
    df = ps.run_local(double, ps.plist("a", [2]), first, 1, True, True, False, "work")
    assert df.a.tolist() == [1, 2]
    assert (study_folder / "work" / "tmpsave").exists()


def test_a_large_closure_is_shipped_once_not_once_a_task():
    class Counting:
        """Large, and counts how often it is unpickled on each worker."""

        def __init__(self):
            self.ballast = os.urandom(2**20)

        def __setstate__(self, state):
            self.__dict__ = state
            os.environ["LOADED"] = str(int(os.environ.get("LOADED", "0")) + 1)

    large = Counting()

    def func(pset):
        time.sleep(0.05)
        return {
            "size": len(large.ballast),
            "loaded": int(os.environ["LOADED"]),
            "pid": os.getpid(),
        }

    local.close_local()
    df = ps.run(func, ps.plist("a", range(60)), save=False)
    assert set(df["size"]) == {2**20}
    assert df["loaded"].nunique() == 1
    assert df["pid"].nunique() == local.CPU_COUNT


def test_partials_methods_and_callables_run():
    class Model:
        def __call__(self, pset):
            return double(pset)

        def method(self, pset):
            return double(pset)

    def power(n, pset):
        return {"y": pset["a"] ** n}

    for func in (Model(), Model().method, functools.partial(power, 1), lambda pset: double(pset)):
        assert len(ps.run(func, ps.plist("a", [1, 2]), save=False)) == 2


def test_psets_may_hold_objects_and_results_too():
    def func(pset):
        return {"sum": pset["array"].sum(), "back": pset["array"] * 2, "none": None}

    df = ps.run(func, [{"array": np.arange(n)} for n in (2, 3)], save=False)
    assert df["sum"].tolist() == [1, 3]
    assert df["back"].iloc[1].tolist() == [0, 2, 4]
    assert df["none"].tolist() == [None, None]


def test_large_results_come_home():
    df = ps.run(lambda pset: {"y": np.full(2**21, pset["a"])}, ps.plist("a", range(12)), save=False)
    assert [array[0] for array in df.y] == list(range(12))
    assert df.y.iloc[0].nbytes == 2**24


def test_the_local_cluster_is_kept_and_workers_follow_the_working_directory(
    study_folder, monkeypatch
):
    pids = set(ps.run(lambda pset: {"pid": os.getpid()}, ps.plist("a", range(50)), save=False).pid)
    (study_folder / "sub").mkdir()
    monkeypatch.chdir(study_folder / "sub")
    df = ps.run(
        lambda pset: {"pid": os.getpid(), "cwd": os.getcwd()}, ps.plist("a", range(50)), save=False
    )
    assert set(df.pid) <= pids | set(df.pid)
    assert set(df.pid) & pids
    assert set(df.cwd) == {str(study_folder / "sub")}
    assert os.getpid() not in set(df.pid)


def test_poolsize_says_how_many_workers():
    def func(pset):
        time.sleep(0.02)
        return {"pid": os.getpid()}

    assert ps.run_local(func, ps.plist("a", range(30)), poolsize=3, save=False).pid.nunique() == 3
    assert ps.run_local(func, ps.plist("a", range(10)), poolsize=1, save=False).pid.nunique() == 1


def test_no_client_of_ours_becomes_the_default():
    ps.run(double, ps.plist("a", [1]), save=False)
    with pytest.raises(ValueError, match="No clients found"):
        default_client()


def test_a_client_or_cluster_of_the_user_is_used_and_left_open(study_folder):
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        df = ps.run(lambda pset: {"pid": os.getpid()}, ps.plist("a", range(5)), cluster=cluster)
        assert set(df.pid) == {os.getpid()}
        with Client(cluster) as client:
            for choice in (client, None):  # None means the default client
                df = ps.run(lambda pset: {"pid": os.getpid()}, [{"a": 1}], cluster=choice)
                assert df.pid.iloc[-1] == os.getpid()
            assert client.submit(lambda: 1).result() == 1
            with pytest.raises(ps.PsweepError, match=r"capture_logs.*one thread.*these have 2"):
                ps.run(double, [{"a": 1}], cluster=client, capture_logs="db")
    assert len(ps.df_read("calc/database.pk")) == 7
    infos = (study_folder / "calc" / "runs").glob("*/run.json")
    kinds = sorted(json.loads(path.read_text())["cluster"]["kind"] for path in infos)
    assert kinds == ["Client", "Client", "LocalCluster"]


def test_tasks_are_grouped_under_the_name_of_func():
    ps.run(double, [{"a": 1}], save=False)
    scheduler = local._kept.cluster.scheduler
    assert "double" in scheduler.task_prefixes


def test_a_worker_that_dies_does_not_hang_the_run_and_what_finished_is_saved(study_folder):
    def deadly(pset):
        if pset["a"] == 7:
            time.sleep(1)
            os._exit(1)
        return {"y": pset["a"]}

    df = ps.run(deadly, ps.plist("a", range(8)))
    assert df._status.tolist() == ["ok"] * 7 + ["killed"]


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("func", "params", "options", "message"),
    [
        (5, [{"a": 1}], {}, "func must be callable with one pset, not 5"),
        (lambda *, pset: {}, [{"a": 1}], {}, "one argument, the pset: too many positional"),
        (lambda pset, x: {}, [{"a": 1}], {}, "'x'.*functools.partial"),
        (functools.partial(lambda lock, pset: {}, threading.Lock()), [{"a": 1}], {},
         "cannot be pickled.*inside func"),
        (double, {"a": 1}, {}, "list of dicts"),
        (double, [{"a": 1}, 5], {}, r"params\[1\]"),
        (double, [{1: 2}], {}, "keys must be str"),
        (double, [{"_run_id": 2}], {}, "reserved"),
        (double, [{"a": print}], {}, "key 'a'.*no reproducible hash"),
        (double, [{"a_": threading.Lock()}], {}, r"params\[0\].*'a_'.*cannot be pickled"),
        (double, [{"a": 1}], {"on_error": "stop"}, "on_error='stop'; allowed are"),
        (double, [{"a": 1}], {"capture_logs": "x"}, "capture_logs='x'; allowed are"),
        (double, [{"a": 1}], {"cluster": "moon"}, "unknown cluster 'moon'; there are 'local'"),
        (double, [{"a": 1}], {"cluster": 7}, "cluster=7; allowed are"),
        (double, [{"a": 1}], {"git": True}, "git init"),
        (double, [{"a": 1}], {"calc_dir": "file/calc"}, "cannot write to .*calc_dir="),
    ],
)  # fmt: skip
def test_bad_input_is_named_before_anything_starts(func, params, options, message, study_folder):
    (study_folder / "file").touch()
    with pytest.raises(ps.PsweepError, match=message):
        ps.run(func, params, **options)
    left = [path for path in (study_folder / "calc").rglob("*") if path.is_file()]
    assert [path.name for path in left if path.name != ".database.pk.lock"] == []


@pytest.mark.parametrize("poolsize", [0, -1, 1.5, "two", True])
def test_poolsize_must_be_a_number_of_workers(poolsize):
    with pytest.raises(ps.PsweepError, match=f"poolsize={poolsize!r}; allowed are"):
        ps.run_local(double, [{"a": 1}], poolsize=poolsize)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="colour"):
        ps.run(double, [{"a": 1}], colour="red")


def test_a_damaged_database_is_moved_aside_before_anything_runs(study_folder):
    ps.run(double, [{"a": 1}], cluster="sync")
    path = study_folder / "calc" / "database.pk"
    path.write_bytes(path.read_bytes()[:-20])

    def never(pset):
        (study_folder / "called").touch()
        return {}

    with pytest.raises(ps.PsweepError, match=r"damaged.*moved to"):
        ps.run(never, [{"a": 2}], cluster="sync")
    assert not (study_folder / "called").exists()
    assert len(list((study_folder / "calc").glob("database.pk.damaged-*"))) == 1
    assert len(ps.run(double, [{"a": 2}], cluster="sync")) == 1


# -- on disk as it finishes --------------------------------------------------------------------


DRIVER = """
import time
import psweep_dask as ps

def func(pset):
    time.sleep(0.05)
    return {"y": 2 * pset["a"]}

if __name__ == "__main__":
    ps.run(func, ps.plist("a", range(2000)), cluster="WHERE")
"""


def test_what_finished_is_in_the_journal_when_the_driver_is_killed(where, study_folder):
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
    assert isinstance(pickle.loads(work), Work)
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_lets_what_runs_finish_and_returns(where, number, study_folder):
    with driver_process.start(study_folder, nap=0.5, options=f"cluster={where!r}") as driver:
        driver_process.wait_until(lambda: driver_process.calls(study_folder))
        os.killpg(driver.pid, number)
        printed, told = driver.communicate(timeout=60)
    assert driver.returncode == 0
    df = ps.df_read("calc/database.pk")
    assert int(printed) == len(df) >= 1
    assert sorted(df._pset_seq) == sorted(driver_process.calls(study_folder))
    assert (df._status == "ok").all()
    assert "stopping: nothing new is started" in told
    assert f"ps.resume('calc') runs the {2000 - len(df)} left" in told
    assert "Traceback" not in told
    assert "distributed" not in told


def test_a_second_ctrl_c_drops_what_runs_at_once_with_all_it_started(study_folder):
    script = driver_process.SCRIPT.replace(
        "time.sleep(NAP)", "__import__('os').system('sleep 602')"
    )
    with driver_process.start(study_folder, options="cluster='local'", script=script) as driver:
        driver_process.wait_until(lambda: sleepers(driver))
        started = sleepers(driver)
        os.killpg(driver.pid, signal.SIGINT)
        time.sleep(1.5)
        assert all(one.is_running() for one in started)  # it is spared by the first
        os.killpg(driver.pid, signal.SIGINT)
        _, told = driver.communicate(timeout=20)
    assert driver.returncode == 0
    assert "Traceback" not in told
    assert "distributed" not in told
    driver_process.wait_until(lambda: not any(map(lives, started)), seconds=10)


def lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sleepers(driver):
    children = psutil.Process(driver.pid).children(recursive=True)
    return [child for child in children if "602" in child.cmdline()]


def test_another_shell_stops_a_run(study_folder):
    psweep_dask = str(Path(sys.executable).parent / "psweep-dask")
    with driver_process.start(study_folder, nap=0.1) as driver:
        driver_process.wait_for_journal(study_folder, size=1)
        done = subprocess.run(
            [psweep_dask, "stop", "calc"], capture_output=True, text=True, check=True
        )
        printed, _ = driver.communicate(timeout=60)
    assert "is asked to stop" in done.stdout
    assert driver.returncode == 0
    assert 0 < int(printed) < 2000
    done = subprocess.run([psweep_dask, "stop"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: no run in 'calc' is at work\n"


def test_ctrl_c_in_a_run_inside_a_func_stops_the_outer_run_too(study_folder):
    script = """
import time
import psweep_dask as ps
def inner(pset):
    open("started", "w").close()
    time.sleep(0.1)
    return {}
def outer(pset):
    df = ps.run(inner, ps.plist("i", range(20)), cluster="sync", save=False, df=EMPTY)
    return {"n": len(df)}
import pandas as pd
EMPTY = pd.DataFrame()
df = ps.run(outer, ps.plist("a", range(30)), cluster="sync")
print(df.n.tolist())
"""
    with driver_process.start(study_folder, script=script) as driver:
        driver_process.wait_until((study_folder / "started").exists)
        driver.send_signal(signal.SIGINT)
        printed, _ = driver.communicate(timeout=60)
    assert printed == "[20]\n"


def test_what_a_stopped_sweep_leaves_running_does_not_block_another():
    ps.run(double, ps.plist("a", range(2)), save=False)  # the workers are there
    started = time.monotonic()
    first = ps.submit(lambda pset: time.sleep(600), [{"a": 1}], save=False)
    second = ps.submit(double, ps.plist("a", range(5)), save=False)
    time.sleep(1)
    first.stop(now=True)
    first.result(timeout=30)
    assert second.result(timeout=30).y.tolist() == [0, 2, 4, 6, 8]
    assert len(ps.run(double, ps.plist("a", range(4)), save=False)) == 4
    assert time.monotonic() - started < 60


def test_a_merge_that_fails_leaves_the_journal(study_folder, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database, "df_write", full)
    with pytest.raises(ps.PsweepError, match=r"No space left.*5 finished rows are kept"):
        ps.run(double, ps.plist("a", range(5)), cluster="sync")
    monkeypatch.undo()
    (path,) = study_folder.glob("calc/runs/*/journal")
    assert sum(len(columns[0]) for _, columns in journal.replay(path)) == 5


def test_a_worker_whose_working_directory_is_gone_runs_on(study_folder, monkeypatch):
    for name in ("one", "two"):
        folder = study_folder / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        df = ps.run(lambda pset: {"cwd": os.getcwd()}, ps.plist("a", range(9)), save=False)
        assert set(df.cwd) == {str(folder)}
        monkeypatch.chdir(study_folder)
        folder.rmdir()


def test_a_result_named_after_a_file_that_is_no_utf8_costs_its_pset_only(study_folder):
    """Such a name of a column could not be read again where pyarrow is installed."""

    def func(pset):
        return {os.fsdecode(b"Messung_\xe4.txt") if pset["a"] == 1 else "y": 1}

    df = ps.run(func, ps.plist("a", [0, 1, 2]), cluster="sync")
    assert df._status.tolist() == ["ok", "error", "ok"]
    assert "cannot be written as UTF-8" in df._exc_txt.iloc[1]
    assert ps.load("calc").y.dropna().tolist() == [1, 1]
