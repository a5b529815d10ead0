"""What a run asks of an executor, with all that a test does not care about filled in."""

from __future__ import annotations

import uuid
from pathlib import Path

from helpers.run_slice import payload_of

from psweep_dask.clusters.executor import ExecutorRequest
from psweep_dask.storage.pickling import dumps
from psweep_dask.storage.record import HEADER, unpack
from psweep_dask.study.stop import Stopper
from psweep_dask.worker.work import Work

RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"


def work_of(func):
    """Work of a run of its own, since workers keep the func of a run that they know."""
    return Work(str(uuid.uuid4()), 0, "calc", dumps(func))


def executor_request(func=dict, **options):
    defaults = {
        "work": work_of(func),
        "func_name": "func",
        "run_id": RUN_ID,
        "stopper": Stopper(),
        "show_wait": lambda text: None,
        "shared_dir": Path.cwd(),
    }
    return ExecutorRequest(**defaults | options)


def packed_psets(*values):
    """The psets of a slice, each with one of the values as its parameter a."""
    return payload_of([{"a": value} for value in values]).pack()


def drain(executor):
    """Wait for all slices in flight; give their columns by the places of their psets."""
    results = {}
    while executor.in_flight:
        for slice_, result in executor.finished(30.0):
            (block,) = unpack(result.frame[HEADER.size :])
            results[tuple(slice_.places)] = dict(zip(*block, strict=True))
    return results
