"""The numbers of a run are the sums of its slices; of its rows and failures a few are kept."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from psweep_dask.monitoring.stats import (
    FAILURE_KINDS_KEPT,
    FAILURES_KEPT_PER_KIND,
    ROWS_KEPT,
    RunStats,
)
from psweep_dask.worker.summary import summarize
from psweep_dask.worker.work import Failure, SliceResult


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def result_of(first, number, runtime=0.1, kinds=()):
    rows = [
        {"a": seq, "_pset_seq": seq, "_pset_runtime": runtime}
        for seq in range(first, first + number)
    ]
    result = SliceResult(summary=summarize(rows))
    for kind in kinds:
        result.count("error", Failure(kind, first, "{'a': 1}", f"Traceback\n{kind}: no", kind))
    for _ in range(number - len(kinds)):
        result.count("ok", None)
    return result


def test_as_dict_adds_up_slices_and_is_json():
    stats = RunStats(100)
    stats.add(result_of(0, 10, kinds=["KeyError"] * 3))
    stats.add(result_of(10, 20, runtime=2.0, kinds=["ValueError", "KeyError"]))
    numbers = json.loads(json.dumps(stats.as_dict()))
    assert numbers["counts"] == {"ok": 25, "error": 5, "left": 70}
    assert numbers["failed"] == {"KeyError": 4, "ValueError": 1}
    assert sum(bin_["psets"] for bin_ in numbers["runtimes"]) == 30
    assert [slow["seconds"] for slow in numbers["slowest"]] == [2.0] * 10
    kinds = [failure["kind"] for failure in numbers["failures"]]
    assert kinds == ["KeyError", "ValueError", *["KeyError"] * 3]


def test_add_returns_each_kind_of_failure_once():
    def new_kinds(result):
        return [failure.kind for failure in stats.add(result)]

    stats = RunStats(100)
    assert new_kinds(result_of(0, 3, kinds=["A", "B", "A"])) == ["A", "B"]
    assert new_kinds(result_of(3, 3, kinds=["B", "C"])) == ["C"]


def test_rows_and_failures_kept_are_few_and_the_rows_a_random_sample():
    stats = RunStats(10**6)
    for first in range(0, 100_000, 100):
        stats.add(result_of(first, 100, kinds=[f"Kind{first}"] * 5 + ["Same"] * 5))
    rows = stats.rows()
    assert len(rows) == ROWS_KEPT
    seqs = [row["_pset_seq"] for row in rows]
    assert seqs == sorted(set(seqs))
    assert 0.4 < sum(seq < 50_000 for seq in seqs) / ROWS_KEPT < 0.6  # 9 standard deviations
    assert len(stats.failures()) <= FAILURE_KINDS_KEPT * FAILURES_KEPT_PER_KIND
    assert stats.failures()[0].kind == "Same"
    assert stats.failed["Same"] == 5000


def test_rate_and_time_left_follow_the_last_quarter_of_the_run():
    clock = Clock()
    stats = RunStats(10_000, clock=clock)
    assert stats.seconds_left() is None
    for step in range(100):  # 10 psets a second
        clock.now += 1
        stats.add(result_of(10 * step, 10))
    assert stats.rate() == pytest.approx(10)
    assert stats.seconds_left() == pytest.approx(900)
    for step in range(200):  # and then one
        clock.now += 1
        stats.add(result_of(1000 + step, 1))
    assert stats.rate() == pytest.approx(1, rel=0.01)
    assert stats.seconds() == pytest.approx(300)
    clock.now += 1000  # and then none at all: the estimate grows
    assert stats.seconds_left() > 10 * 8800
    stats.end()
    clock.now += 1000
    assert (stats.seconds(), stats.seconds_left()) == (pytest.approx(1300), 0.0)
    assert stats.rate() == pytest.approx(1200 / 1300)


def test_counts_of_a_run_without_psets():
    assert RunStats(0).counts() == {"ok": 0, "left": 0}
    assert RunStats(0).line().startswith("0 of 0 psets")
    assert RunStats(3).as_dict()["counts"] == Counter(ok=0, left=3)


def test_counts_and_line_of_a_run_that_goes_on():
    clock = Clock()
    stats = RunStats(3, clock=clock)
    clock.now += 2
    stats.add(SliceResult(statuses=Counter(ok=1)))
    assert stats.line() == "1 of 3 psets (33 %), 0 failed, 0.5 psets/s, 4 s left"
    stats.add(SliceResult(statuses=Counter(timeout=1)))
    assert stats.counts() == {"ok": 1, "timeout": 1, "left": 1}


def test_add_works_while_other_threads_read():
    stats = RunStats(10**6)
    ended = threading.Event()

    def read():
        while not ended.is_set():
            json.dumps(stats.as_dict())
            stats.rows()

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for number in range(300):
            kinds = [f"Kind{number}"] if number < 100 else ()
            stats.add(result_of(number, 1, runtime=10 ** (number % 50 - 40), kinds=kinds))
        ended.set()
        for reader in readers:
            reader.result()
    assert stats.done == 300
