"""The address of dask's dashboard, as a person can open it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import dask.config

SETTING = "distributed.dashboard.link"

PAGE = "/psweep"
"""Our page in the dashboard."""

PLAIN = "{scheme}://{host}:{port}/status"
"""How dask writes the address unless it is told otherwise."""


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
