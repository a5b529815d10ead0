from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import psweep_dask as ps
from psweep_dask.params.pset import (
    DIGEST_SIZE,
    PsetError,
    check_params,
    check_run_params,
    pset_id,
    pset_sha1,
    rng,
)

RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"

SEED_HASHES = {
    "281c595edf7ffa124ac3ef82f26de3f8eb8517f2": {"a": 1, "b": 77},
    "088056f830758f949823ddc52bf8527f3e727b45": {"a": 1, "b": 88},
    "b59bc3ae98e8b93de34135d751ed5090c3f087c5": {"a": 2, "b": 77},
    "52434b66dd37763d09280480ff449d66ffcdcd4f": {"a": 2, "b": 88},
    "f6295cdfab520d9ede7e709bc68d4d65ffc45848": {"a": 3, "b": 77},
    "35af18a51c425b09097af78d55ebdd91588c6f3c": {"a": 3, "b": 88},
    "e4ad4daad53a2eec0313386ada88211e50d693bd": {"a": 1},
    "7b7ee754248759adcee9e62a4c1477ed1a8bb1ab": {"a": 2},
    "9e0e6d8a99c72daf40337183358cbef91bba7311": {"a": 3},
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.text(min_size=1).filter(lambda key: not (key.startswith("_") or key.endswith("_")))


@pytest.mark.parametrize(("sha1", "pset"), SEED_HASHES.items())
def test_pset_sha1_is_that_of_the_seed(sha1, pset):
    assert pset_sha1(pset) == sha1


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_pset_sha1_of_what_json_knows_is_that_of_its_sorted_json(pset):
    text = json.dumps(pset, sort_keys=True)
    assert pset_sha1(pset) == hashlib.sha1(text.encode()).hexdigest()


@given(st.dictionaries(KEYS, JSON, min_size=1, max_size=4), st.randoms())
def test_pset_sha1_does_not_depend_on_the_order_of_keys(pset, random):
    items = list(pset.items())
    random.shuffle(items)
    assert pset_sha1(dict(items)) == pset_sha1(pset)


def test_pset_sha1_is_the_same_in_another_process():
    code = (
        "from psweep_dask.params.pset import pset_sha1\n"
        "print(pset_sha1({'s': {'a', 'b', 'c', 'd'}, 'p': 1.5}))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {pset_sha1({"s": {"a", "b", "c", "d"}, "p": 1.5}) + "\n"}


def test_pset_sha1_is_without_book_keeping_and_results():
    assert pset_sha1({"a": 1, "_note": 2, "result_": 3}) == pset_sha1({"a": 1})


def test_check_params_allows_anything_that_does_not_enter_the_hash():
    psets, digests = check_params([{"a": 1, "_callback": print}])
    assert psets == [{"a": 1, "_callback": print}]
    assert digests.hex() == pset_sha1({"a": 1})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([].append, "builtin_function_or_method"),
        (object(), "object"),
        (pd.DataFrame({"a": [1]}), "DataFrame"),
        ({(1, 2): 3}, "keys must be str"),
        ({1: 2, "b": 3}, "not supported between"),
        (np.longdouble(1), "longdouble"),
        (type("Local", (), {"__qualname__": "make.<locals>.Local"}), "type"),
        (np.array([[].append], dtype=object), "builtin_function_or_method"),
    ],
)
def test_check_params_names_the_key_without_a_reproducible_hash(value, reason):
    with pytest.raises(PsetError, match="key 'bad'") as caught:
        check_params([{"a": 1, "bad": 0}, {"a": 1, "bad": value}])
    assert "params[1]" in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ([{"a": 1, "b_": 1}, {"a": 1, "b_": 2}], "'b_'"),
        ([{"a": 1, "b_": 1}, {"a": 2, "b_": 2}], "'b_'"),
        ([{"a": 1, "b_": 1}, {"a": 1}], "'b_'"),
        ([{"b_": np.arange(3), "c_": 0}, {"b_": np.arange(4), "c_": False}], "'b_', 'c_'"),
        ([{"a": 1, "_b": 1}, {"a": 2, "_b": 1}, {"a": 2, "_b": 3}], "'_b'"),
        ([{"a": 1, "_b": 1}, {"a": 2, "_b": 2}], None),
        ([{"a": 1, "_b": 1, "c_": [1, {2}]}, {"a": 1, "_b": 1, "c_": [1, {2}]}], None),
        ([{"a": 1, "_b": print}, {"a": 2, "_b": print}], None),
        (ps.stargrid({"a": 1, "b": 1}, [[{"a": 2}], [{"b": 2}]], ["x", "y"]), None),
        ([{"a": 1}, {"a": 2}], None),
        ([], None),
    ],
)
def test_run_warns_of_what_skip_dups_would_take_for_equal(params, names, caplog):
    psets, digests = check_run_params(params)
    assert (psets, digests) == check_params(params)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(", which does not enter the hash")[0] for line in lines] == (
        [] if names is None else [f"psets differ in {names}"]
    )


def test_check_params_names_a_value_that_holds_itself():
    loop = []
    loop.append(loop)
    with pytest.raises(PsetError, match="key 'loop'.*Circular"):
        check_params([{"loop": loop}])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"a": 1}, r"list of dicts, not a dict: \{'a': 1\}; .*\[pset\]"),
        ("abc", "list of dicts, not a str"),
        (7, "list of dicts, not an int: 7"),
        (None, "list of dicts"),
        ([{"a": 1}, 7], r"params\[1\] must be a dict, not an int: 7"),
        ([[{"a": 1}]], r"params\[0\] must be a dict, not a list"),
        ([{1: 2}], r"params\[0\]: the key 1 is an int; keys must be str"),
        ([{"_pset_id": 2}], "key '_pset_id' is reserved"),
        ([{"_status": 2}], "key '_status' is reserved"),
    ],
)
def test_check_params_refuses_bad_params(params, message):
    with pytest.raises(PsetError, match=message):
        check_params(params)


def test_check_params_copies_psets_and_takes_a_generator():
    original = [{"a": 1}, {"a": 2}]
    psets, digests = check_params(pset for pset in original)
    psets[0]["a"] = 9
    assert original == [{"a": 1}, {"a": 2}]
    assert digests[DIGEST_SIZE:].hex() == pset_sha1({"a": 2})


@given(st.integers(min_value=0, max_value=2**63))
def test_pset_id_is_a_version_4_uuid(seq):
    parsed = uuid.UUID(pset_id(RUN_ID, seq))
    assert str(parsed) == pset_id(RUN_ID, seq)
    assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


def test_pset_ids_never_repeat():
    runs = [str(uuid.uuid4()) for _ in range(10)]
    assert len({pset_id(run, seq) for run in runs for seq in range(1000)}) == 10_000


def test_rng_depends_on_the_pset_id():
    first = {"a": 1, "_pset_id": pset_id(RUN_ID, 0)}
    repeat = {"a": 1, "_pset_id": pset_id(RUN_ID, 1)}
    assert rng(first).random() == rng(first).random()
    assert rng(first).random() != rng(repeat).random()


def test_rng_outside_a_run_says_what_is_missing():
    with pytest.raises(PsetError, match="_pset_id"):
        rng({"a": 1})


def test_check_params_refuses_a_key_that_is_not_utf8():
    with pytest.raises(PsetError, match=r"params.1.: the key 'Messung_\\udce4' cannot be written"):
        check_params([{"größe": 1}, {"Messung_\udce4": 1}])
