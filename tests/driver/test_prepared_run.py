"""What is checked and written before a run starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.funcs import double, fail_odd

import psweep_dask as ps
from psweep_dask.driver.prepared_run import PreparedRun
from psweep_dask.options import OptionError, Options
from psweep_dask.params.pset import PsetError
from psweep_dask.worker.func import FuncError

PARAMS = ps.plist("a", [1, 2, 3])


def test_run_json_and_journal_are_there_before_anything_runs(study_folder):
    prepared = PreparedRun(double, PARAMS, Options(cluster="sync"), info={"chain": "c"})
    (run_dir,) = (study_folder / "calc" / "runs").iterdir()
    assert run_dir.name == prepared.run.plan.run_id
    info = json.loads((run_dir / "run.json").read_text())
    assert (info["func"], info["psets"], info["ended"]) == ("double", 3, None)
    assert info["cluster"]["kind"] == "sync"
    assert "return {" in info["source"]
    assert info["chain"] == "c"
    assert (run_dir / "journal").exists()
    assert prepared.go().y.tolist() == [2, 4, 6]


@pytest.mark.parametrize(
    ("func", "params", "error"), [(5, PARAMS, FuncError), (double, [{"a": object()}], PsetError)]
)
def test_bad_input_leaves_nothing_on_disk(func, params, error, study_folder):
    with pytest.raises(error):
        PreparedRun(func, params, Options(cluster="sync"))
    assert list(study_folder.iterdir()) == []


def test_work_has_what_workers_need_to_know():
    options = Options(
        cluster="sync",
        tmpsave=True,
        capture_logs="db",
        on_error=3,
        retries=2,
        timeout=5.0,
        resources={"GPU": 1},
    )
    work = PreparedRun(double, PARAMS, options).execution._work
    assert work.load_func()({"a": 2}) == {"y": 4}
    assert (work.calc_dir, work.cwd) == ("calc", str(Path.cwd()))
    assert (work.tmpsave, work.capture_logs, work.stop_after) == (True, "db", 3)
    assert (work.retries, work.timeout, work.resources) == (2, 5.0, {"GPU": 1})


def test_attempts_of_earlier_runs_are_counted_on():
    prepared = PreparedRun(fail_odd, PARAMS, Options(cluster="sync"), attempts=[4, 1, 1])
    assert prepared.go()._attempt.tolist() == [5, 2, 2]


def test_skip_dups_of_all_psets_starts_no_run(study_folder, caplog):
    caplog.set_level("INFO")
    df = ps.run(double, PARAMS, cluster="sync")
    prepared = PreparedRun(double, PARAMS, Options(cluster="sync", skip_dups=True))
    assert prepared.go().equals(df)
    assert "3 of 3 psets left out: the database has them" in caplog.text
    assert "nothing to run" in caplog.text
    assert len(list(study_folder.glob("calc/runs/*"))) == 1


def test_simulate_runs_here_whatever_the_cluster_is():
    prepared = PreparedRun(double, PARAMS, Options(cluster="local", simulate=True))
    assert prepared.run.info["cluster"]["kind"] == "sync"


def test_git_without_save_is_an_error():
    with pytest.raises(OptionError, match="save=True"):
        PreparedRun(double, PARAMS, Options(cluster="sync", git=True, save=False))
