from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.params.grid import ParamsError, itr2params, merge_dicts, pgrid, plist

A = plist("a", [1, 2, 3])
B = plist("b", ["xx", "yy"])
C = plist("c", [None, 1.2, "X"])


def test_pgrid_is_a_nested_loop_with_the_last_list_fastest():
    assert pgrid(A, B) == itr2params(product(A, B))
    assert pgrid(A, B)[:2] == [{"a": 1, "b": "xx"}, {"a": 1, "b": "yy"}]
    assert list(pgrid(A, B, C)[0]) == ["a", "b", "c"]


def test_zipped_lists_vary_together():
    assert pgrid(zip(A, B, strict=False), C) == [
        {"a": 1, "b": "xx", "c": None},
        {"a": 1, "b": "xx", "c": 1.2},
        {"a": 1, "b": "xx", "c": "X"},
        {"a": 2, "b": "yy", "c": None},
        {"a": 2, "b": "yy", "c": 1.2},
        {"a": 2, "b": "yy", "c": "X"},
    ]


def test_one_argument_may_hold_all_lists():
    assert pgrid([A, B]) == pgrid(A, B)
    assert pgrid([A]) == pgrid(A) == A
    assert pgrid(zip(A, B, strict=False)) == [{"a": 1, "b": "xx"}, {"a": 2, "b": "yy"}]
    assert pgrid([zip(A, B, strict=False), C]) == pgrid(zip(A, B, strict=False), C)


def test_generators_are_as_good_as_lists():
    assert pgrid((one for one in A), iter(B)) == pgrid(A, B)
    assert pgrid(one for one in [A, B]) == pgrid(A, B)
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
def test_a_key_set_twice_is_refused_by_name_neighbours_or_not(lists):
    with pytest.raises(ParamsError, match="key 'a' is set twice"):
        pgrid(*lists)


def test_itr2params_refuses_a_key_set_twice():
    with pytest.raises(ParamsError, match="key 'b' is set twice"):
        itr2params([({"b": 1}, {"a": 1}, {"b": 2})])


def test_merge_dicts_lets_the_later_win_and_leaves_its_arguments_alone():
    first, second = {"a": 1, "b": 2}, {"b": 3}
    assert merge_dicts(first, second) == merge_dicts([first, second]) == {"a": 1, "b": 3}
    assert first == {"a": 1, "b": 2}
    assert merge_dicts() == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plist(1, [2]), "must be a str, not 1"),
        (lambda: plist("a", 7), "values of 'a' must be a sequence, not 7"),
        (lambda: pgrid(A, 7), "not 7"),
        (lambda: pgrid(A, [7]), "not 7"),
        (lambda: pgrid(A, "xy"), "not 'xy'"),
        (lambda: pgrid({"a": 1}), "not {'a': 1}"),
        (lambda: merge_dicts({"a": 1}, "b"), "not 'b'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ParamsError, match=message):
        call()


@given(st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=4))
def test_a_grid_has_each_combination_once_and_in_order(values):
    lists = [plist(f"p{number}", one) for number, one in enumerate(values)]
    combinations = [tuple(pset.values()) for pset in pgrid(*lists)]
    assert combinations == list(product(*values))
