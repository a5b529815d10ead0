"""YAML 1.2: what looks like text is text, and what looks like a number is one."""

from __future__ import annotations

import datetime as dt
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask._yaml import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("2E5", 200000.0),
        ("-1.5e+3", -1500.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("1_000", 1000),
        ("010", 10),
        ("0x10", 16),
        ("12e", "12e"),
        ("12:30", "12:30"),
        ("12:00:00", "12:00:00"),
        ("1-12", "1-12"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("2026-01-02", dt.date(2026, 1, 2)),
        ("2026-01-02 03:04:05", dt.datetime(2026, 1, 2, 3, 4, 5)),
        ("2026-01-02T03:04:05Z", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
    ],
)
def test_yaml_values_are_those_of_version_1_2(text, value):
    read = read_yaml(f"a: {text}")["a"]
    assert read == value
    assert type(read) is type(value)


def test_yaml_keeps_the_time_zone():
    (time,) = read_yaml("[2026-01-02T03:04:05+02:00]")
    assert time.utcoffset() == dt.timedelta(hours=2)
    assert time.isoformat() == "2026-01-02T03:04:05+02:00"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is written twice"),
        ("- {b: {c: 1, c: 2}}", "line 1: the key 'c' is written twice"),
        ("{1: x, 1: y}", "line 1: the key '1' is written twice"),
        ("'say \"a\"': 1\n'say \"a\"': 2", "line 2: the key 'say \"a\"' is written twice"),
        ("a: [", "line 1: not YAML, expected the node content"),
        ("a: 1\n b: 2", "line 2: not YAML, mapping values are not allowed here"),
        ("a: !x y", "line 1: not YAML, could not determine a constructor"),
        ("a: 2024-13-45", "not YAML, month must be in 1..12"),
        (b"a: \xff\xfe\xfa", "not YAML, .* invalid start byte"),
        ("a: !!float ''", "not YAML, "),
    ],
)
def test_yaml_that_cannot_be_read_names_line_and_reason(text, message):
    with pytest.raises(ValueError, match=message):
        read_yaml(text)


def test_yaml_mapping_may_be_merged_into_another():
    assert read_yaml("- &first {a: 1, b: 2}\n- {<<: *first, b: 3}") == [
        {"a": 1, "b": 2},
        {"a": 1, "b": 3},
    ]


@given(st.text("ab:-[]{}!&*?|>'\"#%@1.e \n\t", max_size=30))
def test_yaml_of_any_text_is_a_value_or_a_value_error(text):
    with suppress(ValueError):
        read_yaml(text)
