"""What psweep_dask adds to dask's dashboard: its page, and the numbers of it for scripts."""

from __future__ import annotations

import importlib.util
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dask.config
from distributed.http.utils import RequestHandler, get_handlers

from psweep_dask.monitoring.dashboard_runs import cluster_numbers, registered

if TYPE_CHECKING:
    from distributed import Scheduler

SETTING = "distributed.dashboard.link"

PAGE = "/psweep"
"""Our page in the dashboard."""

PLAIN = "{scheme}://{host}:{port}/status"
"""How dask writes the address unless it is told otherwise."""

STATUS = "/psweep/status.json"
INDIVIDUAL = "/individual-psweep"
"""Where JupyterLab's Dask panel finds it."""

_ROUTES = "distributed.scheduler.http.routes"


def scheduler_settings() -> dict[str, Any]:
    """Have the next scheduler of this process carry the page; gives the dask settings for that."""
    if has_bokeh():
        from distributed.dashboard.scheduler import applications

        from psweep_dask.monitoring import page

        applications[PAGE] = applications[INDIVIDUAL] = page.document
    routes = dask.config.get(_ROUTES)
    return {_ROUTES: [*(one for one in routes if one != __name__), __name__]}


def add_to(scheduler: Scheduler) -> None:
    """Have a scheduler that runs already carry the page."""
    if scheduler in _carriers:
        return
    _carriers.add(scheduler)
    application = scheduler.http_application
    application.add_handlers(".*$", get_handlers(scheduler, [__name__]))
    if has_bokeh():
        from distributed.dashboard.core import BokehApplication
        from tornado.ioloop import IOLoop

        from psweep_dask.monitoring import page

        pages = BokehApplication({PAGE: page.document, INDIVIDUAL: page.document}, scheduler)
        application.add_application(pages)
        pages.initialize(IOLoop.current())
        pages.start()


_carriers: weakref.WeakSet[Scheduler] = weakref.WeakSet()


def has_bokeh() -> bool:
    """Tell whether dask's dashboard can be had here."""
    return importlib.util.find_spec("bokeh") is not None


def status(scheduler: Scheduler) -> dict[str, Any]:
    """Give what ``/psweep/status.json`` holds."""
    return {"cluster": cluster_numbers(scheduler), "runs": [one.as_dict() for one in registered()]}


class StatusJSON(RequestHandler):
    """The numbers for scripts."""

    def get(self) -> None:
        """Answer a request."""
        self.set_header("Cache-Control", "no-store")
        self.write(status(self.server))


class PlainPage(RequestHandler):
    """The numbers for people, where there is no bokeh."""

    def get(self) -> None:
        """Answer a request."""
        self.write(_PLAIN_PAGE)


_PLAIN_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><link rel="icon" href="data:,"><title>psweep_dask</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
th { text-align: left; font-weight: normal; opacity: 0.7; padding-right: 2rem; }
pre { overflow-x: auto; }
</style></head>
<body><h1>psweep_dask</h1><div id="runs">no run yet</div>
<script>
const text = (tag, value, to) => {
  const made = document.createElement(tag);
  made.textContent = value;
  return to.appendChild(made);
};
async function look() {
  const open = new Set([...document.querySelectorAll("details[open]")].map(one => one.id));
  const now = await (await fetch("psweep/status.json")).json();
  const all = document.createElement("div");
  for (const run of now.runs) {
    text("h2", `${run.func} in ${run.study}`, all);
    const table = all.appendChild(document.createElement("table"));
    const numbers = {
      run: run.run_id, psets: `${run.done} of ${run.total}`,
      ...run.counts, "psets a second": run.psets_per_second.toPrecision(3),
      "seconds left": run.seconds_left === null ? "?" : run.seconds_left.toFixed(0),
      workers: now.cluster.workers,
    };
    for (const [name, value] of Object.entries(numbers)) {
      const row = table.appendChild(document.createElement("tr"));
      text("th", name, row);
      text("td", value, row);
    }
    for (const one of run.failures) {
      const details = all.appendChild(document.createElement("details"));
      details.id = `${run.run_id}-${one.pset_seq}`;
      details.open = open.has(details.id);
      text("summary", `pset ${one.pset_seq}, ${one.pset}: ${one.kind}`, details);
      text("pre", one.traceback, details);
    }
  }
  if (now.runs.length) document.getElementById("runs").replaceChildren(all);
}
look();
setInterval(look, 1000);
</script></body></html>
"""

routes: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [
    (STATUS.lstrip("/"), StatusJSON, {}),
    *([] if has_bokeh() else [(PAGE.lstrip("/"), PlainPage, {})]),
]
"""What distributed looks for in a module that its setting ``scheduler.http.routes`` names."""


def dashboard_link(of: Any, on_loopback: bool = False, with_page: bool = False) -> str | None:
    """Tell the address of the dashboard of a Client or a Cluster.

    The user may have said how it looks, to go through a proxy. If that names a variable that is
    not set here, where there is no such proxy, it holds as little as if they had not.

    Parameters
    ----------
    of : Client or Cluster
    on_loopback : bool, optional
        Whether the dashboard listens on loopback only; dask would name the machine.
    with_page : bool, optional
        Whether it has our page: then the address is that of the page.
    """
    link: str | None
    plain = dask.config.get(SETTING) == PLAIN
    try:
        link = of.dashboard_link
    except KeyError:
        plain = True
        with dask.config.set({SETTING: PLAIN}):
            link = of.dashboard_link
    if not link:
        return None
    if on_loopback and plain:
        link = urlsplit(link)._replace(netloc=f"127.0.0.1:{urlsplit(link).port}").geturl()
    return link.removesuffix("/status") + PAGE if with_page and link.endswith("/status") else link
