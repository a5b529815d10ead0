"""What driver and workers send each other is packed and unpacked."""

from __future__ import annotations

import pickle
import sys
import time
from collections import Counter

import pytest
from helpers.run_slice import run

from psweep_dask.params.pset import OUR_FIELDS, SEED_FIELDS, pset_id
from psweep_dask.storage import pickling
from psweep_dask.worker.work import (
    EXAMPLES_PER_KIND,
    Failure,
    SliceResult,
    Work,
    WorkerProcess,
    WorkError,
    fields_at_end,
)

RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"
WORK = Work(
    RUN_ID,
    3,
    "calc",
    b"func",
    cwd="/study",
    import_paths=("/lib",),
    tmpsave=True,
    capture_logs="db",
    stop_after=2,
    retries=1,
    timeout=1.5,
    resources={"GPU": 1},
)


def test_work_comes_back_from_a_dict_of_builtin_types():
    assert Work.unpack(WORK.pack()) == WORK
    assert type(pickle.loads(WORK.pack())) is dict


def test_work_with_func_of_another_python_is_not_loaded():
    work = Work(RUN_ID, 0, "calc", pickling.dumps(len), python="3.1")
    with pytest.raises(WorkError, match=r"func was packed by Python 3\.1, and this is 3\."):
        work.load_func()
    here = work.with_func(pickling.dumps(max))
    assert here.python == ".".join(map(str, sys.version_info[:2]))
    assert (here.load_func(), here.run_id) == (max, RUN_ID)


def test_fields_at_start_and_at_end_are_all_book_keeping_but_the_logs():
    before = time.time_ns()
    start = WORK.fields_at_start(7, "ab")
    end = fields_at_end("ok", None, WorkerProcess("node1"), 0.5, 2)
    assert tuple(start) == SEED_FIELDS
    assert {*end, "_logs"} == set(OUR_FIELDS)
    assert before <= start["_time_utc"] <= time.time_ns()
    assert (start["_pset_id"], start["_run_seq"]) == (pset_id(RUN_ID, 7), 3)
    assert (end["_attempt"], end["_exec_host"]) == (2, "node1")


def result_of_a_slice():
    def func(pset):
        return {"y": 1 / pset["a"], "list": [1]}

    return run(func, [{"a": a} for a in range(3)])


def test_slice_result_comes_back_from_a_dict_of_builtin_types():
    result = result_of_a_slice()
    back = SliceResult.unpack(result.pack())
    assert (back.statuses, back.failed) == (Counter(ok=2, error=1), Counter(ZeroDivisionError=1))
    assert back == result
    state = pickle.loads(result.pack())
    assert {type(value) for value in state.values()} <= {
        bytes, int, float, dict, list, tuple, str, bool
    }  # fmt: skip


def test_slice_result_has_the_seqs_of_its_rows():
    result = result_of_a_slice()
    assert result.seqs() == {10, 11, 12}
    assert result.rows == 3
    assert (SliceResult().seqs(), SliceResult().blocks()) == (set(), [])


def test_slice_result_counts_all_failures_and_keeps_a_few():
    result = SliceResult()
    for seq in range(9):
        result.count("error", Failure("ValueError", seq, "{}", "", "ValueError"))
    result.count("ok", None)
    assert (result.failed, result.rows) == ({"ValueError": 9}, 10)
    assert [failure.pset_seq for failure in result.examples] == list(range(EXAMPLES_PER_KIND))
