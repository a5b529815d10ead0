"""What a slice tells of its rows to those who watch a run: numbers of all, and a few of them."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np

from psweep_dask._format import short_repr, short_text
from psweep_dask.params.pset import RESERVED_FIELDS
from psweep_dask.storage.columns import column_roles
from psweep_dask.storage.record import Record

BINS_PER_DECADE = 5
"""Of the histogram of runtimes, whose bins are equally wide on a logarithmic scale."""

SHORTEST = 1e-6
"""Runtimes in seconds below that are in the first bin."""

SLOWEST = 10
"""So many of the slowest psets are told."""

ROWS = 64
"""So many rows are shown at most, drawn at random."""

COLUMNS = 60
"""Of so many columns at most."""

TEXT = 100
"""Text is cut to so many characters."""

_OURS_SHOWN = frozenset(
    {"_pset_seq", "_time_utc", "_status", "_pset_runtime", "_attempt", "_exec_host"}
)


class Slow(NamedTuple):
    """A pset among the slowest."""

    seconds: float
    pset_seq: int
    pset: str


class Shown(NamedTuple):
    """A row that is shown. Of rows of many slices, those with the lowest `rank` are a fair draw."""

    rank: float
    row: Record


@dataclass
class SliceSummary:
    """What a slice tells.

    Parameters
    ----------
    runtimes : Counter
        Number of psets by the bin of their runtime.
    slowest : list of Slow
        The slowest first.
    shown : list of Shown
        Numbers and text only.
    """

    runtimes: Counter[int] = field(default_factory=Counter)
    slowest: list[Slow] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)

    def state(self) -> tuple[Any, ...]:
        """Return it as tuples, lists and dicts, for the disk."""
        return dict(self.runtimes), list(map(tuple, self.slowest)), list(map(tuple, self.shown))

    @classmethod
    def of(cls, state: tuple[Any, ...]) -> SliceSummary:
        """Undo `state`."""
        runtimes, slowest, shown = state
        return cls(Counter(runtimes), list(starmap(Slow, slowest)), list(starmap(Shown, shown)))


def summarize(records: Sequence[Record]) -> SliceSummary:
    """Look at the records of a slice.

    Examples
    --------
    >>> summary = summarize([{"a": 1, "_pset_seq": 7, "y": [2], "_pset_runtime": 0.02}])
    >>> summary.runtimes, summary.slowest
    (Counter({-9: 1}), [Slow(seconds=0.02, pset_seq=7, pset="{'a': 1}")])
    >>> summary.shown[0].row
    {'a': 1, '_pset_seq': 7, '_pset_runtime': 0.02}
    """
    runtimes = np.fromiter((one["_pset_runtime"] for one in records), float, len(records))
    known = runtimes[np.isfinite(runtimes)]  # that of a killed pset may not be known
    bins = np.floor(BINS_PER_DECADE * np.log10(np.maximum(known, SHORTEST))).astype(int)
    numbers, counts = np.unique(bins, return_counts=True)
    ranks = _random.random(len(records))
    return SliceSummary(
        Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True))),
        [_slow(records[at]) for at in _largest(np.nan_to_num(runtimes), SLOWEST)],
        [Shown(float(ranks[at]), _shown(records[at])) for at in _largest(-ranks, ROWS)],
    )


def bin_edge(number: int) -> float:
    """Give the lower end of a bin of runtimes, in seconds.

    Examples
    --------
    >>> bin_edge(-5), bin_edge(0)
    (0.1, 1.0)
    """
    return float(10 ** (number / BINS_PER_DECADE))


def slowest_of(*some: Sequence[Slow]) -> list[Slow]:
    """Give the slowest of several lists."""
    return heapq.nlargest(SLOWEST, (one for each in some for one in each))


_random = np.random.default_rng()
"""Our own, so that what func draws does not depend on us."""


def _largest(values: np.ndarray, number: int) -> list[int]:
    if len(values) > number:
        found = np.argpartition(values, -number)[-number:]
        return [int(at) for at in found[np.argsort(-values[found])]]
    return [int(at) for at in np.argsort(-values)]


def _slow(one: Record) -> Slow:
    pset = {name: one[name] for name in column_roles(one).params}
    seconds = one["_pset_runtime"]
    return Slow(seconds if math.isfinite(seconds) else 0.0, one["_pset_seq"], short_repr(pset))


def _shown(one: Record) -> Record:
    row: Record = {}
    for name, value in one.items():
        if name in RESERVED_FIELDS and name not in _OURS_SHOWN:
            continue
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, str):
            row[name] = short_text(plain, TEXT)
        elif isinstance(plain, bool | int | float):
            row[name] = plain
        if len(row) == COLUMNS:
            break
    return row
