"""What a nanny does when its scheduler is gone for good: it ends its worker, and leaves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from distributed import Nanny
from distributed.comm import get_address_host_port

log = logging.getLogger("psweep_dask")

SEARCH_INTERVAL = 10.0
"""Seconds between two questions of a nanny whether there still is a scheduler."""

GONE = 60.0
"""Seconds without a scheduler that takes connections, after which a job of ours ends. A worker
would notice that itself, unless its func holds the GIL."""

SILENT = 600.0
"""The same for one that takes them and does not answer: its driver may be suspended."""


async def leave_without_scheduler(nanny: Nanny, end_worker: Callable[[], object]) -> None:
    """Close a nanny with its worker when there is no scheduler any more.

    Parameters
    ----------
    nanny : Nanny
    end_worker : callable
        Ends the worker process with all that it has started.
    """
    heard = time.monotonic()
    patience = GONE
    while time.monotonic() - heard < patience:
        await asyncio.sleep(SEARCH_INTERVAL)
        try:
            await asyncio.wait_for(nanny.scheduler.echo(data=None), SEARCH_INTERVAL)
        except (TimeoutError, OSError):  # dask's errors of connections are of this kind
            patience = SILENT if await _takes_connections(nanny.scheduler.address) else GONE
        else:
            heard = time.monotonic()
    log.warning("the driver is gone, so this worker leaves")
    end_worker()
    await nanny.close(timeout=5, reason="psweep_dask-driver-gone")


async def _takes_connections(address: str) -> bool:
    """Tell a scheduler that is gone from one that is suspended: dask tries for long with both."""
    host, port = get_address_host_port(address)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), SEARCH_INTERVAL)
    except (TimeoutError, OSError):
        return False
    writer.close()
    return True
