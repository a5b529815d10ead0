"""Texts for people: short, and without an error whatever the values do."""

from __future__ import annotations

import functools
import time
from collections import deque

import numpy as np
import pytest

from psweep_dask._format import (
    format_commands,
    format_count,
    format_duration,
    format_rate,
    kind_of,
    short_repr,
    short_text,
    typed_repr,
)


class Rude:
    def __repr__(self):
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc", "'abc'"),
        ({"b": 1, "a": [1, 2]}, "{'b': 1, 'a': [1, 2]}"),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, 6, "),
        ({"a": np.zeros(10**6), "b": 2}, "{'a': array([0., 0., 0., ..., 0., 0., 0.]"),
        (dict.fromkeys(range(21), 0), ", 19: 0, 20: 0}"),
        ([10**5000, 1], "[<int whose repr fails: ValueError"),
        ([Rude()], "[<Rude instance at 0x"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, "{'f': {...}}"),
    ],
)
def test_short_repr_shows_the_beginning_of_a_value(value, text):
    assert text in short_repr(value)


@pytest.mark.parametrize(
    "value",
    [
        list(range(50)),
        tuple(range(50)),
        set(range(50)),
        frozenset(range(45)),
        dict.fromkeys(range(20), "a"),
        {"a": [[1, 2, 3, 4, 5, 6, 7], (1, 2, 3, 4, 5, 6, 7)], "b": "x" * 90},
        "x" * 198,
        np.arange(40),
    ],
)
def test_short_repr_leaves_nothing_out_of_200_characters(value):
    assert short_repr(value) == repr(value)


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, deque, dict.fromkeys])
def test_short_repr_is_cut_by_its_number_of_characters_only(kind):
    value = kind(range(1000))
    assert short_repr(value) == repr(value)[:197] + "..."
    assert short_repr(value, 30) == repr(value)[:27] + "..."


def test_short_repr_of_a_large_nested_value_is_fast():
    value = functools.reduce(lambda inner, _: [inner] * 1000, range(5), 0)
    started = time.monotonic()
    assert short_repr(value).startswith("[[[[[0, 0, 0, 0, 0, 0, 0, ")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("value", ["x" * 10**6, list(range(10**6)), [[[0] * 999] * 999] * 999])
def test_short_repr_shows_each_value_of_a_pset_even_if_one_is_long(value):
    text = short_repr({"long": value, "b": 2})
    assert "..." in text
    assert text.endswith("'b': 2}")


@pytest.mark.parametrize("value", ["x" * 10**6, [["x" * 99] * 99] * 99, 10**4000, Rude(), None])
def test_short_repr_keeps_to_its_limit(value):
    assert len(short_repr(value)) <= 200
    assert len(short_repr(value, 30)) <= 30


def test_typed_repr_names_the_type():
    assert typed_repr([1]) == "a list: [1]"
    assert typed_repr(1) == "an int: 1"
    assert kind_of(None) == "a NoneType"


def test_short_text_is_cut_only_if_it_is_too_long():
    assert short_text("123456789", 9) == "123456789"
    assert short_text("1234567890", 9) == "123456..."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.0012, "0.0012 s"), (59.4, "59 s"), (59.5, "1 min 0 s"), (3600, "1 h 0 min")],
)
def test_duration_has_two_units_at_most(seconds, text):
    assert format_duration(seconds) == text


def test_rate_and_count_have_separators_of_thousands():
    assert format_rate(12_345.6) == "12,346 psets/s"
    assert format_rate(1.23456) == "1.23 psets/s"
    assert format_count(0, "pset") == "0 psets"
    assert format_count(1, "pset") == "1 pset"
    assert format_count(12_345, "pset") == "12,345 psets"


def test_commands_are_relative_to_the_working_directory_and_quoted(tmp_path):
    scripts = [tmp_path / "my calc" / "run_a.sh", tmp_path.parent / "run_b.sh"]
    assert format_commands(scripts) == f"sh 'my calc/run_a.sh' or sh {tmp_path.parent}/run_b.sh"
