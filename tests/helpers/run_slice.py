"""Slices that run in this process, for tests of what a worker does."""

from __future__ import annotations

from psweep_dask.params.pset import check_params
from psweep_dask.storage.pickling import PackedValue, dumps
from psweep_dask.worker.runner import Runner
from psweep_dask.worker.task import SlicePayload, run_psets
from psweep_dask.worker.work import Work

RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"


def payload_of(psets, first_seq=10, **options):
    psets, digests = check_params(psets)
    return SlicePayload(list(range(first_seq, first_seq + len(psets))), psets, digests, **options)


def run(func, psets, budget=60.0, attempts=None, spare=(), stopped=lambda: False, **options):
    payload = payload_of(psets, attempts=attempts or {}, spare=frozenset(spare))
    work = Work(RUN_ID, 3, "calc", dumps(func), **options)
    return run_psets(Runner(Work.unpack(work.pack()), func), payload.pack(), budget, stopped)


def records(result):
    return [
        {
            name: value.open() if isinstance(value, PackedValue) else value
            for name, value in zip(names, values, strict=True)
        }
        for names, columns in result.blocks()
        for values in zip(*columns, strict=True)
    ]


def only_record(func, pset=None, **options):
    (record,) = records(run(func, [pset or {"a": 1}], **options))
    return record
