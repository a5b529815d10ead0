"""What psweep_dask adds to dask's dashboard: the page `/psweep`, and its numbers as JSON."""

from __future__ import annotations

import logging
import os
import socket
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dask.config
from distributed import Client
from distributed.http.utils import RequestHandler, get_handlers

from psweep_dask.errors import PsweepError
from psweep_dask.monitoring.dashboard_runs import cluster_counts, report_to, shown_runs

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.deploy import Cluster

log = logging.getLogger("psweep_dask")

PAGE_PATH = "/psweep"
JUPYTERLAB_PATH = "/individual-psweep"  # JupyterLab offers paths that begin with individual-
STATUS_PATH = "/psweep/status.json"

# Settings of dask: how the address of a dashboard is written, and modules with `routes` to serve.
LINK_SETTING = "distributed.dashboard.link"
DASK_LINK = "{scheme}://{host}:{port}/status"  # the default
ROUTES_SETTING = "distributed.scheduler.http.routes"


class StatusJSON(RequestHandler):
    """Serves the numbers of the cluster and of the runs, for scripts."""

    def get(self) -> None:
        """Answer a request."""
        self.set_header("Cache-Control", "no-store")
        runs = [run.as_dict() for run in shown_runs()]
        self.write({"cluster": cluster_counts(self.server), "runs": runs})


routes: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [
    (STATUS_PATH.lstrip("/"), StatusJSON, {}),  # dask reads this list
]

_schedulers_with_page: weakref.WeakSet[Scheduler] = weakref.WeakSet()


class RegisterError(PsweepError):
    """The dashboard of a cluster cannot show runs."""


def scheduler_settings() -> dict[str, Any]:
    """Return the dask settings with which the next scheduler of this process has the page."""
    from distributed.dashboard.scheduler import applications

    applications.update(_bokeh_pages())
    modules = dask.config.get(ROUTES_SETTING) or []
    return {
        ROUTES_SETTING: [*(name for name in modules if name != __name__), __name__],
        LINK_SETTING: _form_of_link(),
    }


def _bokeh_pages() -> dict[str, Any]:
    from psweep_dask.monitoring import page  # bokeh takes long to import, and a Client needs none

    return {PAGE_PATH: page.fill_document, JUPYTERLAB_PATH: page.fill_document}


def register(client: Client) -> str | None:
    """Let the dashboard of a cluster show the runs that use it, at ``/psweep``.

    The dashboards of clusters that psweep_dask starts show them anyway.

    Parameters
    ----------
    client : Client
        A Client of that cluster. Its scheduler must be able to import psweep_dask.

    Returns
    -------
    str or None
        Address of the page; None if the cluster has no dashboard.

    Raises
    ------
    RegisterError
        If `client` is no Client of dask, or its scheduler cannot import psweep_dask.

    See Also
    --------
    run : Its argument `cluster` takes the Client.
    status : The state of all runs of a study, from its files.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> from distributed import Client
    >>> with Client(processes=False, n_workers=1, dashboard_address="127.0.0.1:0") as client:
    ...     ps.register(client)
    'http://.../psweep'
    """
    if not isinstance(client, Client) or client.asynchronous:
        raise RegisterError(f"register({client!r}): pass a dask Client that is not asynchronous")
    try:
        scheduler_process = client.run_on_scheduler(_add_page_on_scheduler)
    except ImportError as err:
        raise RegisterError(
            f"the scheduler cannot import psweep_dask ({err}); install it in its environment"
        ) from err
    if scheduler_process != (socket.gethostname(), os.getpid()):
        report_to(client)
    return dashboard_link(client, with_page=True)


def _add_page_on_scheduler(dask_scheduler: Scheduler) -> tuple[str, int]:
    """Add the page to the dashboard of a scheduler that runs already; return its process."""
    if dask_scheduler not in _schedulers_with_page:
        from distributed.dashboard.core import BokehApplication
        from tornado.ioloop import IOLoop

        _schedulers_with_page.add(dask_scheduler)
        http = dask_scheduler.http_application
        http.add_handlers(".*$", get_handlers(dask_scheduler, [__name__]))
        application = BokehApplication(_bokeh_pages(), dask_scheduler)
        http.add_application(application)
        application.initialize(IOLoop.current())
        application.start()
    return socket.gethostname(), os.getpid()


def dashboard_link(
    cluster: Client | Cluster, on_loopback: bool = False, with_page: bool = False
) -> str | None:
    """Return the address of the dashboard of a cluster; None if it has no dashboard.

    Users behind a proxy set the form of the address in dask's configuration. Where that form
    names an environment variable that is not set here, the default form holds. It also holds for a
    form that cannot be filled in; then a warning says so.

    Parameters
    ----------
    on_loopback : bool, optional
        Whether the dashboard listens on 127.0.0.1 only; dask would write the name of the machine.
    with_page : bool, optional
        Whether to return the address of our page.
    """
    form = _form_of_link()
    try:
        with dask.config.set({LINK_SETTING: form}):
            link: str | None = cluster.dashboard_link
    except KeyError:
        form = DASK_LINK
        with dask.config.set({LINK_SETTING: form}):
            link = cluster.dashboard_link
    if not link:
        return None
    if on_loopback and form == DASK_LINK:
        link = urlsplit(link)._replace(netloc=f"127.0.0.1:{urlsplit(link).port}").geturl()
    if with_page and link.endswith("/status"):
        link = link.removesuffix("/status") + PAGE_PATH
    return link


def _form_of_link() -> str:
    """Return the form of the address that the user has set, if it can be filled in at all."""
    form = dask.config.get(LINK_SETTING)
    try:
        form.format(**{**os.environ, "scheme": "http", "host": "node", "port": 8787})
    except KeyError:  # it names an environment variable that is not set
        pass
    except (ValueError, LookupError, AttributeError, TypeError) as err:
        _warn_of_form(repr(form), str(err))
        return DASK_LINK
    return str(form)


@cache  # once for each form
def _warn_of_form(form: str, error: str) -> None:
    log.warning(
        "dask's configuration has %s: %s, which cannot be filled in (%s); the default is used",
        LINK_SETTING,
        form,
        error,
    )
