"""The pset of a row is found by its hash, also where pandas has changed its values."""

from __future__ import annotations

import numpy as np
import pytest

from psweep_dask.params.pset import pset_sha1, sha1_of_all_keys
from psweep_dask.storage.columns import GAP
from psweep_dask.storage.psets_of_rows import PsetRestorer, params_by_hash


def restored(psets, rows, **options):
    restorer = PsetRestorer(**options)
    sha1 = sha1_of_all_keys if options.get("all_keys") else pset_sha1
    return [restorer.restore("abc", row, sha1(pset)) for pset, row in zip(psets, rows, strict=True)]


def test_hash_says_which_value_a_cell_had():
    psets = [{"a": 1, "b": 2.0}, {"a": 1.0, "c": None}, {"a": 1j, "b": float("nan"), "c": 3}]
    rows = [[1.0, 2.0, GAP], [1.0, GAP, GAP], [1j, GAP, 3.0]]
    found = restored(psets, rows)
    assert [repr(pset) for pset in found] == [repr(pset) for pset in psets]


def test_row_whose_values_do_not_give_the_hash_has_no_pset():
    assert PsetRestorer().restore("a", [2], pset_sha1({"a": 1})) is None
    assert PsetRestorer(max_tries=1).restore("a", [1.0], pset_sha1({"a": 1})) is None


def test_row_with_many_gaps_is_found_if_they_are_alike_and_given_up_if_it_was_edited():
    names = [f"p{number}" for number in range(16)]
    pset = dict.fromkeys(names, None) | {"p0": 1, "p1": 2}
    row = [1.0, 2.0] + [GAP] * 14
    assert PsetRestorer().restore(names, row, pset_sha1(pset)) == pset
    assert PsetRestorer(max_tries=1000).restore(names, [7.0, *row[1:]], pset_sha1(pset)) is None


@pytest.mark.parametrize("sha1", [None, float("nan")])
def test_row_without_a_hash_is_taken_as_it_is(sha1):
    assert PsetRestorer().restore("ab", [1.0, GAP], sha1) == {"a": 1.0}


def test_values_that_do_not_enter_the_hash_are_taken_as_they_are():
    restorer, names = PsetRestorer(), ["a", "_b", "c_"]
    sha1 = pset_sha1({"a": 1})
    assert restorer.restore(names, [1, "x", 2], sha1) == {"a": 1, "_b": "x", "c_": 2}
    assert restorer.restore(names, [1, GAP, GAP], sha1) == {"a": 1}


def test_hashes_of_psweep_cover_all_keys():
    restorer = PsetRestorer(all_keys=True)
    sha1 = sha1_of_all_keys({"a": 1, "b_": 2})
    assert restorer.restore(["a", "b_"], [1.0, 2.0], sha1) == {"a": 1, "b_": 2}
    assert restorer.restore(["a", "b_"], [1.0, 3.0], sha1) is None


def test_params_that_came_with_later_runs_are_found_by_the_hashes():
    psets = [{"a": 1}, {"a": 1, "c": 2}, {"a": 1, "c": 2, "d": "x", "_e": None}, {"a": 2, "d": "y"}]
    cells = {name: [pset.get(name, GAP) for pset in psets] for name in ("a", "c", "d", "_e")} | {
        "y": [0.5, 0.5, GAP, 0.5],
        "_pset_sha1": [sha1_of_all_keys(pset) for pset in psets],
    }
    assert params_by_hash(cells, ["a"], ["y", "c", "d", "_e"]) == ["a", "c", "d", "_e"]


def test_params_stay_where_no_hash_says_more():
    cells = {"a": [1, 2, 3], "y": [4, 5, 6], "_pset_sha1": [np.nan, "0" * 40, None]}
    assert params_by_hash(cells, ["a"], ["y"]) == ["a"]
