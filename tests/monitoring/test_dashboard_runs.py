from __future__ import annotations

import pytest

from psweep_dask.monitoring import dashboard_runs
from psweep_dask.monitoring.dashboard_runs import MOST, RegisteredRun, Snapshot, show


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch):
    monkeypatch.setattr(dashboard_runs, "_watched", {})


def a_run(name, done=0):
    return RegisteredRun(
        name, "calc", "func", "2026-01-01T00:00:00+00:00", Snapshot({"done": done}, [])
    )


def test_the_newest_come_first_and_old_ones_go():
    for number in range(MOST + 5):
        show(a_run(str(number)))
    shown = [one.run_id for one in dashboard_runs.registered()]
    assert shown == [str(number) for number in range(MOST + 4, 4, -1)]


def test_what_is_told_later_takes_the_place_of_what_was_told_before():
    show(a_run("a"))
    show(a_run("b"))
    show(a_run("a", done=3))
    assert [(one.run_id, one.as_dict()["done"]) for one in dashboard_runs.registered()] == [
        ("b", 0),
        ("a", 3),
    ]
