"""The psets of rows: changes that pandas made are undone, and hashes say what is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, chain, combinations, islice, product
from operator import contains
from typing import Any

import pandas as pd

from psweep_dask.params.pset import Pset, PsetError, enters_hash, pset_sha1, sha1_of_all_keys
from psweep_dask.storage.columns import GAP

MAX_AMBIGUOUS_CELLS = 12
"""Of how many cells of a row all possible values are tried; of the others, only the likeliest."""

MAX_NAME_CHOICES = 500
"""How many choices of columns are tried, to find those that are parameters of a row."""

MAX_TRIES_OF_A_ROW = 2**15
"""How many choices of values are tried for one row: a row that was edited has no right one."""

MAX_TRIES = 256  # with each choice of columns
ROWS_TRIED = 3  # of those that have values in the same columns


class PsetRestorer:
    """Finds the pset of one row after the other.

    With `all_keys`, the hashes are those of psweep 0.5. It gives up a row after `max_tries` choices
    of values.
    """

    def __init__(self, all_keys: bool = False, max_tries: int = MAX_TRIES_OF_A_ROW) -> None:
        self._all_keys = all_keys
        self._hash_of = sha1_of_all_keys if all_keys else pset_sha1
        self._max_tries = max_tries
        # Counts the choices that were right for earlier rows, to try these first.
        self._successes: Counter[tuple[int, ...]] = Counter()

    def restore(self, names: Sequence[str], row: Sequence[Any], sha1: Any) -> Pset | None:
        """Return the pset of a row: of all that it may have been, the one that has this hash.

        Without a hash, return the likeliest; None if no choice has the hash.
        """
        candidates = [
            _candidates(value) if self._all_keys or enters_hash(name) else [value]
            for name, value in zip(names, row, strict=True)
        ]
        places = [range(len(values))[::-1] for values in candidates]  # the likeliest first
        if not isinstance(sha1, str):
            return _choose(names, candidates, tuple(options[0] for options in places))
        known = [
            choice
            for choice, _ in self._successes.most_common(8)
            if len(choice) == len(places) and all(map(contains, places, choice))
        ]
        ambiguous = accumulate(len(values) > 1 for values in candidates)
        tried = [
            options if number <= MAX_AMBIGUOUS_CELLS else options[:1]
            for options, number in zip(places, ambiguous, strict=True)
        ]
        choices = chain(known, _with_gaps_alike(candidates, tried), product(*tried))
        for choice in islice(choices, self._max_tries):
            pset = _choose(names, candidates, choice)
            with suppress(PsetError):
                if self._hash_of(pset) == sha1:
                    self._successes[choice] += 1
                    return pset
        return None


def params_by_hash(
    cells: Mapping[str, Sequence[Any]], params: Sequence[str], others: Sequence[str]
) -> list[str]:
    """Return the parameters of a database of psweep: `params`, and those among the `others`.

    When psweep 0.5 extends a study by a parameter, its column stands behind the results. The hashes
    of the rows say which column that is, since they cover all parameters.

    Examples
    --------
    >>> sha1 = sha1_of_all_keys({"a": 1, "c": 2})
    >>> cells = {"a": [1], "y": [7], "c": [2], "_pset_sha1": [sha1]}
    >>> params_by_hash(cells, ["a"], ["y", "c"])
    ['a', 'c']
    """
    found: list[str] = []
    tried: Counter[tuple[str, ...]] = Counter()
    restorer = PsetRestorer(all_keys=True, max_tries=MAX_TRIES)
    for place, sha1 in enumerate(cells["_pset_sha1"]):
        present = tuple(name for name in others if cells[name][place] is not GAP)
        if not isinstance(sha1, str) or tried[present] >= ROWS_TRIED:
            continue
        tried[present] += 1
        new = [name for name in present if name not in found]
        choices = chain.from_iterable(combinations(new, size) for size in range(len(new) + 1))
        for choice in islice(choices, MAX_NAME_CHOICES):
            names = [*params, *found, *choice]
            if restorer.restore(names, [cells[name][place] for name in names], sha1) is not None:
                found += choice
                tried[present] = ROWS_TRIED
                break
    return [*params, *(name for name in others if name in found)]


def _with_gaps_alike(
    candidates: Sequence[list[Any]], tried: Sequence[range]
) -> Iterator[tuple[int, ...]]:
    """Yield the choices in which all gaps of a row are of one kind, as they mostly are."""
    are_gaps = [len(values) > 1 and values[-1] is GAP for values in candidates]
    for kind in reversed(range(len(_candidates(GAP)))):
        kinds = range(kind, kind + 1)
        yield from product(
            *(kinds if is_gap else places for is_gap, places in zip(are_gaps, tried, strict=True))
        )


def _candidates(value: Any) -> list[Any]:
    """Return the values that a cell may have had in its pset, the likeliest last."""
    if value is GAP:
        return [pd.NaT, float("nan"), None, GAP]
    if isinstance(value, complex) and not value.imag:
        return [*_candidates(value.real), value]
    if isinstance(value, float) and value.is_integer():
        return [int(value), value]
    return [value]


def _choose(names: Sequence[str], candidates: list[list[Any]], choice: tuple[int, ...]) -> Pset:
    values = (values[place] for values, place in zip(candidates, choice, strict=True))
    return {name: value for name, value in zip(names, values, strict=True) if value is not GAP}
