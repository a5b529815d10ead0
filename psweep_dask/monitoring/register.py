"""``register``: the dashboard of a cluster that we have not started shows runs as well."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from psweep_dask.errors import PsweepError
from psweep_dask.monitoring import dashboard_runs
from psweep_dask.monitoring.dashboard_runs import RegisteredRun, Snapshot

if TYPE_CHECKING:  # it takes half a second to import
    from distributed import Client, Scheduler

INTERVAL = 2.0
"""Seconds between two reports to a scheduler in another process."""


PATIENCE = 5.0
"""Seconds that a run waits at its end until the last report is told."""


class RegisterError(PsweepError):
    """A cluster whose dashboard cannot show runs."""


def register(client: Client) -> str | None:
    """Have the dashboard of a cluster show runs that use it, at ``/psweep``.

    Clusters that psweep_dask starts do so without being asked.

    Parameters
    ----------
    client : Client
        Of that cluster. Its scheduler must be able to import psweep_dask.

    Returns
    -------
    str or None
        Address of the page; None if the cluster has no dashboard.

    Raises
    ------
    PsweepError
        If this is no Client of dask, or its scheduler cannot import psweep_dask.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> from distributed import Client
    >>> with Client(processes=False, n_workers=1, dashboard_address="127.0.0.1:0") as client:
    ...     ps.register(client)
    'http://.../psweep'
    """
    from distributed import Client

    from psweep_dask.monitoring.dashboard import dashboard_link

    if not isinstance(client, Client) or client.asynchronous:
        raise RegisterError(f"register({client!r}): pass a dask Client that is not asynchronous")
    try:
        where = client.run_on_scheduler(_carry_page)
    except ImportError as err:
        raise RegisterError(
            f"the scheduler cannot import psweep_dask ({err}); install it in its environment"
        ) from err
    if where != _here():
        _elsewhere.add(_address(client))
    return dashboard_link(client, with_page=True)


@contextmanager
def telling(client: Any, one: RegisteredRun) -> Iterator[None]:
    """Show a run in the dashboard of this process, and in that of its cluster where it is another.

    Parameters
    ----------
    client : Client or None
        The connection to the cluster; None if the run is in this process.
    one : Watched
    """
    dashboard_runs.show(one)
    if client is None or _address(client) not in _elsewhere:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_tell, args=(client, one, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE)


_elsewhere: set[str] = set()
"""Addresses of the schedulers in other processes whose dashboards show runs."""


def _tell(client: Client, one: RegisteredRun, over: threading.Event) -> None:
    last = False
    while not last:
        last = over.wait(INTERVAL)
        with suppress(OSError):  # the connection is broken: what counts is told later
            client.run_on_scheduler(_take_in, one=one.with_seen(Snapshot.of(one.seen)))


def _carry_page(dask_scheduler: Scheduler) -> tuple[str, int]:
    from psweep_dask.monitoring import dashboard

    dashboard.add_to(dask_scheduler)
    return _here()


def _take_in(dask_scheduler: Scheduler, one: RegisteredRun) -> None:
    dashboard_runs.show(one)


def _here() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


def _address(client: Client) -> str:
    scheduler = client.scheduler
    return "" if scheduler is None else str(scheduler.address)
