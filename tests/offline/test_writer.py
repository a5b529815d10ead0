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
