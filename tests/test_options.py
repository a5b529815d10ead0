from __future__ import annotations

import pytest

from psweep_dask.options import OptionError, Options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("save", "yes"),
        ("tmpsave", 1),
        ("simulate", None),
        ("backup", "x"),
        ("git", 2),
        ("skip_dups", "hash"),
        ("progress", "bar"),
        ("df", [1]),
        ("verbose", "a"),
        ("verbose", 3),
        ("capture_logs", "stdout"),
        ("on_error", "ignore"),
        ("on_error", 0),
        ("on_error", True),
        ("on_error", 1.5),
        ("calc_dir", None),
        ("database_dir", 3),
        ("database_basename", "sub/database.pk"),
        ("database_basename", ""),
        ("resources", "GPU=1"),
        ("resources", ["GPU"]),
        ("resources", {"GPU": 0}),
        ("resources", {"GPU": -1}),
        ("resources", {"GPU": True}),
        ("resources", {"GPU": "1"}),
        ("resources", {"GPU": float("inf")}),
        ("resources", {"GPU": float("nan")}),
        ("resources", {"GPU": 1, "MEM": None}),
        ("resources", {1: 1}),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_those_that_are(option, value):
    with pytest.raises(OptionError, match=rf"^{option}=.*; allowed are "):
        Options(**{option: value})


@pytest.mark.parametrize("resources", [None, {}, {"GPU": 1}, {"GPU": 0.5, "MEM": 8e9}])
def test_resources_are_names_and_amounts(resources):
    assert Options(resources=resources).resources == resources


def test_git_needs_something_to_commit():
    with pytest.raises(OptionError, match="save=True"):
        Options(git=True, save=False)


@pytest.mark.parametrize(("on_error", "limit"), [("record", None), ("raise", 1), (7, 7)])
def test_failure_limit(on_error, limit):
    assert Options(on_error=on_error).failure_limit == limit


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        ({}, True),
        ({"save": False}, False),
        ({"save": False, "tmpsave": True}, True),
        ({"save": False, "capture_logs": "db"}, False),
        ({"save": False, "capture_logs": "db+file"}, True),
    ],
)
def test_needs_folder(options, needs):
    assert Options(**options).needs_folder is needs
