"""`ps.status` and the table that people see."""

from __future__ import annotations

import pytest

import psweep_dask as ps
from psweep_dask.monitoring.run_states import FailedPset, RunState
from psweep_dask.monitoring.status import StudyState, status_lines
from psweep_dask.study.runs import NoStudyError


def state_of(**changes):
    facts = {
        "run_id": "38baa5d1-0000-4000-8000-000000000000",
        "run_seq": 0,
        "func": "func",
        "begun": "2026-11-25T10:08:49.123456+00:00",
        "state": "running",
        "total": 1197,
        "counts": {"ok": 156, "error": 7},
        "rate": 36.1,
        "last_failures": [FailedPset(149, "error", "{'a': 50}", "ZeroDivisionError: no")],
    }
    return RunState(**facts | changes)


TABLE = """
run       begun                func    state            done    failed          rate    left
--------  -------------------  ------  -------  ------------  --------  ------------  ------
38baa5d1  2026-11-25 10:08:49  func    running  163 of 1,197         7  36.1 psets/s    29 s

last failures of run 38baa5d1:
  pset 149, {'a': 50}: error: ZeroDivisionError: no
"""


def test_status_lines_are_a_table_with_failures_below():
    assert "\n".join(status_lines([state_of()])) == TABLE.strip()


def test_status_lines_say_what_finishes_a_run_that_has_something_left():
    dead = state_of(state="dead", rate=0.0, last_failures=[], advice="ps.resume('calc')")
    lines = "\n".join(status_lines([dead])).splitlines()
    assert lines[-2:] == ["", "run 38baa5d1 has 1,034 psets left: ps.resume('calc')"]
    assert lines[2].endswith("7")  # neither rate nor time left is known
    finished = state_of(total=163, last_failures=[], advice="ps.resume('calc')")
    assert "ps.resume" not in "\n".join(status_lines([finished]))


def test_status_prints_as_the_command_shows_it():
    ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync")
    lines = repr(ps.status("calc")).splitlines()
    assert lines[0].split() == ["run", "begun", "func", "state", "done", "failed", "rate", "left"]
    assert "2 of 2" in lines[2]


def test_status_in_a_notebook_is_a_table_with_its_notes():
    html = StudyState([state_of(func="<b>")])._repr_html_()
    assert html.startswith("<table><tr><th>run</th>")
    assert "<td>&lt;b&gt;</td>" in html
    assert "<td>163 of 1,197</td>" in html
    assert "<div>last failures of run 38baa5d1:</div>" in html


def test_status_where_there_is_no_run_and_no_study():
    assert repr(StudyState([])).startswith("no run of psweep_dask yet")
    with pytest.raises(NoStudyError, match="there is no study in 'nowhere'"):
        ps.status("nowhere")
