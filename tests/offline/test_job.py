"""Jobs as a batch system starts them: processes of their own, which are really killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from helpers.driver_process import wait_until
from helpers.offline_study import folders, machine, write, write_func_machine

import psweep_dask as ps
from psweep_dask.storage import record
from psweep_dask.storage.layout import PsetFolder
from psweep_dask.worker.work import Work, WorkError


def prepare(func, params=({"a": 1},), **options):
    write_func_machine()
    return ps.prep_batch(list(params), func=func, progress=False, **options)


def job(folder, *arguments, module="psweep_dask.offline.job"):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def run(func, code=0, **options):
    """Prepare one pset and run its job; return the record and what the job has printed."""
    (folder,) = folders(prepare(func, **options))
    done = job(folder)
    assert done.returncode == code, done.stderr
    return record.read_record(PsetFolder(folder).record_path), done.stderr


def test_job_leaves_its_record_and_starts_where_the_study_is(study_folder):
    def func(pset):
        own = Path(pset["_calc_dir"], pset["_pset_id"])
        return {"y": pset["a"] + 1, "x": ps.rng(pset).random(), "found": own.is_dir()}

    recorded, printed = run(func)
    assert printed == ""
    assert (recorded["y"], recorded["found"], recorded["_status"]) == (2, True, "ok")
    assert recorded["x"] == ps.rng(recorded).random()
    assert recorded["_calc_dir"] == "calc"


def test_job_runs_by_its_old_name():
    (folder,) = folders(prepare(lambda pset: {"y": 2}))
    done = job(folder, module="psweep_dask.task")
    assert (done.returncode, done.stderr) == (0, "")
    assert record.read_record(folder / "record.pk")["y"] == 2


def test_job_paths_are_those_of_the_machine_where_it_runs(study_folder):
    calc_dir = study_folder / "abs" / "calc"
    df = prepare(lambda pset: {"cwd": os.getcwd(), "calc": pset["_calc_dir"]}, calc_dir=calc_dir)
    moved = (study_folder / "abs").rename(study_folder / "moved")
    folder = moved / "calc" / df._pset_id.iloc[0]
    assert job(folder).returncode == 0
    recorded = record.read_record(folder / "record.pk")
    assert (recorded["cwd"], recorded["calc"]) == (str(moved), str(moved / "calc"))


def test_job_error_is_a_record_with_the_traceback():
    recorded, printed = run(lambda pset: {"y": 1 / 0}, code=1)
    assert recorded["_status"] == "error"
    assert recorded["_exc_txt"].splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert printed.strip() == recorded["_exc_txt"].strip()


def test_job_crash_is_a_record_that_says_where_func_was():
    def func(pset):
        ctypes.string_at(0)

    recorded, _ = run(func, code=1)
    assert recorded["_status"] == "killed"
    assert "signal 11 (SIGSEGV)" in recorded["_exc_txt"]
    assert "in func" in recorded["_exc_txt"]


def test_timeout_ends_c_code_and_the_processes_of_func(study_folder):
    def func(pset):
        child = subprocess.Popen(["sleep", "1000"])
        Path("child").write_text(str(child.pid))
        sum(iter(int, 1))  # never ends, and never lets go of the GIL for long

    recorded, _ = run(func, code=1, timeout=0.5)
    assert recorded["_status"] == "timeout"
    assert 0.5 <= recorded["_pset_runtime"] < 10
    wait_until(lambda: not psutil.pid_exists(int(Path("child").read_text())))


def test_retries_count_attempts_of_all_kinds(study_folder):
    def func(pset):
        with open("tries", "a") as log:
            log.write("x")
        tries = os.path.getsize("tries")
        if tries == 1:
            raise ValueError
        if tries == 2:
            os._exit(0)
        if tries == 3:
            time.sleep(1000)
        return {}

    recorded, _ = run(func, retries=3, timeout=0.5)
    assert (recorded["_status"], recorded["_attempt"]) == ("ok", 4)


def test_capture_logs_works_as_in_live_runs():
    def func(pset):
        subprocess.run(["echo", "from a child"])
        return {}

    (folder,) = folders(prepare(func, capture_logs="db+file"))
    assert job(folder).returncode == 0
    assert record.read_record(folder / "record.pk")["_logs"] == "from a child\n"
    assert (folder / "logs.txt").read_text() == "from a child\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_job_asked_to_end_ends_func_and_leaves_no_record(study_folder, number):
    def func(pset):
        Path("begun").write_text(str(os.getpid()))
        time.sleep(1000)

    (folder,) = folders(prepare(func))
    process = subprocess.Popen(
        [sys.executable, "-m", "psweep_dask.offline.job"], cwd=folder, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: Path("begun").exists() and Path("begun").read_text())
    process.send_signal(number)
    assert process.wait(timeout=20) not in (0, 1)
    wait_until(lambda: not psutil.pid_exists(int(Path("begun").read_text())))
    assert not (folder / "record.pk").exists()


def test_job_that_runs_a_second_time_keeps_its_record(study_folder):
    def func(pset):
        with open("calls", "a") as log:
            log.write("x")
        return {}

    (folder,) = folders(prepare(func))
    assert job(folder).returncode == 0
    assert job(study_folder, str(folder)).returncode == 0
    assert Path("calls").read_text() == "x"
    torn = (folder / "record.pk").read_bytes()[:-1]
    (folder / "record.pk").write_bytes(torn)
    assert job(folder).returncode == 0
    assert Path("calls").read_text() == "xx"


def test_job_has_the_modules_beside_the_script(study_folder):
    write(
        {
            "model.py": "FACTOR = 3\ndef double(a):\n    return 2 * a * FACTOR\n"
            "def func(pset):\n    return {'y': double(pset['a'])}\n",
            "prep.py": "import psweep_dask as ps\nfrom model import func\n"
            "ps.prep_batch([{'a': 1}], func=func)\n",
            **machine(),
        }
    )
    subprocess.run([sys.executable, "prep.py"], check=True, capture_output=True)
    moved = study_folder / "elsewhere"
    moved.mkdir()
    (study_folder / "calc").rename(moved / "calc")
    (study_folder / "model.py").unlink()
    (folder,) = (path.parent for path in moved.glob("calc/*/pset.pk"))
    done = job(folder)
    assert done.returncode == 0, done.stderr
    assert record.read_record(folder / "record.pk")["y"] == 6


def test_job_in_a_wrong_folder_prints_one_line(study_folder):
    done = job(study_folder)
    assert done.returncode == 2
    assert done.stderr.startswith("psweep_dask: ")
    assert "pset.pk' is missing; start this in a folder that prep_batch" in done.stderr
    assert job(study_folder, "a", "b").stderr.startswith("usage: python -m psweep_dask.offline.job")


def test_job_with_func_of_another_python_prints_one_line():
    (folder,) = folders(prepare(lambda pset: {}))
    (path,) = Path("calc/runs").glob("*/work.pk")
    path.write_bytes(replace(Work.unpack(path.read_bytes()), python="3.99").pack())
    done = job(folder)
    assert done.returncode == 2
    assert done.stderr.startswith("psweep_dask: func was packed by Python 3.99, and this is ")


def test_job_with_another_python_is_an_error():
    Work("r", 0, "calc", b"").check_python()
    work = Work("r", 0, "calc", b"", python="3.99")
    with pytest.raises(WorkError, match=r"packed by Python 3\.99, and this is 3\.\d+:"):
        work.check_python()
