"""retry and reproduce, after real failures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.funcs import double, fail_odd

import psweep_dask as ps
from psweep_dask._query import QueryError
from psweep_dask.storage.layout import Layout
from psweep_dask.study.runs import NoStudyError

# -- retry -------------------------------------------------------------------------------------


def test_retry_runs_failed_psets_again_and_counts_attempts():
    first = ps.run(fail_odd, ps.plist("a", range(6)), cluster="sync")
    df = ps.retry("calc", cluster="sync")
    assert df.a.tolist() == [0, 1, 2, 3, 4, 5, 1, 3, 5]
    assert df._attempt.tolist() == [1] * 6 + [2] * 3
    df = ps.retry("calc", double, cluster="sync", retries=1)
    assert df._attempt.tolist()[9:] == [3] * 3
    assert df._status.tolist()[9:] == ["ok"] * 3
    assert df._pset_sha1.tolist()[9:] == first._pset_sha1.tolist()[1::2]
    assert len(ps.retry("calc", cluster="sync")) == 12  # nothing is left


def test_retry_adds_up_attempts_within_and_between_runs():
    ps.run(fail_odd, ps.plist("a", [1]), cluster="sync", retries=2)
    df = ps.retry("calc", cluster="sync", retries=1)
    assert df._attempt.tolist() == [3, 5]


def test_retry_kind_selects_failures_by_status():
    df = ps.run(fail_odd, ps.plist("a", range(4)), cluster="sync")
    df.loc[df.a == 3, "_status"] = "timeout"
    ps.df_write(df, "calc/database.pk")
    df = ps.retry("calc", kind="timeout", cluster="sync")
    assert df.a.tolist()[4:] == [3]
    df = ps.retry("calc", kind=["error", "killed"], cluster="sync")
    assert df.a.tolist()[5:] == [1, 3]
    with pytest.raises(ps.PsweepError, match="kind='ok'; allowed are 'error', 'killed', 'timeout'"):
        ps.retry("calc", kind="ok")


def test_retry_runs_each_failed_repeat_of_a_pset_again():
    def sometimes(pset):
        return {"y": 1 / (pset["_pset_seq"] - 1)}

    ps.run(sometimes, [{"a": 1}] * 4, cluster="sync")
    df = ps.retry("calc", double, cluster="sync")
    assert df.a.tolist() == [1] * 5
    assert len(ps.retry("calc", cluster="sync")) == 5


def test_retry_without_the_plan_names_the_run(study_folder):
    df = ps.run(fail_odd, ps.plist("a", range(4)), cluster="sync")
    Layout("calc").run_folder(df._run_id.iloc[0]).plan_path.unlink()
    with pytest.raises(ps.PsweepError, match="the plan of run .* is gone"):
        ps.retry("calc", cluster="sync")


# -- reproduce ---------------------------------------------------------------------------------


def noisy(pset):
    return {"x": ps.rng(pset).random(), "seen": sorted(pset)}


def test_reproduce_returns_the_same_numbers_and_writes_nothing(study_folder):
    df = ps.run(noisy, ps.plist("a", range(4)))
    files = {path: path.stat().st_mtime_ns for path in study_folder.rglob("*") if path.is_file()}
    for row in df.itertuples(index=False, name=None):
        row = dict(zip(df.columns, row, strict=True))
        again = ps.reproduce("calc", row["_pset_id"][:8])
        assert again == {"x": row["x"], "seen": row["seen"]}
    after = {path: path.stat().st_mtime_ns for path in study_folder.rglob("*") if path.is_file()}
    assert after == files


def test_reproduce_raises_what_func_raises_and_pdb_stops_there(study_folder):
    df = ps.run(fail_odd, ps.plist("a", [1]), cluster="sync")
    with pytest.raises(ValueError, match="1 is odd"):
        ps.reproduce("calc", df._pset_id.iloc[0])
    command = [str(Path(sys.executable).parent / "psweep-dask"), "reproduce", "calc"]
    done = subprocess.run(
        [*command, df._pset_id.iloc[0], "--pdb"], input="p pset['a']\nq\n", capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert "(Pdb) 1" in done.stdout
    assert "in fail_odd" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("pset_id", "message"),
    [("", "beginning of one is needed, not ''"), ("nothing", "'nothing': no pset has an id")],
)
def test_reproduce_takes_exactly_one_row(pset_id, message):
    ps.run(noisy, ps.plist("a", range(4)), cluster="sync")
    with pytest.raises(QueryError, match=message):
        ps.reproduce("calc", pset_id)


def test_retry_writes_to_no_second_database():
    ps.run(fail_odd, ps.plist("a", [1, 2]), cluster="sync", database_basename="db.pk")
    with pytest.raises(NoStudyError, match="but to 'db.pk': say so by database_dir="):
        ps.retry("calc")
    df = ps.retry("calc", fail_odd, database_basename="db.pk", cluster="sync")
    assert df.a.tolist() == [1, 2, 1]


def test_retry_keeps_the_timeout_of_the_run_unless_told_otherwise():
    def slow(pset):
        __import__("time").sleep(1.5)
        return {}

    df = ps.run(slow, [{"a": 1}], timeout=0.3)
    assert "timeout=0.3 allows" in df._exc_txt.iloc[0]
    assert ps.retry("calc")._status.tolist() == ["timeout"] * 2
    assert ps.retry("calc", timeout=30.0)._status.tolist() == ["timeout"] * 2 + ["ok"]


def test_retry_says_which_func_it_takes_and_keeps_its_source_and_logs(study_folder, caplog):
    script = study_folder / "mine.py"
    call = "ps.run(func, [{'a': 0}], capture_logs='db', cluster='sync')"
    head = "import psweep_dask as ps\n\ndef func(pset):\n    print('hello')\n"
    script.write_text(f"{head}    return {{'y': 1 / pset['a']}}\n\n{call}\n")
    subprocess.run([sys.executable, script], check=True)
    script.write_text(f"{head}    return {{'y': 0}}  # mended\n\n{call}\n")
    caplog.set_level("INFO")
    df = ps.retry("calc", cluster="sync")
    assert "with the func of run" in caplog.text
    assert df._status.tolist() == ["error", "error"]
    assert df._logs.tolist() == ["hello\n", "hello\n"]
    infos = [json.loads(path.read_text()) for path in study_folder.glob("calc/runs/*/run.json")]
    assert [info["source"] for info in infos] == [infos[0]["source"]] * 2
    assert "1 / pset" in infos[0]["source"]
