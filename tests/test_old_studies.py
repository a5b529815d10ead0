"""Studies that version 0.1.0.dev0 has written are read, resumed, collected and retried."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import psweep_dask as ps

pytest.importorskip("numpy", "2", reason="NumPy 2 has written them, which 1.26 cannot read")

STUDIES = Path(__file__).parent / "data" / "studies" / "0.1.0.dev0"
with_old_func = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="func is of Python 3.11")
with_pandas_3 = pytest.mark.skipif(pd.__version__ < "3", reason="pandas 3 has written it")
DONE = ["done", pytest.param("done_pandas3", marks=with_pandas_3)]
OTHERS = ["dead", "tmpsave", "prepared", "array", "stopped", "retry"]

# The _pset_id and random number of psets, some of which are not run yet, by _pset_seq.
KNOWN = {
    "done": {1: ("c991cc71-82f2-465a-9ab4-892a0b2afd52", 0.056667202827577645)},
    "done_pandas3": {1: ("4f6d1ad2-5fa3-413d-a622-2003fd17b51b", 0.2474358069555247)},
    "dead": {
        16: ("835a288d-c8af-4d6c-8132-9affe185b0b1", 0.941771970995247),
        19: ("eac380bc-41fe-46f6-9589-6edb7ce17f94", 0.5157110020963422),
        21: ("2f0bb831-14a3-412e-a59a-d4e4fa3b118d", 0.6021077175376607),
        22: ("60b5726f-6d26-4f66-aee8-236811f09152", 0.43546410322265383),
        24: ("39b58953-51a8-4020-a5d4-cc11b9e18ae5", 0.5668886681138772),
        30: ("4f668434-1e2b-44fa-b5dc-4aa7664f8ec3", 0.6136416437509312),
        31: ("91244657-f304-4627-bf45-feaef0b91933", 0.9399036740308976),
    },
    "tmpsave": {
        3: ("99c85213-3451-416f-8e47-06010e57cb67", 0.24654590267085907),
        28: ("9a97415b-1f63-4b56-9a4d-b0dc93f55c89", 0.8021052877393525),
    },
    "stopped": {
        4: ("4b37b983-b6be-425b-a8ef-a6d9e5260350", 0.37591226937575506),
        7: ("9e21a205-f748-4d19-a4d5-bbe2dcc16628", 0.05306958524052363),
        13: ("5e607dec-4796-4b62-bd8b-1dd39875cc92", 0.8554157291650021),
        15: ("03949797-509e-4e2a-96dc-3882f4e54418", 0.701426130660693),
    },
}


@pytest.fixture
def old_study(tmp_path, monkeypatch):
    """Work in a copy of a study."""

    def enter(name):
        shutil.copytree(STUDIES / name, tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        return ps.load()

    return enter


def files():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def ys(df):
    """What func returns in the studies that were killed; -1 where it fails."""
    squared = [3 * a if a % 2 == 0 else 9 * a**2 for a in df.a]
    return [-1 if a % 3 == 2 else y for a, y in zip(df.a, squared, strict=True)]


def check(name, before, df):
    """All rows are there: those from before with their values, and those that are `KNOWN`."""
    assert df._pset_seq.tolist() == list(range(len(df)))
    old = df[df._pset_id.isin(before._pset_id)]
    pd.testing.assert_frame_equal(old[before.columns], before, check_dtype=False)
    for seq, (pset_id, x) in KNOWN.get(name, {}).items():
        assert (df._pset_id.iloc[seq], df.x.iloc[seq]) == (pset_id, x)


@pytest.mark.parametrize("name", [*DONE, *OTHERS])
def test_old_study_is_not_changed_by_reading(old_study, name):
    assert len(old_study(name))
    assert str(ps.status())
    original = STUDIES / name
    assert files() == {
        path.relative_to(original): path.read_bytes()
        for path in original.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", DONE)
def test_old_study_done_is_read(old_study, name):
    df = old_study(name)
    check(name, df, df)
    good = df[df._status == "ok"]
    assert good.a.tolist() == [0, 1, 3]
    assert (df._status.iloc[2], df._exc_txt.notna().sum()) == ("error", 1)
    assert df._exc_txt.iloc[2].endswith("\nValueError: two is one too many\n")
    assert df._logs.tolist() == [f"this is number {a}\n" for a in range(4)]
    assert good.label.tolist() == ["number 0: plain", "number 1: squared", "number 3: squared"]
    assert [trace.tolist() for trace in good.trace] == [
        [0, 0],
        [0, 0.5, 1],
        [0, 0.75, 1.5, 2.25, 3],
    ]
    assert good.nothing.tolist() == [None] * 3
    assert good.later.tolist() == [pd.Timestamp(2026, 11, day, 12) for day in (1, 2, 4)]
    assert good.table.iloc[1] == {"a": 1, "all": [1, (2, 3), {"four"}]}
    assert [mode.name for mode in df["mode"]] == ["PLAIN", "SQUARED"] * 2
    assert [mode.value for mode in good.result_mode] == ["squared"] * 3
    assert [(point.x, point.y) for point in good.moved] == [(1, 0.5), (2, 0.5), (4, 0.5)]
    assert [ps.pset_sha1(pset) for pset in ps.to_params(df)] == df._pset_sha1.tolist()


@with_old_func
@pytest.mark.parametrize("name", DONE)
def test_old_study_done_is_reproduced(old_study, name):
    row = old_study(name).iloc[1]
    again = ps.reproduce("calc", row._pset_id)
    assert (again["x"], again["label"]) == (row.x, "number 1: squared")
    assert (again["moved"].x, again["result_mode"].name) == (2, "SQUARED")


@with_old_func
@pytest.mark.parametrize("where", ["sync", "local"])
def test_old_study_dead_run_resumes(old_study, where):
    before = old_study("dead")
    assert set(range(33)) - set(before._pset_seq) == {*KNOWN["dead"], 17, 23}
    early_rows = before[before._pset_seq.isin([18, 29])]
    assert early_rows._status.tolist() == ["ok", "error"]
    assert early_rows.x.iloc[0] == 0.5815583444494633
    df = ps.resume(cluster=where)
    check("dead", before, df)
    assert df.a.tolist() == [100, 101, 102, *range(30)]
    assert df.y.fillna(-1).tolist() == ys(df)
    assert df._exc_txt.iloc[17].endswith("PsweepError: 14 does not go\n")
    assert (df.parts.iloc[31], df.was.iloc[30].name) == ([28, 84], "SQUARED")
    assert {path.name for path in Path("calc/runs").glob("*/*")} == {
        "driver.lock", "plan.pk", "run.json", "rows-0.gz", "rows-1.gz",
    }  # fmt: skip
    assert ps.resume(cluster=where).equals(df)


def test_old_study_dead_run_resumes_with_another_func(old_study):
    before = old_study("dead")
    df = ps.resume(func=lambda pset: {"y": -7, "was": pset["mode"]}, cluster="sync")
    check("", before, df)
    assert df._pset_seq[df.y == -7].tolist() == sorted([*KNOWN["dead"], 17, 23])
    assert [mode.name for mode in df.was.iloc[[16, 19]]] == ["SQUARED", "PLAIN"]


@with_old_func
def test_old_study_tmpsave_rows_are_read_and_the_run_resumes(old_study):
    before = old_study("tmpsave")
    assert before._pset_seq.tolist() == [0, 1, 2, 5, 11, 15, 17, 23, 29]
    df = ps.resume(cluster="sync")
    check("tmpsave", before, df)
    assert df.y.fillna(-1).tolist() == ys(df)
    assert {path.stem for path in Path("calc/tmpsave").glob("*/*.pk")} == set(df._pset_id)


@with_old_func
def test_old_study_stopped_runs_resume(old_study):
    before = old_study("stopped")
    assert before.a.tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 12]
    df = ps.resume(cluster="sync")
    check("stopped", before, df)
    assert df.y.tolist() == [3 * a for a in range(16)]
    assert df._run_seq.tolist() == [0] * 8 + [1] * 8


@with_old_func
def test_old_study_failed_psets_are_retried(old_study):
    before = old_study("retry")
    assert before.a.tolist() == [0, 1, 2, 3, 4, 5, 1, 3, 5]
    Path("mended_3").touch()
    df = ps.retry(cluster="sync")
    check("retry", before, df)
    new = df.iloc[9:][["a", "_status", "_attempt", "_run_seq"]]
    assert new.to_numpy().tolist() == [[3, "ok", 3, 2], [5, "error", 3, 2]]
    assert (df.y.iloc[9], df.x.iloc[9]) == (9, ps.rng(dict(df.iloc[9])).random())


def test_old_study_grows_by_what_it_does_not_have(old_study):
    before = old_study("retry")
    df = ps.run(lambda pset: {"y": 7}, ps.plist("a", range(7)), cluster="sync", skip_dups=True)
    check("retry", before, df)
    assert df.iloc[9:][["a", "_run_seq"]].to_numpy().tolist() == [[3, 2], [5, 2], [6, 2]]


def test_old_study_prepared_jobs_are_collected(old_study):
    assert old_study("prepared")._status.tolist() == ["prepared"] * 6
    df = ps.collect()
    assert df._status.tolist() == ["ok", "error", "killed", "prepared", "ok", "prepared"]
    assert (df.y.iloc[0], df.l.iloc[0], df.x.iloc[0]) == (3, [1], ps.rng(dict(df.iloc[0])).random())
    assert df.c.iloc[4] == [10, "10"]
    assert df._exc_txt.iloc[1].endswith("\nValueError: two is one too many\n")
    assert "ended with exit status 7 on lab" in df._exc_txt.iloc[2]


@with_old_func
@pytest.mark.parametrize("how", ["local", "shell", "live"])
def test_old_study_prepared_jobs_run_from_their_scripts_or_live(old_study, how):
    before = old_study("prepared")
    if how == "live":
        ps.resume(run_id=before._run_id.iloc[3], cluster="sync")
    else:
        script = ["sh", f"calc/run_{how}.sh"]
        subprocess.run(script, check=True, capture_output=True, timeout=100)
    df = ps.collect()
    place = 5 if how == "shell" else 3
    expected = ["ok", "error", "killed", "prepared", "ok", "prepared"]
    expected[place] = "ok"
    assert df._status.tolist() == expected
    assert df._pset_id.tolist() == before._pset_id.tolist()
    if how == "shell":
        assert df.c.iloc[5] == [20, "20"]
    else:
        assert (df.y.iloc[3], df.l.iloc[3]) == (12, [4])
        assert df.x.iloc[3] == ps.rng(dict(df.iloc[3])).random()


def test_old_study_job_array_is_known_to_be_submitted(old_study):
    old_study("array")
    df = ps.collect()
    assert (df._status.tolist(), df.c.iloc[0]) == (["ok", "prepared"], 10)
    assert ps.collect(over=True)._status.tolist() == ["ok", "lost"]
