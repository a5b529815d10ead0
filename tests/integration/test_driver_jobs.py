"""The driver itself as a job, and the doctor, on a real SLURM."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.driver_process import wait_until
from helpers.slurm_lab import ask, begun, jobs, rows, write_machine

PSWEEP = [str(Path(sys.executable).with_name("psweep-dask"))]

SCRIPT = """
import time
import psweep_dask as ps

def func(pset):
    with open("begun", "a") as log:
        log.write(f"{pset['_pset_seq']}\\n")
    time.sleep(0.5)
    return {"y": 2 * pset["a"]}

if __name__ == "__main__":
    ps.run(func, ps.plist("a", range(2)))
    print("first run done", flush=True)
    df = ps.run(func, ps.plist("a", range(10, 40)))
    print("all done", len(df), flush=True)
"""


def submit(folder, *options):
    (folder / "study.py").write_text(SCRIPT)
    done = subprocess.run(
        [*PSWEEP, "submit", "--cluster=lab", *options, "study.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[-1]


def driver_jobs():
    return jobs("driver-study")


def logs(folder):
    return "".join(path.read_text() for path in sorted(folder.glob("driver-study-*.log")))


@pytest.mark.slow
def test_driver_job_near_its_walltime_is_followed_by_a_job_that_goes_on(study_folder):
    write_machine(study_folder, jobs=2)
    # SLURM would warn 250 s before the end of 5 minutes: here the same signal comes at once
    first = submit(study_folder, "--lead=250")
    wait_until(lambda: len(begun(study_folder)) >= 6)
    ask("scancel", "--batch", "--signal=TERM", first, check=False)  # if SLURM was not quicker
    wait_until(lambda: "all done 32" in logs(study_folder))
    wait_until(lambda: not jobs())
    assert "the script goes on in job" in logs(study_folder)
    assert sorted(begun(study_folder)) == list(range(32)), "none again, none left out"
    df = rows(study_folder)
    assert df._run_id.nunique() == 2
    assert (df._status == "ok").all()


def test_driver_job_that_is_cancelled_has_no_follower(study_folder):
    write_machine(study_folder, jobs=1)
    first = submit(study_folder)
    wait_until(lambda: begun(study_folder))
    assert len(driver_jobs()) == 2, "the follower waits already"
    ask("scancel", first)
    wait_until(lambda: not jobs())


def test_doctor_looks_at_a_real_job_and_says_what_it_finds(study_folder):
    write_machine(study_folder, jobs=3)
    write_machine(study_folder, "bad", job_script_prologue=["echo no such module >&2; exit 3"])
    good, bad = (
        subprocess.Popen(
            [*PSWEEP, "doctor", name],
            cwd=study_folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("lab", "bad")
    )
    out, err = good.communicate(timeout=100)
    assert good.returncode == 0, out + err
    assert "see each other's" in out
    assert "!!" not in out
    out, err = bad.communicate(timeout=100)
    assert bad.returncode == 1
    assert "no such module" in out
    assert "FAILED" in out
    assert [path.name for path in Path().glob(".psweep*")] == [], "nothing is left in the folder"
