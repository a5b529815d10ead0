"""Offline, as a newcomer does it from the manual: this test can be read as one.

Here, on a laptop, jobs are prepared; on a cluster, which ssh calls labhost and which has another
home folder, they run in SLURM; and what they leave comes back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import slurm_lab
from helpers.driver_process import wait_until
from helpers.offline_study import write_study

import psweep_dask as ps

EXAMPLE = Path(__file__).parents[2] / "examples" / "batch"


@pytest.fixture
def shell(home, remote_home):
    """A terminal on the laptop, in which psweep_dask is installed."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(command, folder="mystudy"):
        done = subprocess.run(
            command,
            shell=True,
            cwd=home / folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run


def change(path, *changes):
    """Edit a file, as one does in an editor."""
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_offline_study_from_an_empty_folder_to_results_and_beyond(shell, home, remote_home):
    # A new study: a script that runs, one that evaluates, and machines to fill in.
    shell("psweep-dask init mystudy", folder=".")
    study = home / "mystudy"
    cluster = study / "templates" / "machines" / "cluster"

    # Describe the cluster: how ssh calls it, and which Python its jobs use.
    change(cluster / "info.yaml", ("host: cluster", "host: labhost"))
    change(cluster / "jobscript", ("python3 -m", f"{sys.executable} -m"))

    # Prepare. Nothing runs yet: each pset has a folder with its job, and a row that says so.
    printed = shell("python 10run.py --offline")
    assert printed.count(" prepared ") == 6
    assert "to submit the jobs: sh calc/run_cluster.sh or sh calc/run_local.sh" in printed

    # Copy all that to the cluster, and submit the jobs there.
    printed = shell("psweep-push cluster --submit")
    assert printed.count("Submitted batch job ") == 6
    assert (remote_home / "mystudy" / "calc" / "run_cluster.sh").exists()

    # When SLURM is through, bring back what the jobs have left, and evaluate.
    wait_until(lambda: not slurm_lab.jobs())
    shell("psweep-pull cluster")
    printed = shell("psweep-dask collect")
    assert "collected 6 psets: 6 ok" in printed
    table = [line.split() for line in shell("python 20eval.py").splitlines()]
    assert table[:4] == [["a", "result"], ["1", "15.0"], ["2", "30.0"], ["3", "45.0"]]
    first = ps.df_read(study / "calc" / "database.pk")
    assert first._status.tolist() == ["ok"] * 6

    # Extend the study: more values, the same steps. Only what is new is prepared and submitted.
    change(study / "10run.py", ("[1, 2, 3]", "[1, 2, 3, 4]"))
    assert shell("python 10run.py --offline").count(" prepared ") == 2
    assert shell("psweep-push cluster --submit").count("Submitted batch job ") == 2
    wait_until(lambda: not slurm_lab.jobs())
    shell("psweep-pull cluster")
    assert ["4", "60.0"] in [line.split() for line in shell("python 20eval.py").splitlines()]

    # The database has all of it, in order, as if it had run here in one go.
    df = ps.df_read(study / "calc" / "database.pk")
    assert df._pset_seq.tolist() == list(range(8))
    assert df._run_seq.tolist() == [0] * 6 + [1] * 2
    assert df._pset_id.tolist()[:6] == first._pset_id.tolist()
    assert (df.result == df.a * df.b).all()
    assert {len(list((study / "calc" / pset_id).glob("record.pk"))) for pset_id in df._pset_id} == {
        1
    }

    # The same script runs live, and finds that there is nothing left to do.
    assert "nothing to run" in shell("python 10run.py")


def test_ask_reads_the_state_of_jobs_from_here(shell, home, remote_home):
    shell("psweep-dask init mystudy", folder=".")
    study = home / "mystudy"
    cluster = study / "templates" / "machines" / "cluster"
    change(cluster / "info.yaml", ("host: cluster", "host: labhost"))
    change(cluster / "jobscript", ("python3 -m", f"sleep 60; {sys.executable} -m"))
    shell("python 10run.py --offline")
    shell("psweep-push cluster --submit")
    wait_until(lambda: slurm_lab.states().count("RUNNING") == 4)
    printed = shell("psweep-dask collect --ask cluster")
    assert "6 psets left: 4 running, 2 pending" in printed
    slurm_lab.ask("scancel", "-Q", *slurm_lab.jobs())
    wait_until(lambda: "6 psets left: 6 lost" in shell("psweep-dask collect --ask cluster"))

    # Mend the job script, write what was lost once more, and submit that.
    change(cluster / "jobscript", ("sleep 60; ", ""))
    assert "6 of 6 psets" in shell("psweep-dask prep-rest")
    assert shell("psweep-push cluster --submit").count("Submitted batch job ") == 6
    wait_until(lambda: not slurm_lab.jobs())
    assert "collected 6 psets: 6 ok" in shell("psweep-dask collect --ask cluster")


def templates(study, run_sh):
    """Make templates of a study, for the cluster alone."""
    script = study / "templates" / "calc" / "run.sh"
    script.parent.mkdir(parents=True)
    script.write_text(run_sh)
    cluster = study / "templates" / "machines" / "cluster"
    change(cluster / "info.yaml", ("host: cluster", "host: labhost"))
    (cluster / "jobscript").write_text("#!/bin/sh\n#SBATCH --time=5\nsh run.sh\n")
    return cluster


def test_ask_pulls_the_files_of_jobs_before_it_decides(shell, home):
    shell("psweep-dask init mystudy", folder=".")
    study = home / "mystudy"
    run_sh = "echo '{\"y\": $a}' >result.json\necho some words >&2\n[ $a = 1 ] || exit 3\n"
    templates(study, run_sh)
    shell("python -c 'import psweep_dask as ps; ps.prep_batch(ps.plist(\"a\", [1, 2]))'")
    shell("psweep-push cluster --submit")
    shell("psweep-pull cluster")
    wait_until(lambda: not slurm_lab.jobs())
    assert "1 ok, 1 error" in shell("psweep-dask collect --ask cluster")
    df = ps.load(study / "calc")
    assert df.y.tolist() == [1, 2]
    assert "exit code 3" in df._exc_txt.iloc[1]
    assert "some words" in df._exc_txt.iloc[1]
    assert df._exec_host.notna().all()


def test_ask_returns_rows_that_came_from_the_other_machine(home, remote_home, monkeypatch):
    for folder in (home, remote_home):
        (folder / "mystudy").mkdir()
    monkeypatch.chdir(home / "mystudy")
    write_study(name="labhost")
    ps.prep_batch([{"a": 1}])
    ps.push("labhost")
    with monkeypatch.context() as patched:
        patched.chdir(remote_home / "mystudy")
        ps.run(lambda pset: {"y": 70}, [{"a": 7}], cluster="sync")
    assert ps.collect(ask="labhost").a.tolist() == [1, 7]


def test_prep_rest_clears_the_files_of_an_earlier_job_on_the_other_machine(shell, home):
    shell("psweep-dask init mystudy", folder=".")
    study = home / "mystudy"
    cluster = templates(study, "echo '{\"y\": $a}' >result.json\n")
    shell("python -c 'import psweep_dask as ps; ps.prep_batch(ps.plist(\"a\", [1, 2]))'")
    shell("psweep-push cluster --submit")
    wait_until(lambda: not slurm_lab.jobs())
    assert "2 psets left: 2 lost" in shell("psweep-dask collect --over")
    (cluster / "jobscript").write_text("#!/bin/sh\n#SBATCH -p nowhere\nsh run.sh\n")
    shell("psweep-dask prep-rest")
    with pytest.raises(AssertionError, match="sbatch failed in"):
        shell("psweep-push cluster --submit")
    shell("psweep-pull cluster")
    assert "2 not known to be submitted" in shell("psweep-dask collect")


def test_example_batch_works_on_a_cluster(shell, home):
    study = shutil.copytree(EXAMPLE, home / "mystudy")
    cluster = study / "templates" / "machines" / "cluster"
    change(cluster / "info.yaml", ("host: cluster", "host: labhost"))
    change(cluster / "jobscript", ("python3 run.py", f"{sys.executable} run.py"))
    for step, count in (("10input.py", 6), ("20input.py", 2)):
        shell("git config --global user.name Someone; git config --global user.email s@example.org")
        shell(f"python {step}")
        assert shell("psweep-push cluster --submit").count("Submitted batch job ") == count
        wait_until(lambda: not slurm_lab.jobs())
        shell("psweep-pull cluster")
    shell("python 30eval.py")
    df = ps.df_read(study / "calc" / "database_eval.pk")
    assert df._status.tolist() == ["ok"] * 8
    assert df["mean"].tolist() == pytest.approx((df.param_a * df.param_b).tolist(), abs=0.2)
    for pset_id, seq in zip(df._pset_id, df._pset_seq, strict=True):
        assert (study / "calc" / pset_id / "job.out").read_text().startswith(f"pset {seq} on ")
