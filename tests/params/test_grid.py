"""Lists of psets: combined, merged, and refused with a reason."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.params.grid import (
    ParamsError,
    filter_params_dup_hash,
    filter_params_unique,
    itr2params,
    merge_dicts,
    pgrid,
    plist,
    stargrid,
)

A = plist("a", [1, 2, 3])
B = plist("b", ["xx", "yy"])
C = plist("c", [None, 1.2, "X"])


def test_pgrid_is_a_nested_loop_with_the_last_list_fastest():
    assert pgrid(A, B) == itr2params(product(A, B))
    assert pgrid(A, B)[:2] == [{"a": 1, "b": "xx"}, {"a": 1, "b": "yy"}]
    assert list(pgrid(A, B, C)[0]) == ["a", "b", "c"]


def test_pgrid_varies_zipped_lists_together():
    assert pgrid(zip(A, B, strict=False), C) == [
        {"a": 1, "b": "xx", "c": None},
        {"a": 1, "b": "xx", "c": 1.2},
        {"a": 1, "b": "xx", "c": "X"},
        {"a": 2, "b": "yy", "c": None},
        {"a": 2, "b": "yy", "c": 1.2},
        {"a": 2, "b": "yy", "c": "X"},
    ]


def test_pgrid_takes_one_list_of_all_lists():
    assert pgrid([A, B]) == pgrid(A, B)
    assert pgrid([A]) == pgrid(A) == A
    assert pgrid(zip(A, B, strict=False)) == [{"a": 1, "b": "xx"}, {"a": 2, "b": "yy"}]
    assert pgrid([zip(A, B, strict=False), C]) == pgrid(zip(A, B, strict=False), C)


def test_pgrid_takes_generators():
    assert pgrid((pset for pset in A), iter(B)) == pgrid(A, B)
    assert pgrid(psets for psets in [A, B]) == pgrid(A, B)
    assert plist("a", (number for number in [1, 2, 3])) == A


@pytest.mark.parametrize(
    "lists",
    [
        (A, A),
        (A, B, plist("a", [9])),
        (zip(A, plist("a", [9]), strict=False), B),
        (A, zip(B, plist("a", [9]), strict=False)),
    ],
)
def test_pgrid_with_a_key_twice_is_an_error(lists):
    with pytest.raises(ParamsError, match="key 'a' is set twice"):
        pgrid(*lists)


def test_itr2params_with_a_key_twice_is_an_error():
    with pytest.raises(ParamsError, match="key 'b' is set twice"):
        itr2params([({"b": 1}, {"a": 1}, {"b": 2})])


def test_itr2params_takes_elements_one_by_one():
    pairs = [{"a": 1, "b": "xx"}, {"a": 2, "b": "yy"}]
    assert itr2params(*zip(A, B, strict=False)) == itr2params(zip(A, B, strict=False)) == pairs


def test_merge_dicts_can_refuse_a_key_that_comes_twice():
    assert merge_dicts({"a": 1}, {"b": 2}, allow_dup_keys=False) == {"a": 1, "b": 2}
    with pytest.raises(ParamsError, match="key 'a' is set twice"):
        merge_dicts([{"a": 1}, {"b": 2}, {"a": 3}], allow_dup_keys=False)


def test_stargrid_varies_functions_classes_and_na():
    values = [len, sum, int, pd.NA, None, lambda x: x, lambda x: 2 * x]
    params = stargrid({"a": 1, "b": len}, [A, plist("b", values)])
    assert [pset["b"] for pset in params] == [len, len, len, *values[1:]]
    assert filter_params_unique([*params, *params]) == params


def test_merge_dicts_lets_the_later_win_and_leaves_its_arguments_alone():
    first, second = {"a": 1, "b": 2}, {"b": 3}
    assert merge_dicts(first, second) == merge_dicts([first, second]) == {"a": 1, "b": 3}
    assert first == {"a": 1, "b": 2}
    assert merge_dicts() == {}


def test_stargrid_varies_one_parameter_after_the_other():
    const = {"a": 1, "b": "xx", "c": None}
    together = itr2params(zip(B, C, strict=False))
    assert stargrid(const, [A, together], skip_dups=False) == [
        {"a": 1, "b": "xx", "c": None},
        {"a": 2, "b": "xx", "c": None},
        {"a": 3, "b": "xx", "c": None},
        {"a": 1, "b": "xx", "c": None},
        {"a": 1, "b": "yy", "c": 1.2},
    ]
    named = stargrid({"a": 1, "b": "xx"}, [A, B], vary_labels=["first", "second"])
    assert [(pset["a"], pset["b"], pset["_vary"]) for pset in named] == [
        (1, "xx", "first"),
        (2, "xx", "first"),
        (3, "xx", "first"),
        (1, "yy", "second"),
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stargrid({"a": 1}, A), r"write vary=\[plist\]"),
        (lambda: stargrid({"a": 1}, [A], vary_labels="a"), "must be a list of str, not 'a'"),
        (lambda: stargrid({"a": 1}, [A], vary_labels=["a", "b"]), "2 vary_labels .* for 1 in vary"),
        (lambda: stargrid({"a": 1}, [A], ["x"], vary_label_col="a"), "key 'a' is set twice"),
        (lambda: filter_params_dup_hash(A, "x"), "hashes must be a list or a column of them"),
        (lambda: filter_params_dup_hash(A, ["x"]), "'x' is not a hash of a pset"),
        (
            lambda: filter_params_dup_hash(A, pd.Series(["x"], name="_pset_hash")),
            "_pset_hash of psweep has other hashes, .*; ps.import_psweep makes",
        ),
        (lambda: plist("a", "xy"), r"a single str; write \['xy'\]"),
        (lambda: plist(1, [2]), "must be a str, not 1"),
        (lambda: plist("a", 7), "values of 'a' must be a sequence, not 7"),
        (lambda: pgrid(A, 7), "not 7"),
        (lambda: pgrid(A, [7]), "not 7"),
        (lambda: pgrid(A, "xy"), "not 'xy'"),
        (lambda: pgrid({"a": 1}), "not {'a': 1}"),
        (lambda: merge_dicts({"a": 1}, "b"), "not 'b'"),
    ],
)
def test_grid_functions_name_bad_input(call, message):
    with pytest.raises(ParamsError, match=message):
        call()


@given(st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=4))
def test_pgrid_has_each_combination_once_and_in_order(values):
    lists = [plist(f"p{number}", seq) for number, seq in enumerate(values)]
    combinations = [tuple(pset.values()) for pset in pgrid(*lists)]
    assert combinations == list(product(*values))
