"""resume, after real kills."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from helpers.driver_process import SCRIPT, calls, start, wait_for_journal, wait_until
from helpers.funcs import double

import psweep_dask as ps
from psweep_dask.params.pset import pset_id
from psweep_dask.storage.layout import Layout
from psweep_dask.study import runs


def killed(study_folder, **options):
    with start(study_folder, **options) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    return ps.load("calc")


@pytest.mark.parametrize("where", ["sync", "local"])
def test_resume_runs_only_what_has_no_record_under_the_same_ids(study_folder, where):
    before = killed(study_folder, count=150, options=f"cluster={where!r}")
    (study_folder / "calls").unlink()
    df = ps.resume("calc", cluster=where)
    assert df._pset_seq.tolist() == df.a.tolist() == list(range(150))
    (run_id,) = set(df._run_id)
    assert df._pset_id.tolist() == [pset_id(run_id, seq) for seq in range(150)]
    assert sorted(calls(study_folder)) == sorted(set(range(150)) - set(before._pset_seq))
    again = df.set_index("_pset_id").loc[before._pset_id]
    assert (again.x.to_numpy() == before.x.to_numpy()).all()
    assert runs.read_info(Layout("calc"), run_id)["ended"] == "done"
    assert ps.df_read("calc/database.pk").equals(df)


def test_resume_twice_is_harmless_and_says_what_it_does(study_folder, caplog):
    caplog.set_level("INFO")
    before = killed(study_folder, count=100)
    first = ps.resume("calc", cluster="sync")
    assert f"{len(before)} of 100 psets are done, {100 - len(before)} to run" in caplog.text
    assert "the func of its plan" in caplog.text
    ran = len(calls(study_folder))
    second = ps.resume("calc", cluster="sync")
    pd.testing.assert_frame_equal(first, second)
    assert len(calls(study_folder)) == ran
    assert "nothing to resume in 'calc'" in caplog.text


def test_resume_in_the_shell_from_any_folder(study_folder):
    killed(study_folder, count=60)
    command = [str(Path(sys.executable).parent / "psweep-dask"), "resume", "--cluster", "sync"]
    subprocess.run([*command, str(study_folder / "calc")], check=True, cwd="/")
    assert ps.load("calc")._pset_seq.tolist() == list(range(60))


def test_resume_of_a_stopped_run(study_folder):
    with start(study_folder, count=100) as driver:
        wait_for_journal(study_folder)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait() == 0
    assert len(ps.df_read("calc/database.pk")) < 100
    assert ps.resume("calc", cluster="sync")._pset_seq.tolist() == list(range(100))
    assert sorted(calls(study_folder)) == list(range(100))


def test_resume_takes_another_func_and_keeps_it(study_folder):
    before = killed(study_folder, count=100)

    def mended(pset):
        if pset["a"] == 90:
            raise KeyboardInterrupt if not Path("stopped").exists() else ValueError
        return {"y": "mended"}

    df = ps.resume("calc", mended, cluster="sync")
    assert (df.y == "mended").sum() == 99 - len(before)
    assert df._status.value_counts().to_dict() == {"ok": 99, "error": 1}
    row = df[df.y == "mended"].iloc[0]
    assert ps.reproduce("calc", row._pset_id) == {"y": "mended"}


def test_resume_asks_for_func_if_it_cannot_be_loaded_any_more(study_folder):
    script = "import lab_model\n" + SCRIPT.replace("func,", "lab_model.slow,")
    (study_folder / "lab_model.py").write_text(
        "import time\ndef slow(pset):\n    time.sleep(0.02)\n    return {'y': 1}\n"
    )
    with start(study_folder, count=100, script=script) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    (study_folder / "lab_model.py").unlink()
    with pytest.raises(ps.PsweepError, match=r"No module named 'lab_model'.*pass it as func="):
        ps.resume("calc", cluster="sync")
    assert len(ps.resume("calc", double, cluster="sync")) == 100


def test_resume_leaves_a_run_alone_whose_driver_lives(study_folder, caplog):
    caplog.set_level("INFO")
    with start(study_folder) as driver:
        wait_for_journal(study_folder)
        (run,) = runs.stored_runs(Layout("calc"))
        ps.resume("calc", cluster="sync")
        assert f"run {run.run_id} is left alone: its driver lives" in caplog.text
        with pytest.raises(ps.PsweepError, match=r"driver of run .* lives"):
            ps.resume("calc", cluster="sync", run_id=run.run_id[:8])
        driver.kill()


def test_resume_finishes_several_dead_runs_one_after_the_other(study_folder):
    killed(study_folder, count=60)
    df = ps.run(double, ps.plist("a", [1, 2]), cluster="sync")
    with start(study_folder, count=60) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    df = ps.resume("calc", cluster="sync")
    assert df._pset_seq.tolist() == list(range(122))
    assert df._run_seq.tolist() == [0] * 60 + [1] * 2 + [2] * 60


def test_stop_of_one_of_several_resumed_runs_stops_the_rest(study_folder):
    for _ in range(2):
        killed(study_folder, count=60)
        ps.run(double, [{"a": 1}], cluster="sync")  # merges the journal
    script = SCRIPT.replace('df = ps.run(func, ps.plist("a", range(COUNT)), OPTIONS)', "OPTIONS")
    options = "df = ps.resume('calc', cluster='sync')"
    with start(study_folder, script=script, options=options) as driver:
        wait_for_journal(study_folder, size=100)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait() == 0
    first, second = [run.info["ended"] for run in runs.stored_runs(Layout("calc"))][::2]
    assert (first, second) == ("stopped", "died")


def test_tmpsave_rows_of_dropped_slices_are_merged(study_folder):
    script = SCRIPT.replace("time.sleep(NAP)", "time.sleep(600 if pset['a'] % 10 == 9 else 0)")
    with start(
        study_folder, count=40, script=script, options="cluster='local', tmpsave=True"
    ) as driver:
        wait_until(lambda: len(list(study_folder.glob("calc/tmpsave/*/*.pk"))) >= 2)
        time.sleep(1.5)
        driver.send_signal(signal.SIGINT)
        time.sleep(1)
        driver.send_signal(signal.SIGINT)
        assert driver.wait(60) == 0
    saved = {path.stem for path in study_folder.glob("calc/tmpsave/*/*.pk")}
    assert saved == set(ps.df_read("calc/database.pk")._pset_id)


def test_resume_takes_func_for_one_run_only(study_folder):
    killed(study_folder, count=60)
    ps.run(double, [{"a": 1}], cluster="sync")  # merges the journal
    with start(study_folder, count=60) as driver:
        wait_for_journal(study_folder)
        driver.kill()
    with pytest.raises(ps.PsweepError, match="choose by run_id= of"):
        ps.resume("calc", double)


@pytest.mark.parametrize("run_id", ["nothing", ""])
def test_resume_names_the_runs_if_no_run_has_the_id(study_folder, run_id):
    killed(study_folder, count=60)
    known = runs.stored_runs(Layout("calc"))[0].run_id
    if run_id:
        with pytest.raises(ps.PsweepError, match=f"no run has the number 'nothing'.*{known[:8]}"):
            ps.resume("calc", run_id=run_id)
    else:
        assert len(ps.resume("calc", run_id=run_id, cluster="sync")) == 60


def test_resume_in_a_script_without_a_main_guard(study_folder):
    killed(study_folder, count=60)
    script = "import psweep_dask as ps\nprint(len(ps.resume('calc', cluster='local')))\n"
    with start(study_folder, script=script) as driver:
        printed, told = driver.communicate(timeout=60)
    assert (driver.returncode, printed) == (0, "60\n"), told
