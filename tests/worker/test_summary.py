"""What a slice shows of its rows is little, whatever they hold, and fair."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from psweep_dask.worker.summary import COLUMNS, ROWS, SLOWEST, TEXT, bin_edge, summarize


def records(count, /, **values):
    return [
        {"a": seq, "_pset_seq": seq, **values, "_pset_runtime": 0.001 * (seq + 1)}
        for seq in range(count)
    ]


def test_runtimes_are_counted_in_bins_of_a_logarithm():
    summary = summarize(records(1000))
    assert summary.runtimes.total() == 1000
    for number, psets in summary.runtimes.items():
        low, high = bin_edge(number), bin_edge(number + 1)
        inside = [seq for seq in range(1000) if low <= 0.001 * (seq + 1) < high]
        assert abs(psets - len(inside)) <= 1  # one stands on the edge


@pytest.mark.parametrize("number", [1, SLOWEST, 1000])
def test_the_slowest_come_first(number):
    summary = summarize(records(number))
    assert [one.pset_seq for one in summary.slowest] == list(range(number))[::-1][:SLOWEST]
    assert summary.slowest[0].pset == f"{{'a': {number - 1}}}"


def test_the_rows_are_few_and_drawn_from_all():
    shown = summarize(records(10_000)).shown
    assert len(shown) == ROWS
    seqs = {one.row["_pset_seq"] for one in shown}
    assert len(seqs) == ROWS
    assert seqs != {one.row["_pset_seq"] for one in summarize(records(10_000)).shown}
    assert min(seqs) < 3000 < 7000 < max(seqs)  # else by a chance of 1e-10


def test_drawing_them_leaves_the_random_numbers_of_func_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    summarize(records(100))
    assert (np.random.get_state()[1] == before).all()


class Rude:
    def __repr__(self):
        raise RuntimeError("no")


def test_only_numbers_and_text_are_shown_and_json_can_hold_them():
    values = {
        "array": np.zeros(10**6),
        "list": list(range(10**6)),
        "rude": Rude(),
        "number": np.float64(0.5),
        "flag": np.bool_(True),
        "text": "x" * 1000,
        "_exc_txt": "long",
        "_status": "ok",
        "none": None,
    }
    summary = summarize(records(1, **values))
    row = summary.shown[0].row
    assert row.keys() == {"a", "_pset_seq", "number", "flag", "text", "_status", "_pset_runtime"}
    assert json.loads(json.dumps(row)) == row
    assert len(row["text"]) == TEXT


def test_large_and_rude_parameters_are_written_in_short():
    pset = {"a": list(range(10**6)), "b": Rude(), "c": "x" * 10**6, "_pset_seq": 0}
    (slow,) = summarize([{**pset, "_pset_runtime": 1.0}]).slowest
    assert slow.pset.startswith("{'a': [0, 1, 2, 3, 4, 5, ...], 'b': <Rude instance")
    assert len(slow.pset) < 300


def test_columns_are_bounded_and_a_runtime_may_be_unknown():
    one = {f"x{number}": number for number in range(1000)}
    summary = summarize([{**one, "_pset_seq": 0, "_pset_runtime": math.nan}])
    assert len(summary.shown[0].row) == COLUMNS
    assert not summary.runtimes
