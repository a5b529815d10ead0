"""Preparations that are killed or stopped; what they write otherwise: test_prep_batch.py."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.driver_process import wait_until
from helpers.offline_study import write_study

import psweep_dask as ps
from psweep_dask.offline.writer import JobWriteError

PREPARE = """
import psweep_dask as ps
ps.prep_batch(ps.plist("a", range(4000)))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_preparation_that_is_killed_or_stopped_goes_on_by_prep_rest(number, study_folder):
    write_study()
    process = subprocess.Popen([sys.executable, "-c", PREPARE], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(list(Path("calc").glob("*-*"))) > 150)
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    there = ps.load()
    assert 50 < len(there) < 4_000
    if number == signal.SIGINT:
        assert process.returncode == 0
        assert f"prepares the {4_000 - len(there)} left" in printed
    df = ps.prep_rest()
    assert df._status.value_counts().to_dict() == {"prepared": 4_000}
    assert df._pset_seq.tolist() == list(range(4_000))
    lines = Path("calc/run_local.sh").read_text().splitlines()
    assert sum(line.startswith("submit ") for line in lines) == 4_000


def test_file_that_cannot_be_written_is_an_error_and_the_rows_are_kept():
    write_study()
    Path("calc/run_local.sh").mkdir(parents=True)
    with pytest.raises(JobWriteError, match="cannot write .*run_local.sh': Is a directory; corr"):
        ps.prep_batch(ps.plist("a", range(3)))
    assert ps.load()._status.tolist() == ["prepared"] * 3
    Path("calc/run_local.sh").rmdir()
    assert ps.prep_rest()._status.tolist() == ["prepared"] * 3
    lines = Path("calc/run_local.sh").read_text().splitlines()
    assert sum(line.startswith("submit ") for line in lines) == 3
