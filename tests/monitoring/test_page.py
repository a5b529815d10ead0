"""The page as one visitor sees it; in a browser it is tested in integration/test_page.py."""

from __future__ import annotations

import pytest
from bokeh.document import Document
from helpers.inprocess_cluster import InProcess

from psweep_dask.monitoring import dashboard_runs
from psweep_dask.monitoring.dashboard_runs import DashboardRun
from psweep_dask.monitoring.page import NO_FAILURE_SELECTED, NO_RUN_HTML, Page, fill_document
from psweep_dask.monitoring.stats import RunStats
from psweep_dask.worker.summary import summarize
from psweep_dask.worker.work import Failure, SliceResult


@pytest.fixture(scope="module")
def scheduler():
    with InProcess() as cluster:
        cluster.start("0")
        yield cluster.scheduler


@pytest.fixture(autouse=True)
def _no_other_runs(monkeypatch):
    monkeypatch.setattr(dashboard_runs, "_runs", {})


def add_run(run_id, func="func", total=10):
    stats = RunStats(total)
    dashboard_runs.add(DashboardRun(run_id, "calc", func, "2026-01-02T03:04:05+00:00", stats))
    return stats


def result_of(first, count, failures=()):
    rows = [
        {"a": seq, "_pset_seq": seq, "y": seq**2, "_pset_runtime": 0.1 * (seq + 1)}
        for seq in range(first, first + count)
    ]
    result = SliceResult(summary=summarize(rows))
    for seq, kind in enumerate(failures, first):
        result.count("error", Failure(kind, seq, f"{{'a': {seq}}}", f"{kind} at {seq}", kind))
    for _ in range(count - len(failures)):
        result.count("ok", None)
    return result


def test_page_without_a_run_says_so(scheduler):
    page = Page(scheduler)
    page.update()
    assert page._head.text == NO_RUN_HTML
    assert not page._body.visible


def test_page_shows_counts_runtimes_and_slowest_psets(scheduler):
    page = Page(scheduler)
    stats = add_run("r1")
    page.update()
    assert not page._body.visible  # nothing is done yet
    stats.add(result_of(0, 4, failures=["ValueError"]))
    page.update()
    head = page._head.text
    for cell in ("<b>4</b><span>done", "<b>1</b><span>failed", "<b>6</b><span>left"):
        assert cell in head
    assert "1 on 1 host</b><span>workers" in head
    assert "func <small>in calc, running</small>" in head
    assert "run r1, begun 2026-01-02T03:04:05 UTC" in head
    assert page._body.visible
    assert sum(page._runtimes.data["psets"]) == 4
    assert page._slowest.data["pset_seq"] == [3, 2, 1, 0]
    stats.end()
    page.update()
    assert "in calc, ended" in page._head.text


def test_page_shows_names_of_users_as_text_not_as_html(scheduler):
    page = Page(scheduler)
    add_run("r1", func="<script>")
    page.update()
    assert "&lt;script&gt;" in page._head.text
    assert "<script>" not in page._head.text


def test_page_shows_the_traceback_of_the_failure_that_is_selected(scheduler):
    page = Page(scheduler)
    stats = add_run("r1")
    stats.add(result_of(0, 3))
    page.update()
    assert not page._failure_part.visible
    stats.add(result_of(3, 3, failures=["ValueError", "KeyError"]))
    page.update()
    assert page._failure_part.visible
    assert page._failures.data["kind"] == ["ValueError", "KeyError"]
    assert page._traceback.text == NO_FAILURE_SELECTED
    page._failures.selected.indices = [1]
    assert page._traceback.text == "KeyError at 4"
    page._failures.selected.indices = []
    assert page._traceback.text == NO_FAILURE_SELECTED


def test_page_follows_the_newest_run_until_an_older_one_is_chosen(scheduler):
    page = Page(scheduler)
    add_run("r1", "first").add(result_of(0, 1))
    page.update()
    assert not page._run_menu.visible
    add_run("r2", "second").add(result_of(0, 2))
    page.update()
    assert page._run_menu.visible
    assert page._run_menu.options == [("r2", "03:04:05 second"), ("r1", "03:04:05 first")]
    assert "run r2" in page._head.text
    page._run_menu.value = "r1"
    assert "run r1" in page._head.text
    add_run("r3", "third")
    page.update()
    assert "run r1" in page._head.text
    assert [run_id for run_id, _ in page._run_menu.options] == ["r3", "r2", "r1"]


def test_page_another_run_comes_without_the_selection_of_the_one_before(scheduler):
    page = Page(scheduler)
    add_run("r1").add(result_of(0, 2, failures=["ValueError"]))
    page.update()
    page._failures.selected.indices = [0]
    add_run("r2").add(result_of(0, 2, failures=["KeyError"]))
    page.update()
    assert page._failures.selected.indices == []
    assert page._traceback.text == NO_FAILURE_SELECTED


def test_page_update_sends_only_what_has_changed(scheduler):
    document = Document()
    fill_document(scheduler, {}, document)
    stats = add_run("r1")
    stats.end()  # the clock stands still
    stats.add(result_of(0, 2, failures=["ValueError"]))
    update = document.session_callbacks[0].callback
    update()
    events = []
    document.on_change(events.append)
    update()
    assert events == []
    stats.add(result_of(2, 2))
    update()
    assert events
