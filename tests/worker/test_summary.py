"""The summary of a slice is small, whatever its rows hold, and its sample is fair."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from psweep_dask.worker.summary import (
    SAMPLED_CHARACTERS,
    SAMPLED_COLUMNS,
    SAMPLED_ROWS,
    SLOWEST_PSETS,
    SliceSummary,
    bin_edge,
    slowest_of,
    summarize,
)


def records(count, /, **values):
    return [
        {"a": seq, "_pset_seq": seq, **values, "_pset_runtime": 0.001 * (seq + 1)}
        for seq in range(count)
    ]


def test_summary_counts_runtimes_in_bins():
    summary = summarize(records(1000))
    assert summary.runtimes.total() == 1000
    for number, psets in summary.runtimes.items():
        low, high = bin_edge(number), bin_edge(number + 1)
        inside = [seq for seq in range(1000) if low <= 0.001 * (seq + 1) < high]
        assert abs(psets - len(inside)) <= 1  # one may be on the edge


@pytest.mark.parametrize("number", [1, SLOWEST_PSETS, 1000])
def test_summary_has_the_slowest_psets_first(number):
    summary = summarize(records(number))
    assert [pset.pset_seq for pset in summary.slowest] == list(range(number))[::-1][:SLOWEST_PSETS]
    assert summary.slowest[0].pset == f"{{'a': {number - 1}}}"


def test_summary_samples_a_few_rows_of_all():
    sample = summarize(records(10_000)).sample
    assert len(sample) == SAMPLED_ROWS
    seqs = {sampled.row["_pset_seq"] for sampled in sample}
    assert len(seqs) == SAMPLED_ROWS
    assert seqs != {sampled.row["_pset_seq"] for sampled in summarize(records(10_000)).sample}
    assert min(seqs) < 3000 < 7000 < max(seqs)  # else by a chance of 1e-10


def test_summary_leaves_the_random_numbers_of_func_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    summarize(records(100))
    assert (np.random.get_state()[1] == before).all()


class FailingRepr:
    def __repr__(self):
        raise RuntimeError("no")


def test_summary_samples_only_numbers_and_text():
    values = {
        "array": np.zeros(10**6),
        "list": list(range(10**6)),
        "failing_repr": FailingRepr(),
        "number": np.float64(0.5),
        "flag": np.bool_(True),
        "text": "x" * 1000,
        "_exc_txt": "long",
        "_status": "ok",
        "none": None,
    }
    summary = summarize(records(1, **values))
    row = summary.sample[0].row
    assert row.keys() == {"a", "_pset_seq", "number", "flag", "text", "_status", "_pset_runtime"}
    assert json.loads(json.dumps(row)) == row
    assert len(row["text"]) == SAMPLED_CHARACTERS


def test_summary_shortens_parameters_of_slow_psets():
    pset = {"a": list(range(10**6)), "b": FailingRepr(), "c": "x" * 10**6, "_pset_seq": 0}
    (slow,) = summarize([{**pset, "_pset_runtime": 1.0}]).slowest
    assert slow.pset.startswith("{'a': [0, 1, 2, 3, 4, 5, ")
    assert "...], 'b': <FailingRepr instance" in slow.pset
    assert len(slow.pset) < 300


def test_summary_bounds_the_columns_and_accepts_unknown_runtimes():
    row = {f"x{number}": number for number in range(1000)}
    summary = summarize([{**row, "_pset_seq": 0, "_pset_runtime": math.nan}])
    assert len(summary.sample[0].row) == SAMPLED_COLUMNS
    assert not summary.runtimes


def test_summary_comes_back_from_a_tuple_of_builtin_types():
    summary = summarize(records(20))
    state = summary.to_tuple()
    assert {type(part) for part in state} == {dict, list}
    assert {type(row) for row in [*state[1], *state[2]]} == {tuple}
    assert SliceSummary.from_tuple(state) == summary


def test_slowest_of_several_slices():
    first, second = (summarize(records(count)).slowest for count in (20, 15))
    assert [pset.pset_seq for pset in slowest_of(first, second)][:7] == [19, 18, 17, 16, 15, 14, 14]
    assert len(slowest_of(first, second)) == SLOWEST_PSETS
