"""A nanny whose scheduler is gone: a real one. With func holding the GIL it was tried by hand."""

from __future__ import annotations

import asyncio

import pytest
from distributed import Nanny, Scheduler

from psweep_dask.clusters import plugins


@pytest.mark.parametrize("gone", [True, False])
def test_a_nanny_leaves_when_its_scheduler_is_gone_and_not_before(monkeypatch, gone):
    monkeypatch.setattr(plugins, "SEARCH_INTERVAL", 0.2)
    monkeypatch.setattr(plugins, "GONE", 1.0)
    ended = asyncio.run(leaves(gone))
    assert ended == gone


async def leaves(gone):
    """Tell whether a nanny has ended its worker and left, some time after its scheduler."""
    ended = []
    async with Scheduler(dashboard=False, port=0, host="127.0.0.1") as scheduler:
        nanny = await Nanny(scheduler.address, nthreads=1, memory_limit=0)
        try:
            leaving = asyncio.create_task(
                plugins.leave_without_scheduler(nanny, lambda: ended.append(True))
            )
            if gone:
                await scheduler.close()
                await asyncio.wait_for(leaving, 30)
            else:
                await asyncio.wait([leaving], timeout=2.5)
                leaving.cancel()
        finally:
            await nanny.close(timeout=5)
    return bool(ended)
