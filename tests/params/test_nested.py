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
def test_there_and_back(tree):
    assert ps.unflatten_dict(ps.flatten_dict(tree)) == tree


def test_lists_and_empty_dicts_are_values():
    assert ps.flatten_dict({"a": [{"b": 1}], "c": {}}, sep="/") == {"a": [{"b": 1}], "c": {}}


def test_what_would_get_lost_is_an_error():
    with pytest.raises(ParamsError, match="'a.b' is there twice"):
        ps.flatten_dict({"a": {"b": 1}, "a.b": 2})
    with pytest.raises(ParamsError, match="the key 1 is no str"):
        ps.flatten_dict({"a": {1: 2}})
    with pytest.raises(ParamsError, match="'a' is a value already"):
        ps.unflatten_dict({"a": 1, "a.b": 2})
    with pytest.raises(ParamsError, match="'a' is a dict already"):
        ps.unflatten_dict({"a.b": 2, "a": 1})
