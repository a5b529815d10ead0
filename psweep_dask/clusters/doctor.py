"""Whether a machine can run our jobs: one small job is submitted, and its worker looks around."""

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

from psweep_dask.clusters.executor import ExecutorRequest
from psweep_dask.errors import PsweepError
from psweep_dask.hpc.machine import Machine, read_machine
from psweep_dask.study.stop import Stopper
from psweep_dask.worker.work import Work

PACKAGES = ("psweep_dask", "dask", "distributed", "cloudpickle", "pandas", "numpy", "tornado")
"""Packages that driver and workers should have in the same version."""

MIN_OPEN_FILES = 1024
"""So many open files a driver should be allowed: each worker takes two."""

MAX_SKEW_SECONDS = 5.0
"""By so much the clocks of driver and worker may differ."""

MIN_FREE_BYTES = 2**30
"""So much should be free on the disk where workers keep temporary files."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    topic: str
    finding: str
    advice: str = ""  # what to change; empty if all is well


def examine(name: str, show_wait: Callable[[str], object] = lambda _: None) -> list[Check]:
    """Submit one small job to a machine, and check whether runs can work there.

    Parameters
    ----------
    name : str
        The name of the machine.
    show_wait : callable, optional
        Called with a str that says what is waited for; with "" when that is over.

    Returns
    -------
    list of Check

    Raises
    ------
    psweep_dask.hpc.machine_schema.MachineError
        If the machine is not described well enough to submit a job.
    """
    machine = replace(read_machine(name), jobs=1)
    folder = Path(tempfile.mkdtemp(prefix=".psweep_dask-doctor-", dir=Path.cwd()))
    try:
        return list(_examine(machine, folder, show_wait))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _examine(machine: Machine, folder: Path, show_wait: Callable[[str], object]) -> Iterator[Check]:
    from psweep_dask.clusters.remote import open_job_cluster  # distributed takes half a second

    yield _check_open_files()
    request = ExecutorRequest(
        work=Work(run_id="0", run_seq=0, calc_dir="", func=b""),
        func_name="doctor",
        run_id=str(uuid.uuid4()),
        stopper=Stopper(),
        show_wait=show_wait,
        shared_dir=folder,
        log_dir=folder,
    )
    began = time.monotonic()
    with open_job_cluster(machine, request) as (client, pool):
        try:
            while not pool.slots(1):
                time.sleep(0.2)
        except PsweepError as err:
            yield Check("a worker comes", "no", str(err))
            return
        yield Check("a worker comes", f"after {time.monotonic() - began:.0f} s")
        (folder / "from_driver").write_text("here")
        before = time.time()
        seen: dict[str, Any] = client.submit(look_around, str(folder), list(PACKAGES)).result()
        yield from compare(seen, folder, before, time.time())


def look_around(folder: str, packages: list[str]) -> dict[str, Any]:
    """Return what a worker sees; runs there, and adds a file to that of the driver in a folder."""
    try:
        Path(folder, "from_worker").write_text("there")
        sees_files = Path(folder, "from_driver").read_text() == "here"
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


def compare(seen: dict[str, Any], folder: Path, before: float, after: float) -> Iterator[Check]:
    """Compare what `look_around` has seen on a worker with what this process sees.

    Parameters
    ----------
    seen : dict
    folder : Path
        Where both have left a file.
    before, after : float
        When the worker was asked, and when its answer came.
    """
    host = seen["host"]
    shared = seen["sees_files"] and (folder / "from_worker").exists()
    yield Check(
        "shared files",
        f"{host} and this machine {'see' if shared else 'do not see'} each other's",
        ""
        if shared
        else f"start in a folder that {host} mounts under the same path, not in {Path.cwd()}",
    )
    same = seen["cwd"] == str(Path.cwd())
    advice = "relative paths of func mean something else there: use absolute ones"
    yield Check("working folder", seen["cwd"], "" if same else advice)
    own = platform.python_version()
    yield Check(
        "Python",
        f"{seen['python']} ({seen['executable']})",
        "" if seen["python"] == own else f"here it is {own}: set jobqueue: python: in info.yaml",
    )
    yield _check_packages(seen["packages"])
    yield Check("cores", f"{seen['cores']} on {host}")
    low = seen["free"] < MIN_FREE_BYTES
    advice = "set jobqueue: local_directory: in info.yaml to a folder with more room"
    finding = f"{format_bytes(seen['free'])} free in {seen['temporary']}"
    yield Check("room for temporary files", finding, advice if low else "")
    skew = max(before - seen["time"], seen["time"] - after, 0.0)
    advice = "clocks differ: _time_utc of rows will not be in order; ask the site to correct that"
    yield Check("clocks", f"{skew:.1f} s apart", advice if skew > MAX_SKEW_SECONDS else "")


def _check_packages(there: dict[str, str]) -> Check:
    here = _versions(list(PACKAGES))
    different = [
        f"{name} {there[name]} (here {here[name]})"
        for name in PACKAGES
        if there[name] != here[name]
    ]
    if not different:
        return Check("packages", f"the same {len(here)} versions, dask {here['dask']}")
    return Check("packages", ", ".join(different), "use the same environment: jobqueue: python:")


def _check_open_files() -> Check:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = limit == resource.RLIM_INFINITY or limit >= MIN_OPEN_FILES
    advice = f"workers beyond {limit // 4} will not get through: ulimit -n {MIN_OPEN_FILES}"
    return Check("open files here", str(limit), "" if enough else advice)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _versions(packages: list[str]) -> dict[str, str]:
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions
