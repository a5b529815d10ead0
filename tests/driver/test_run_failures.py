"""What failures of psets cost, and how the options of failures work."""

from __future__ import annotations

import json
import os
import time

import pytest
from helpers.funcs import double, fail_odd

import psweep_dask as ps


def test_failed_pset_is_a_row_and_stands_in_the_summary(where, caplog):
    df = ps.run(fail_odd, ps.plist("a", range(5)), cluster=where)
    assert df._status.tolist() == ["ok", "error", "ok", "error", "ok"]
    assert "ValueError: 3 is odd" in df._exc_txt.iloc[3]
    assert df.y.tolist()[::2] == [0, 2, 4]
    told = caplog.text
    assert "5 of 5 psets" in told
    assert "3 ok, 2 failed (2 ValueError)" in told
    assert "is odd" in told
    assert 'raise ValueError(f"' in told


def test_on_error_raise_stops_at_the_first_failure_with_the_traceback_of_func(where, study_folder):
    with pytest.raises(ps.PsetFailedError) as caught:
        ps.run(fail_odd, ps.plist("a", [0, 2, 4, 7, 8]), cluster=where, on_error="raise")
    assert "{'a': 7}" in str(caught.value)
    assert "in fail_odd" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    df = ps.df_read("calc/database.pk")
    assert df._status.tolist().count("error") == 1
    assert set(df.a) <= {0, 2, 4, 7, 8}
    (info,) = (study_folder / "calc" / "runs").glob("*/run.json")
    assert json.loads(info.read_text())["ended"] == "given up"


def test_on_error_number_stops_after_so_many_failures():
    with pytest.raises(ps.PsetFailedError, match="with 3 failed psets"):
        ps.run(fail_odd, ps.plist("a", range(100)), cluster="sync", on_error=3, save=False)


def test_on_error_raise_does_not_wait_for_long_psets_and_the_next_run_has_workers():
    def slow(pset):
        if pset["a"] == 0:
            time.sleep(0.5)
            raise ValueError("first")
        time.sleep(600)

    started = time.monotonic()
    with pytest.raises(ps.PsetFailedError):
        ps.run(slow, ps.plist("a", range(2)), on_error="raise", save=False)
    assert ps.run(double, ps.plist("a", range(4)), save=False).y.tolist() == [0, 2, 4, 6]
    assert time.monotonic() - started < 60


def test_worker_exit_does_not_hang_the_run_and_finished_rows_are_saved(study_folder):
    def deadly(pset):
        if pset["a"] == 7:
            time.sleep(1)
            os._exit(1)
        return {"y": pset["a"]}

    df = ps.run(deadly, ps.plist("a", range(8)))
    assert df._status.tolist() == ["ok"] * 7 + ["killed"]


def test_result_with_a_name_that_is_no_utf8_costs_its_own_pset_only(study_folder):
    """Such a name of a column could not be read again where pyarrow is installed."""

    def func(pset):
        return {os.fsdecode(b"Messung_\xe4.txt") if pset["a"] == 1 else "y": 1}

    df = ps.run(func, ps.plist("a", [0, 1, 2]), cluster="sync")
    assert df._status.tolist() == ["ok", "error", "ok"]
    assert "cannot be written as UTF-8" in df._exc_txt.iloc[1]
    assert ps.load("calc").y.dropna().tolist() == [1, 1]
