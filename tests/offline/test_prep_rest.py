from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from helpers.offline_study import (
    folders,
    machine,
    submit,
    write,
    write_func_machine,
    write_study,
)

import psweep_dask as ps


def summary(caplog):
    with caplog.at_level("INFO", "psweep_dask"):
        ps.collect()
    return caplog.messages[-1]


def test_prep_rest_has_the_psets_that_a_live_run_missed(study_folder):
    write_func_machine()

    def func(pset):
        if pset["a"] == 1 and not Path("twice").exists():
            Path("twice").touch()
            os.kill(os.getpid(), signal.SIGINT)
        return {"x": ps.rng(pset).random()}

    stopped = ps.run(func, ps.plist("a", [1, 2, 3]), cluster="sync")
    assert len(stopped) == 1
    df = ps.prep_rest()
    assert df._status.tolist() == ["ok", "prepared", "prepared"]
    submit()
    done = ps.collect()
    assert done._status.tolist() == ["ok"] * 3
    assert done._run_id.nunique() == 1
    assert done._pset_seq.tolist() == [0, 1, 2]
    assert [ps.rng({"_pset_id": pset_id}).random() for pset_id in done._pset_id] == done.x.tolist()
    assert ps.resume(cluster="sync").equals(done)


def test_prep_rest_leaves_out_jobs_that_may_still_run_until_over(caplog):
    write_study()
    df = ps.prep_batch(ps.plist("a", [1, 2]))
    submitted = {"submitted_far": "qsub\nslurm=\n7.server\n", "jobscript_far": ""}
    write(submitted, folders(df)[0])
    before = Path("calc/run_local.sh").read_text()
    assert "1 submitted, 1 not known to be submitted" in summary(caplog)
    live = ps.resume(func=lambda pset: {}, cluster="sync")
    assert live._status.tolist() == ["prepared", "prepared"]
    assert "is left to its batch jobs, of which 1 wait, run, or may do so" in caplog.text
    ps.prep_rest()
    after = Path("calc/run_local.sh").read_text()
    assert after.count("\nsubmit ") == 1
    assert before != after
    known = ps.collect(over=True)
    assert known._status.tolist() == ["lost", "prepared"]
    assert "no file here says how: the user says that no job is pending" in known._exc_txt.iloc[0]
    assert ps.prep_rest()._status.tolist() == ["prepared", "prepared"]
    submit()
    assert ps.collect()._status.tolist() == ["ok", "ok"]


def test_prep_rest_has_all_jobs_that_prep_batch_left_out(caplog):
    write_study()
    ps.prep_batch(ps.plist("a", [1, 2]))
    assert "left" not in caplog.text
    ps.prep_batch(ps.plist("a", [3, 4]))
    assert "2 jobs of earlier calls are not known to be submitted" in caplog.text
    ps.prep_rest()
    lines = Path("calc/run_local.sh").read_text().splitlines()
    assert [line[-22:] for line in lines if line.startswith("submit ")] == [
        f"# run_seq={run} pset_seq={seq}" for run, seq in [(0, 0), (0, 1), (1, 2), (1, 3)]
    ]
    submit()
    assert ps.collect()._status.tolist() == ["ok"] * 4


def test_prep_rest_checks_all_runs_before_it_writes_one():
    write_study(run_sh="$a", jobscript="#!/bin/sh\nexit 143\n")
    first = folders(ps.prep_batch([{"a": 1}]))[0]
    write({"templates/calc/run.sh": "$b"})
    ps.prep_batch([{"b": 1}])
    submit()
    ps.collect()
    write({"templates/calc/run.sh": "new $a"})
    with pytest.raises(ps.PsweepError, match=r"the placeholder \$a has no value"):
        ps.prep_rest()
    assert (first / "run.sh").read_text() == "1"


def test_prep_rest_keeps_rows_deleted_and_forgets_old_results():
    write_study(run_sh="#!/bin/sh\necho '{\"y\": 1}' >result.json\nexit 143\n")
    ps.prep_batch(ps.plist("a", [0, 1, 2]))
    submit()
    df = ps.collect()
    assert df._status.tolist() == ["lost"] * 3
    ps.df_write(df[df.a != 1], "calc/database.pk")
    assert ps.prep_rest().a.tolist() == [0, 2]
    assert ps.collect()._status.tolist() == ["prepared"] * 2
    live = ps.resume(func=lambda pset: {"y": 7}, cluster="sync")
    assert live.a.tolist() == [0, 2]


def test_prep_rest_prepares_lost_jobs_with_corrected_scripts():
    write_study(jobscript="#!/bin/sh\nexit 143\n")
    df = ps.prep_batch(ps.plist("a", [1, 2]))
    submit()
    assert ps.collect()._status.tolist() == ["lost", "lost"]
    write(machine())
    again = ps.prep_rest()
    assert again._status.tolist() == ["prepared", "prepared"]
    assert again._exc_txt.isna().all()
    assert again._pset_id.tolist() == df._pset_id.tolist()
    submit()
    assert ps.collect()._status.tolist() == ["ok", "ok"]
    assert len(ps.prep_rest()) == 2
    assert "prepared" not in ps.load()._status.tolist()


def test_prep_rest_uses_the_template_mode_of_the_run_and_counts_jobs_under_way(caplog):
    caplog.set_level("INFO", "psweep_dask")
    write_study(run_sh="#!/bin/sh\necho {{ a }} $HOME >out.txt\n")
    df = ps.prep_batch(ps.plist("a", [1, 2]), template_mode="jinja")
    ps.prep_rest()
    text = (folders(df)[1] / "run.sh").read_text()
    assert "echo 2 $HOME" in text
    write({"submitted_local": "qsub\nslurm=\n7.server\n"}, folders(df)[0])
    write({"submitted_local": "qsub\nslurm=\n8.server\n"}, folders(df)[1])
    ps.prep_rest()
    assert "nothing to prepare in 'calc': 2 psets left to jobs under way" in caplog.messages
