"""Jobs that were prepared offline, in a real SLURM: arrays, losses, and live runs beside them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import slurm_lab
from helpers.driver_process import wait_until
from helpers.offline_study import HOSTILE, folders, submit, write, write_study

import psweep_dask as ps

JOBSCRIPT = """#!/bin/bash
#SBATCH -J my_{{ _pset_seq }} --comment="two  words"
#SBATCH --output=out-%j-%x.txt --time=5

echo "$SLURM_SUBMIT_DIR"
echo to stderr >&2
BODY
"""


def study(body="./run.sh", name="cluster"):
    script = JOBSCRIPT.replace("BODY", body)
    run_sh = "#!/bin/sh\n[ {{ a }} != 3 ] || exit 3\necho {{ a }} >out.txt\n"
    write_study(run_sh=run_sh, name=name, subcmd="sbatch", jobscript=script)


def prepare(array, count=5):
    return ps.prep_batch(ps.plist("a", range(count)), template_mode="jinja", array=array)


def wait():
    wait_until(lambda: not slurm_lab.jobs())


@pytest.mark.parametrize("array", [False, True])
def test_array_and_single_jobs_leave_the_same(array, study_folder):
    study(name=HOSTILE)
    df = prepare(array)
    printed = submit(HOSTILE)
    assert printed.count("Submitted batch job") == (1 if array else 5)
    assert "nothing to submit" in submit(HOSTILE)
    wait()
    done = ps.collect()
    assert done._status.tolist() == ["ok", "ok", "ok", "error", "ok"]
    assert "ended with exit code 3" in done._exc_txt.iloc[3]
    for seq, folder in enumerate(folders(df)):
        assert (folder / "out.txt").exists() == (seq != 3)
        (log,) = folder.glob("out-*.txt")
        assert log.match(f"out-*-my_{seq}.txt")
        assert log.read_text() == f"{folder.absolute()}\nto stderr\n"
    ids = ",".join(re.findall(r"job (\d+)", printed))
    ended = slurm_lab.ask("squeue", "-h", "-r", "--states=all", f"--jobs={ids}", "-o", "%T|%k|%l")
    assert sorted(ended.splitlines()) == 4 * ["COMPLETED|two  words|5:00"] + [
        "FAILED|two  words|5:00"
    ]


def test_array_is_split_to_the_limit_of_the_site(study_folder, monkeypatch):
    study()
    replace("scontrol", "echo 'MaxArraySize            = 3'", study_folder / "bin", monkeypatch)
    df = prepare(array=True, count=8)
    assert submit("cluster").count("Submitted batch job") == 3
    wait()
    df = ps.collect()
    assert df._status.value_counts().to_dict() == {"ok": 7, "error": 1}
    (noted,) = Path("calc/runs").glob("*/array_cluster_0.submitted")
    parts = [line.split()[:2] for line in noted.read_text().splitlines()]
    assert parts == [["first=0", "count=3"], ["first=3", "count=3"], ["first=6", "count=2"]]


def replace(command, script, folder, monkeypatch):
    """Put another command in front of SLURM's: for what the lab's SLURM does not do on request."""
    write({command: f"#!/bin/sh\n{script}\n"}, folder)
    (folder / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("array", [False, True])
def test_collect_sees_jobs_that_run_end_and_are_lost(array, caplog):
    caplog.set_level("INFO", "psweep_dask")
    study(body="[ {{ a }} = 0 ] || sleep 100")
    prepare(array, count=6)
    submit("cluster")
    wait_until(lambda: "ok" in set(ps.collect()._status))
    wait_until(lambda: slurm_lab.states() == ["PENDING"] + ["RUNNING"] * 4)
    df = ps.collect()
    assert df._status.tolist() == ["ok"] + ["prepared"] * 5
    assert "5 psets left: 4 running, 1 pending" in caplog.messages[-1]

    # What still may come is not run twice.
    with pytest.raises(ps.PsweepError, match="left to its batch jobs, of which 5 wait, run, or"):
        ps.resume(func=lambda pset: {}, run_id=df._run_id.iloc[0], cluster="sync")
    assert ps.prep_rest(template_mode="jinja")._status.tolist() == df._status.tolist()

    slurm_lab.ask("scancel", "-Q", *slurm_lab.jobs())
    wait()
    wait_until(lambda: "prepared" not in set(ps.collect()._status))  # jobs are COMPLETING first
    df = ps.load()
    assert df._status.tolist() == ["ok"] + ["lost"] * 5
    assert "no file here says how: SLURM says that " in df._exc_txt.iloc[1]
    assert "CANCELLED" in df._exc_txt.iloc[1]

    # The lost ones once more, this time to their end.
    study()
    df = ps.prep_rest(template_mode="jinja", array=array)
    assert df._status.tolist() == ["ok"] + ["prepared"] * 5
    submit("cluster")
    wait()
    statuses = ps.collect()._status.tolist()
    assert statuses == ["ok", "ok", "ok", "error", "ok", "ok"]


@pytest.mark.parametrize("array", [False, True])
def test_array_elements_have_input_and_output_as_single_jobs(array, study_folder):
    script = (
        "#!/bin/sh\n#SBATCH -J 'my job' --outp=out-%x-%%j.txt\n#SBATCH --err err -i input.txt\n"
        "cat\necho oops >&2\n"
    )
    write_study(run_sh="", name="cluster", subcmd="sbatch", jobscript=script)
    write({"templates/calc/input.txt": "pset $a\n"})
    df = ps.prep_batch(ps.plist("a", range(2)), array=array)
    submit("cluster")
    wait()
    assert ps.collect()._status.tolist() == ["ok", "ok"]
    for a, folder in enumerate(folders(df)):
        assert (folder / "out-my job-%j.txt").read_text() == f"pset {a}\n"
        assert (folder / "err").read_text() == "oops\n"


def test_array_name_is_one_word(study_folder):
    script = '#!/bin/sh\n#SBATCH -J "x --partition=long"\nsleep 5\n'
    write_study(run_sh="", name="cluster", subcmd="sbatch", jobscript=script)
    ps.prep_batch(ps.plist("a", range(2)), array=True)
    submit("cluster")
    assert slurm_lab.ask("squeue", "-h", "-r", "-o", "%P|%j").splitlines() == 2 * [
        "debug|x --partition=long"
    ]
    wait()


def test_collect_believes_slurm_where_job_scripts_write_no_end(study_folder):
    bodies = ["exec ./run.sh", "trap 'echo mine' EXIT\n./run.sh", "./run.sh"]
    script = f"#!/bin/sh\n#SBATCH --time=5\n{{{{ {bodies!r}[a % 3] }}}}\n"
    run_sh = "#!/bin/sh\necho '{\"y\": {{ a }}}' >result.json\nexit {{ a // 3 }}\n"
    write_study(run_sh=run_sh, name="cluster", subcmd="sbatch", jobscript=script)
    ps.prep_batch(ps.plist("a", range(6)), template_mode="jinja")
    submit("cluster")
    wait_until(lambda: "prepared" not in set(ps.collect()._status))
    df = ps.load()
    assert df._status.tolist() == ["ok"] * 3 + ["error"] * 3
    assert df.y.tolist() == list(range(6))
    assert "SLURM says that " in df._exc_txt.iloc[3]


def test_collect_takes_jobs_with_chdir_and_job_scripts_in_python(study_folder):
    write_study(
        run_sh="",
        name="cluster",
        subcmd="sbatch",
        jobscript="#!/bin/sh\n#SBATCH --chdir=/tmp\nexit $a\n",
    )
    ps.prep_batch(ps.plist("a", [0, 2]))
    submit("cluster")
    wait()
    assert ps.collect()._status.tolist() == ["ok", "error"]
    python = f"#!{sys.executable}\nraise SystemExit($a)\n"
    write_study(run_sh="", name="cluster", subcmd="sbatch", jobscript=python)
    ps.prep_batch(ps.plist("a", [0, 2]))
    submit("cluster")
    wait_until(lambda: "prepared" not in set(ps.collect()._status))
    assert ps.load()._status.tolist() == ["ok", "error"] * 2


def test_collect_loses_no_job_while_it_is_submitted_nor_by_another_slurm(study_folder):
    study(body="sleep 0.1")
    write({"templates/machines/cluster/info.yaml": "subcmd: sbatch --hold"})
    ps.prep_batch(ps.plist("a", range(100)), template_mode="jinja")
    seen = set()
    with subprocess.Popen(["sh", "calc/run_cluster.sh"], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            seen |= set(ps.collect()._status)
    assert seen == {"prepared"}
    for path in Path("calc").glob("*/submitted_cluster"):
        path.write_text("sbatch\nslurm=elsewhere\nSubmitted batch job 987654\n")
    assert set(ps.collect()._status) == {"prepared"}
    slurm_lab.ask("scancel", "-Q", *slurm_lab.jobs())


def test_slurm_that_does_not_answer_doubles_no_job(study_folder, monkeypatch, caplog):
    study(body="sleep 8")
    prepare(array=False, count=2)
    submit("cluster")
    with monkeypatch.context() as patched:
        for command in ("squeue", "scontrol"):
            replace(command, "exit 1", study_folder / "down", patched)
        assert set(ps.collect()._status) == {"prepared"}
        ps.prep_rest(template_mode="jinja")
        ps.resume(func=lambda pset: {"y": 1}, cluster="sync")
    assert "of which 2 wait, run, or may do so" in caplog.text
    assert "nothing to submit" in submit("cluster")
    wait()
    assert ps.collect()._status.tolist() == ["ok", "ok"]


def test_memory_of_a_job_exceeded_is_lost_and_a_crash_of_func_is_killed(study_folder):
    def func(pset):
        if pset["a"] == 0:
            hoard = b"x" * 700 * 2**20
            time.sleep(30)  # SLURM looks at the memory once a second
            return {"y": len(hoard)}
        if pset["a"] == 1:
            os.abort()
        return {"y": 1}

    script = f"#!/bin/sh\n#SBATCH --mem=300M\n{sys.executable} -m psweep_dask.offline.job\n"
    write_study(run_sh="", name="cluster", subcmd="sbatch", jobscript=script)
    ps.prep_batch(ps.plist("a", range(3)), func=func)
    submit("cluster")
    wait()
    df = ps.collect()
    assert df._status.tolist() == ["lost", "killed", "ok"]
    assert "signal 6 (SIGABRT)" in df._exc_txt.iloc[1]


def test_resume_live_finishes_what_jobs_left(study_folder):
    def func(pset):
        return {"y": 2 * pset["a"]}

    script = f"#!/bin/sh\n#SBATCH --time=5\n{sys.executable} -m psweep_dask.offline.job\n"
    slurm_lab.write_machine(study_folder, "cluster")
    machine_dir = study_folder / "templates" / "machines" / "cluster"
    info = json.loads((machine_dir / "info.yaml").read_text())
    write({"info.yaml": json.dumps(info | {"subcmd": "sbatch"}), "jobscript": script}, machine_dir)
    df = ps.prep_batch(ps.plist("a", range(4)), func=func)
    for folder in folders(df)[:2]:
        subprocess.run(["sbatch", "jobscript_cluster"], cwd=folder, check=True, capture_output=True)
    wait()
    done = ps.resume(cluster="cluster")
    assert done._status.tolist() == ["ok"] * 4
    assert done.y.tolist() == [0, 2, 4, 6]
    assert done._pset_id.tolist() == df._pset_id.tolist()
    submit("cluster")  # too late: what is done stays as it is
    wait()
    assert ps.collect().equals(done)


def test_collect_waits_for_a_running_job_in_spite_of_an_earlier_failure(study_folder):
    study(body="sleep 4")
    df = prepare(array=False, count=1)
    (folder,) = folders(df)
    submit("cluster")
    (folder / "ended").write_text("exit_code=1 begun=1 ended=2 host=laptop\n")
    assert ps.collect()._status.tolist() == ["prepared"]
    wait()
    df = ps.collect()
    assert df._status.tolist() == ["ok"]
    assert df._exec_host.tolist() != ["laptop"]
