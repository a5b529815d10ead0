"""Dotted keys and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import psweep_dask as ps
from psweep_dask.params.grid import ParamsError

names = st.text("abc", min_size=1, max_size=3)
trees = st.dictionaries(
    names, st.recursive(st.integers(), lambda inner: st.dictionaries(names, inner, min_size=1))
)


@given(trees)
def test_flatten_dict_and_unflatten_dict_are_inverse(tree):
    assert ps.unflatten_dict(ps.flatten_dict(tree)) == tree


def test_flatten_dict_keeps_lists_and_empty_dicts():
    assert ps.flatten_dict({"a": [{"b": 1}], "c": {}}, sep="/") == {"a": [{"b": 1}], "c": {}}


def test_flatten_dict_makes_text_of_keys_as_in_psweep():
    nested = {"a": 1, "b": {"c": 2, "d": {23: 42}}, 4: {5: 6}}
    flat = {"a": 1, "b_c": 2, "b_d_23": 42, "4_5": 6}
    assert ps.flatten_dict(nested, join_str="_") == ps.flatten_dict(nested, sep="_") == flat


def test_flatten_dict_and_unflatten_dict_lose_no_value():
    with pytest.raises(ParamsError, match="the key 'a.b' comes twice"):
        ps.flatten_dict({"a": {"b": 1}, "a.b": 2})
    with pytest.raises(ParamsError, match="the key '1' comes twice"):
        ps.flatten_dict({1: 2, "1": 3})
    with pytest.raises(ParamsError, match="'a' is already a value"):
        ps.unflatten_dict({"a": 1, "a.b": 2})
    with pytest.raises(ParamsError, match="'a' is already a dict"):
        ps.unflatten_dict({"a.b": 2, "a": 1})
    with pytest.raises(ParamsError, match="takes a dict, not 3"):
        ps.unflatten_dict(3)
