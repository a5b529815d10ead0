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


def test_what_has_a_record_is_left_out_and_the_rest_keeps_its_numbers():
    whole = plan_of([{"a": number} for number in range(5)])
    left = whole.without({10, 13, 99})
    assert left.seqs == [11, 12, 14]
    assert [pset["a"] for pset in left.psets] == [1, 2, 4]
    assert [left.digest(place) for place in range(3)] == [whole.digest(n) for n in (1, 2, 4)]
    assert len(left.without(left.seqs)) == 0


@pytest.mark.parametrize("count", [1, PSETS_PER_PICKLE, PSETS_PER_PICKLE * 2 + 1])
def test_a_plan_comes_back_from_disk(count):
    plan = plan_of([{"a": number, "list": [number]} for number in range(count)])
    assert load(io.BytesIO(dumped(plan))) == (plan, b"work")


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_damaged_plan_is_told(cut):
    whole = dumped(plan_of([{"a": number} for number in range(3000)]))
    with pytest.raises(PlanError):
        load(io.BytesIO(whole[:cut]))


def test_a_pset_that_cannot_be_pickled_is_named():
    plan = plan_of([{"a": 1}, {"a": 2, "_gen": (one for one in [])}])
    with pytest.raises(PlanError, match=r"params\[1\].*'_gen'.*pickle"):
        dumped(plan)


def test_next_seqs_stay_clear_of_all_that_is_taken():
    assert next_seqs([(-1, -1)]) == (0, 0)
    assert next_seqs([(3, 10), (2, 50)]) == (4, 51)


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
def test_a_row_that_failed_is_no_duplicate(status, left):
    psets, digests = check_params([{"a": 1}, {"a": 2}])
    df = pd.DataFrame({"_pset_sha1": [digests[:20].hex()], "_status": [status]})
    kept, kept_digests = without_dups(psets, digests, df)
    assert [pset["a"] for pset in kept] == left
    assert kept_digests == check_params(kept)[1]


def test_a_failure_does_not_hide_an_earlier_success():
    psets, digests = check_params([{"a": 1}])
    df = pd.DataFrame({"_pset_sha1": [digests.hex()] * 2, "_status": ["ok", "error"]})
    assert without_dups(psets, digests, df)[0] == []


def test_databases_of_psweep_have_no_status():
    psets, digests = check_params([{"a": 1}])
    assert without_dups(psets, digests, pd.DataFrame({"_pset_sha1": [digests.hex()]}))[0] == []
    assert without_dups(psets, digests, pd.DataFrame())[0] == psets
