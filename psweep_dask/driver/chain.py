"""A script that runs as a chain of batch jobs: each goes on where the one before has ended.

The jobs of a chain run the same script. A call of `run` that an earlier job has finished gives the
database at once, the one in which that job was stopped is resumed, and the others run.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import dask.config

from psweep_dask.storage.layout import Layout
from psweep_dask.study.runs import StoredRun, stored_runs
from psweep_dask.study.stop import was_terminated

GO_ON = 75
"""Exit code of a script that was stopped before its end: EX_TEMPFAIL, come back later."""

_calls: Counter[str] = Counter()


def chain() -> str | None:
    """Tell the id of the chain that this process belongs to."""
    found: str | None = dask.config.get("psweep.chain", None)
    return found


def mark(digests: bytes) -> dict[str, Any]:
    """Tell what ``run.json`` needs for a later job to find this run."""
    if chain() is None:
        return {}
    return {"chain": chain(), "params": _name(digests)}


def earlier(layout: Layout, digests: bytes) -> StoredRun | None:
    """Find the run of an earlier job of the chain that this call of `run` has begun there.

    Parameters
    ----------
    layout : Layout
    digests : bytes
        The hashes of the psets: calls are told apart by them, equal ones by their order.
    """
    if chain() is None:
        return None
    wanted = mark(digests)
    number = _calls[_name(digests)]
    _calls[_name(digests)] += 1
    found = [past for past in stored_runs(layout) if wanted.items() <= past.info.items()]
    return found[number] if number < len(found) else None


def leave_if_terminated() -> None:
    """End the script if a batch system has asked for it: what follows is for the next job."""
    if chain() is not None and was_terminated():
        raise SystemExit(GO_ON)


def _name(digests: bytes) -> str:
    return hashlib.sha1(digests, usedforsecurity=False).hexdigest()
