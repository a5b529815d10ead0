"""The plan of a run: its psets with their numbers, in memory and on disk."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import pandas as pd

from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import DIGEST_SIZE, Pset
from psweep_dask.storage import pickling, plain, record
from psweep_dask.storage.pickling import check_format
from psweep_dask.storage.status import TO_RUN_AGAIN

PSETS_PER_PICKLE = 1000
"""Psets are pickled in parts, so that memory does not grow while a long plan is written."""

FORMAT = 2
"""Number of the format of ``plan.pk``. In format 1, the work is a pickled object of a class."""

_HEAD_FIELDS = ("run_id", "run_seq", "seqs", "digests", "attempts")


class PlanError(PsweepError):
    """A pset that cannot be pickled, or a plan that cannot be read."""


@dataclass(frozen=True)
class Plan:
    """The psets of one run with their numbers, fixed before anything runs."""

    run_id: str
    run_seq: int
    seqs: Sequence[int]  # _pset_seq of the psets: consecutive numbers, unless the run is resumed
    psets: list[Pset]
    digests: bytes  # their sha1 digests one after the other
    attempts: Mapping[int, int] = field(default_factory=dict)  # of earlier runs, by _pset_seq

    def __len__(self) -> int:
        return len(self.psets)

    def digest(self, place: int) -> bytes:
        """Return the sha1 digest of a pset, by its place in the plan."""
        return self.digests[place * DIGEST_SIZE : (place + 1) * DIGEST_SIZE]

    def without(self, done: Container[int]) -> Plan:
        """Return a plan without the psets with these ``_pset_seq``."""
        places = [place for place, seq in enumerate(self.seqs) if seq not in done]
        return replace(
            self,
            seqs=[self.seqs[place] for place in places],
            psets=[self.psets[place] for place in places],
            digests=b"".join(self.digest(place) for place in places),
        )


def last_seqs(df: pd.DataFrame) -> tuple[int, int]:
    """Return the highest ``_run_seq`` and ``_pset_seq`` of a database, -1 where there is none."""

    def highest(column: str) -> int:
        numbers = df.get(column, pd.Series(dtype=float)).dropna().astype(float)
        return int(numbers.max()) if len(numbers) else -1

    return highest("_run_seq"), highest("_pset_seq")


def next_seqs(taken: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the lowest free ``_run_seq`` and ``_pset_seq``, from the `last_seqs` of all."""
    run_seqs, pset_seqs = zip(*taken, strict=True)
    return max(run_seqs) + 1, max(pset_seqs) + 1


def without_dups(psets: list[Pset], digests: bytes, df: pd.DataFrame) -> tuple[list[Pset], bytes]:
    """Return the psets without a result in the database, and their digests.

    Psets with a row that has failed are among them.
    """
    if "_pset_sha1" not in df.columns:
        return psets, digests
    if "_status" in df.columns:
        df = df[~df["_status"].isin(TO_RUN_AGAIN)]
    done = set(df["_pset_sha1"])
    new = [
        (pset, sha1) for pset, sha1 in zip(psets, hashes(digests), strict=True) if sha1 not in done
    ]
    return [pset for pset, _ in new], b"".join(bytes.fromhex(sha1) for _, sha1 in new)


def hashes(digests: bytes) -> Iterator[str]:
    """Yield the ``_pset_sha1`` of psets, from their digests one after the other."""
    for start in range(0, len(digests), DIGEST_SIZE):
        yield digests[start : start + DIGEST_SIZE].hex()


def dump(plan: Plan, work: bytes, stream: BinaryIO) -> None:
    """Write a plan and the packed `Work` of its run, so that another process can resume the run.

    Raises
    ------
    PlanError
        If a pset cannot be pickled; the message names it.
    """
    head = {"format": FORMAT, "work": work} | {name: getattr(plan, name) for name in _HEAD_FIELDS}
    stream.write(record.to_frame(pickling.dumps(head)))
    for start in range(0, len(plan), PSETS_PER_PICKLE):
        psets = plan.psets[start : start + PSETS_PER_PICKLE]
        stream.write(record.to_frame(_dump_psets(psets, start)))


def load(stream: BinaryIO) -> tuple[Plan, bytes]:
    """Return a plan and the packed `Work` of its run.

    Raises
    ------
    PlanError
        If the file is damaged, or a later version of this package has written it.
    """
    frames = record.read_frames(stream)
    head: dict[str, Any] = pickling.loads(next(frames, b"N."))  # "N." is a pickled None
    if not head:
        raise PlanError("the plan of the run is damaged: nothing of it can be read")
    check_format(head["format"], FORMAT, "the plan", PlanError)
    psets = [pset for frame in frames for pset in pickling.loads(frame)]
    plan = Plan(**{name: head[name] for name in _HEAD_FIELDS}, psets=psets)
    if len(psets) * DIGEST_SIZE != len(plan.digests):
        raise PlanError(
            f"the plan of run {plan.run_id} is damaged: {len(psets)} of "
            f"{len(plan.digests) // DIGEST_SIZE} psets can be read"
        )
    return plan, head["work"]


def load_numbers(stream: BinaryIO) -> tuple[int, int, int]:
    """Return the ``_run_seq`` of a plan, its first ``_pset_seq`` and how many psets it has.

    No code of the user is run.

    Raises
    ------
    PlanError
        If the file is damaged, or a later version of this package has written it.
    """
    head = plain.loads(next(record.read_frames(stream), b"N."))
    if not head:
        raise PlanError("the plan of the run is damaged: nothing of it can be read")
    check_format(head["format"], FORMAT, "the plan", PlanError)
    return head["run_seq"], head["seqs"][0], len(head["digests"]) // DIGEST_SIZE


def _dump_psets(psets: list[Pset], start: int) -> bytes:
    try:
        return pickling.dumps(psets)
    except Exception:  # whatever __reduce__ of a foreign class raises
        for place, pset in enumerate(psets, start):
            for key, value in pset.items():
                try:
                    pickling.dumps(value)
                except Exception as err:
                    raise PlanError(
                        f"params[{place}]: the value of key {key!r} cannot be pickled ({err}), "
                        "so it cannot be sent to a worker; pass what func can make it from"
                    ) from err
        raise
