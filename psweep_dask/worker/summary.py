"""A summary of the rows of a slice, for the progress display and the dashboard.

It has the runtimes of all psets, the slowest psets, and a random sample of the rows.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, starmap
from typing import Any, NamedTuple

import numpy as np

from psweep_dask._format import short_repr, short_text
from psweep_dask.params.pset import RESERVED_FIELDS
from psweep_dask.storage.columns import column_roles
from psweep_dask.storage.record import Record

BINS_PER_DECADE = 5
"""Number of bins for the runtimes between 1 s and 10 s, and for each other power of ten."""

MIN_RUNTIME_SECONDS = 1e-6
"""Shorter runtimes are counted in the first bin."""

SLOWEST_PSETS = 10
# The most that a sample has:
SAMPLED_ROWS = 64
SAMPLED_COLUMNS = 60
SAMPLED_CHARACTERS = 100  # of a text

_SAMPLED_FIELDS = frozenset(
    {"_pset_seq", "_time_utc", "_status", "_pset_runtime", "_attempt", "_exec_host"}
)


class SlowPset(NamedTuple):
    """A pset among the slowest."""

    seconds: float
    pset_seq: int
    pset: str  # the parameters, shortened for reading


class SampledRow(NamedTuple):
    """A row of the sample."""

    rank: float  # random: of the samples of several slices, the rows with the lowest are kept
    row: Record


@dataclass
class SliceSummary:
    """A summary of the rows of a slice."""

    runtimes: Counter[int] = field(default_factory=Counter)  # psets by bin, see `bin_edge`
    slowest: list[SlowPset] = field(default_factory=list)  # the slowest first
    sample: list[SampledRow] = field(default_factory=list)  # numbers and text only

    def to_tuple(self) -> tuple[Any, ...]:
        """Return it for the disk, without classes of this package."""
        return dict(self.runtimes), list(map(tuple, self.slowest)), list(map(tuple, self.sample))

    @classmethod
    def from_tuple(cls, state: tuple[Any, ...]) -> SliceSummary:
        """Undo `to_tuple`."""
        runtimes, slowest, sample = state
        return cls(
            Counter(runtimes), list(starmap(SlowPset, slowest)), list(starmap(SampledRow, sample))
        )


def summarize(records: Sequence[Record]) -> SliceSummary:
    """Return the summary of records.

    Examples
    --------
    >>> summarize([{"a": 1, "_pset_seq": 7, "y": [2], "_pset_runtime": 0.02}]).slowest
    [SlowPset(seconds=0.02, pset_seq=7, pset="{'a': 1}")]
    """
    runtimes = np.fromiter((row["_pset_runtime"] for row in records), float, len(records))
    known = runtimes[np.isfinite(runtimes)]  # that of a killed pset may not be known
    bins = np.floor(BINS_PER_DECADE * np.log10(np.maximum(known, MIN_RUNTIME_SECONDS))).astype(int)
    numbers, counts = np.unique(bins, return_counts=True)
    ranks = _random.random(len(records))
    slowest = _largest(np.nan_to_num(runtimes), SLOWEST_PSETS)
    sampled = _largest(-ranks, SAMPLED_ROWS)
    return SliceSummary(
        Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True))),
        [_slow_pset(records[place]) for place in slowest],
        [SampledRow(float(ranks[place]), _plain_row(records[place])) for place in sampled],
    )


def bin_edge(number: int) -> float:
    """Return the lower end of a bin of runtimes, in seconds.

    Examples
    --------
    >>> bin_edge(-5), bin_edge(0)
    (0.1, 1.0)
    """
    return float(10 ** (number / BINS_PER_DECADE))


def slowest_of(*lists: Sequence[SlowPset]) -> list[SlowPset]:
    """Return the slowest psets of several lists."""
    return heapq.nlargest(SLOWEST_PSETS, chain(*lists))


_random = np.random.default_rng()
"""Our own, so that what func draws does not depend on us."""


def _largest(values: np.ndarray, count: int) -> list[int]:
    """Return the places of the largest values, the largest first."""
    if len(values) > count:
        places = np.argpartition(values, -count)[-count:]
        return [int(place) for place in places[np.argsort(-values[places])]]
    return [int(place) for place in np.argsort(-values)]


def _slow_pset(row: Record) -> SlowPset:
    pset = {name: row[name] for name in column_roles(row).params}
    seconds = row["_pset_runtime"]
    return SlowPset(seconds if math.isfinite(seconds) else 0.0, row["_pset_seq"], short_repr(pset))


def _plain_row(row: Record) -> Record:
    plain_row: Record = {}
    for name, value in row.items():
        if name in RESERVED_FIELDS and name not in _SAMPLED_FIELDS:
            continue
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, str):
            plain_row[name] = short_text(plain, SAMPLED_CHARACTERS)
        elif isinstance(plain, bool | int | float):
            plain_row[name] = plain
        if len(plain_row) == SAMPLED_COLUMNS:
            break
    return plain_row
