"""A look at whether a machine can run our jobs: one small job is submitted and asked."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dask.utils import format_bytes

from psweep_dask.errors import PsweepError
from psweep_dask.hpc.machine import Machine, read_machine
from psweep_dask.study.stop import Stopper

PACKAGES = ("psweep_dask", "dask", "distributed", "cloudpickle", "pandas", "numpy", "tornado")
"""What driver and workers should have in the same version."""

FILES = 1024
"""Open files that a driver should be allowed: each worker takes two."""

SKEW = 5.0
"""Seconds by which clocks may differ."""

ROOM = 2**30
"""Bytes that should be free where workers keep their files."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    what : str
    found : str
    advice : str
        What to change; empty if all is well.
    """

    what: str
    found: str
    advice: str = ""


def examine(name: str, tell: Callable[[str], object] = lambda _: None) -> list[Check]:
    """Submit one small job to a machine, and see whether runs can work there.

    Parameters
    ----------
    name : str
        Of the machine.
    tell : callable, optional
        Is told what it waits for.

    Returns
    -------
    list of Check

    Raises
    ------
    PsweepError
        If the machine is not described well enough to submit a job.
    """
    machine = replace(read_machine(name), jobs=1)
    folder = Path(tempfile.mkdtemp(prefix=".psweep_dask-doctor-", dir=Path.cwd()))
    try:
        return list(_examine(machine, folder, tell))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _examine(machine: Machine, folder: Path, tell: Callable[[str], object]) -> Iterator[Check]:
    from psweep_dask.clusters.remote import RunContext, machine_workers

    yield _open_files()
    context = RunContext(str(uuid.uuid4()), folder, folder / "jobs", folder, Stopper(), tell)
    began = time.monotonic()
    with machine_workers(machine, context, {}, None) as (client, supply):
        try:
            while not supply.slots(1):
                time.sleep(0.2)
        except PsweepError as err:
            yield Check("a worker comes", "no", str(err))
            return
        yield Check("a worker comes", f"after {time.monotonic() - began:.0f} s")
        token = folder / "from_driver"
        token.write_text("here")
        before = time.time()
        there: dict[str, Any] = client.submit(look_around, str(folder), list(PACKAGES)).result()
        yield from compare(there, folder, before, time.time())


def look_around(folder: str, packages: list[str]) -> dict[str, Any]:
    """Tell what a worker sees; runs there."""
    seen = Path(folder, "from_driver")
    try:
        Path(folder, "from_worker").write_text("there")
        sees_files = seen.read_text() == "here"
    except OSError:
        sees_files = False
    return {
        "host": socket.gethostname(),
        "sees_files": sees_files,
        "cwd": str(Path.cwd()),
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": _versions(packages),
        "cores": _cores(),
        "free": shutil.disk_usage(tempfile.gettempdir()).free,
        "temporary": tempfile.gettempdir(),
        "time": time.time(),
    }


def compare(there: dict[str, Any], folder: Path, before: float, after: float) -> Iterator[Check]:
    """Say what a worker sees otherwise than this process.

    Parameters
    ----------
    there : dict
        As `look_around` gives it.
    folder : Path
        Where both have left a file.
    before, after : float
        When the worker was asked, and when its answer came.
    """
    host = there["host"]
    both_ways = there["sees_files"] and (folder / "from_worker").exists()
    yield Check(
        "shared files",
        f"{host} and this machine {'see' if both_ways else 'do not see'} each other's",
        ""
        if both_ways
        else f"start in a folder that {host} mounts under the same path, not in {Path.cwd()}",
    )
    same = there["cwd"] == str(Path.cwd())
    advice = "relative paths of func mean something else there: use absolute ones"
    yield Check("working folder", there["cwd"], "" if same else advice)
    own = platform.python_version()
    yield Check(
        "Python",
        f"{there['python']} ({there['executable']})",
        "" if there["python"] == own else f"here it is {own}: set jobqueue: python: in info.yaml",
    )
    yield _packages(there["packages"])
    yield Check("cores", f"{there['cores']} on {host}")
    low = there["free"] < ROOM
    advice = "set jobqueue: local_directory: in info.yaml to a folder with more room"
    found = f"{format_bytes(there['free'])} free in {there['temporary']}"
    yield Check("room for temporary files", found, advice if low else "")
    skew = max(before - there["time"], there["time"] - after, 0.0)
    advice = "clocks differ: _time_utc of rows will not be in order; have the site mend that"
    yield Check("clocks", f"{skew:.1f} s apart", advice if skew > SKEW else "")


def _packages(there: dict[str, str]) -> Check:
    here = _versions(list(PACKAGES))
    differ = [
        f"{one} {there[one]} (here {here[one]})" for one in PACKAGES if there[one] != here[one]
    ]
    if not differ:
        return Check("packages", f"the same {len(here)} versions, dask {here['dask']}")
    return Check("packages", ", ".join(differ), "use the same environment: jobqueue: python:")


def _open_files() -> Check:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = limit == resource.RLIM_INFINITY or limit >= FILES
    advice = f"workers beyond {limit // 4} will not get through: ulimit -n {FILES}"
    return Check("open files here", str(limit), "" if enough else advice)


def _cores() -> int:
    counts = getattr(os, "sched_getaffinity", None)
    return len(counts(0)) if counts else os.cpu_count() or 1


def _versions(packages: list[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found
