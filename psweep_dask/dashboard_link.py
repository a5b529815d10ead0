"""The address of dask's dashboard, as a person can open it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import dask.config

SETTING = "distributed.dashboard.link"

PLAIN = "{scheme}://{host}:{port}/status"
"""How dask writes the address unless it is told otherwise."""


def dashboard_link(of: Any, on_loopback: bool = False) -> str | None:
    """Tell the address of the dashboard of a Client or a Cluster.

    The user may have said how it looks, to go through a proxy. If that names a variable that is
    not set here, where there is no such proxy, it holds as little as if they had not.

    Parameters
    ----------
    of : Client or Cluster
    on_loopback : bool, optional
        Whether the dashboard listens on loopback only; dask would name the machine.
    """
    link: str | None
    try:
        link = of.dashboard_link
    except KeyError:
        with dask.config.set({SETTING: PLAIN}):
            link = of.dashboard_link
    if not link or not on_loopback or dask.config.get(SETTING) != PLAIN:
        return link or None
    return urlsplit(link)._replace(netloc=f"127.0.0.1:{urlsplit(link).port}").geturl()
