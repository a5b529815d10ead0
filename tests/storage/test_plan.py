"""The plan of a run on disk, and the numbers of its psets."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from psweep_dask.params.pset import check_params
from psweep_dask.storage.plan import (
    PSETS_PER_PICKLE,
    Plan,
    PlanError,
    dump,
    last_seqs,
    load,
    next_seqs,
    without_dups,
)


def plan_of(psets):
    psets, digests = check_params(psets)
    return Plan("run", 2, range(10, 10 + len(psets)), psets, digests, {11: 3})


def dumped(plan, work=b"work"):
    stream = io.BytesIO()
    dump(plan, work, stream)
    return stream.getvalue()


def test_plan_without_done_psets_keeps_the_numbers_of_the_others():
    whole = plan_of([{"a": number} for number in range(5)])
    left = whole.without({10, 13, 99})
    assert left.seqs == [11, 12, 14]
    assert [pset["a"] for pset in left.psets] == [1, 2, 4]
    assert [left.digest(place) for place in range(3)] == [whole.digest(n) for n in (1, 2, 4)]
    assert len(left.without(left.seqs)) == 0


@pytest.mark.parametrize("count", [1, PSETS_PER_PICKLE, PSETS_PER_PICKLE * 2 + 1])
def test_plan_is_loaded_as_it_was_dumped(count):
    plan = plan_of([{"a": number, "list": [number]} for number in range(count)])
    assert load(io.BytesIO(dumped(plan))) == (plan, b"work")


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_plan_that_is_damaged_is_an_error(cut):
    whole = dumped(plan_of([{"a": number} for number in range(3000)]))
    with pytest.raises(PlanError):
        load(io.BytesIO(whole[:cut]))


def test_plan_names_a_pset_that_cannot_be_pickled():
    plan = plan_of([{"a": 1}, {"a": 2, "_gen": (number for number in [])}])
    with pytest.raises(PlanError, match=r"params\[1\].*'_gen'.*pickle"):
        dumped(plan)


def test_next_seqs_are_above_all_that_are_taken():
    assert next_seqs([(-1, -1)]) == (0, 0)
    assert next_seqs([(3, 10), (2, 50)]) == (4, 51)


def test_last_seqs_of_a_database_that_its_owner_has_edited():
    df = pd.DataFrame({"_run_seq": [0, None, 3], "_pset_seq": ["0", 7.0, None]}, dtype=object)
    assert last_seqs(df) == (3, 7)
    assert last_seqs(df[:0]) == last_seqs(df[["_run_seq"]][:0]) == (-1, -1)
    assert last_seqs(df[["_run_seq"]]) == (3, -1)


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ("ok", [2]),
        ("error", [1, 2]),
        ("timeout", [1, 2]),
        ("killed", [1, 2]),
        ("simulated", [1, 2]),
    ],
)
def test_skip_dups_runs_psets_again_whose_row_has_no_result(status, left):
    psets, digests = check_params([{"a": 1}, {"a": 2}])
    df = pd.DataFrame({"_pset_sha1": [digests[:20].hex()], "_status": [status]})
    kept, kept_digests = without_dups(psets, digests, df)
    assert [pset["a"] for pset in kept] == left
    assert kept_digests == check_params(kept)[1]


def test_skip_dups_finds_a_result_beside_a_later_failure():
    psets, digests = check_params([{"a": 1}])
    df = pd.DataFrame({"_pset_sha1": [digests.hex()] * 2, "_status": ["ok", "error"]})
    assert without_dups(psets, digests, df)[0] == []


def test_skip_dups_needs_no_column_of_status():
    psets, digests = check_params([{"a": 1}])
    assert without_dups(psets, digests, pd.DataFrame({"_pset_sha1": [digests.hex()]}))[0] == []
    assert without_dups(psets, digests, pd.DataFrame())[0] == psets
