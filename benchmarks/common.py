"""What the benchmarks share: options, timing in a fresh study folder, tables, machine facts.

Not a script. The others import it as the module beside them: ``python benchmarks/<script>.py``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

PACKAGES = ("psweep_dask", "psweep", "dask", "distributed", "joblib", "pandas", "numpy")

Pset = dict[str, Any]


def options(command: Callable[..., None]) -> click.Command:
    """Make a click command of a function that takes `as_json` and `quick`."""
    command = click.option("--quick", is_flag=True, help="Finish in a minute: less of all.")(
        command
    )
    command = click.option(
        "--json", "as_json", is_flag=True, help="JSON lines to stdout, the table to stderr."
    )(command)
    return click.command(help=sys.modules[command.__module__].__doc__)(command)


@dataclass(frozen=True)
class Timing:
    """Seconds of the same work, measured several times."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Report:
    """Shows what a benchmark has measured: as a table, and with --json a line a measurement."""

    benchmark: str
    as_json: bool

    def facts(self) -> None:
        """Tell on what machine, and with which versions, the numbers were made."""
        facts = machine_facts()
        self.measurement(machine=facts)
        self._say(
            f"{self.benchmark}: " + ", ".join(f"{name} {fact}" for name, fact in facts.items())
        )

    def measurement(self, **fields: Any) -> None:
        if self.as_json:
            click.echo(json.dumps({"benchmark": self.benchmark, **fields}))

    def table(self, rows: Sequence[Mapping[str, Any]], note: str = "") -> None:
        rounded = [{name: _rounded(cell) for name, cell in row.items()} for row in rows]
        self._say(tabulate(rounded, headers="keys"))
        if note:
            self._say(note)

    def _say(self, text: str) -> None:
        click.echo(text + "\n", err=self.as_json)


def machine_facts() -> dict[str, Any]:
    facts = {
        "cores": usable_cores(),
        "system": f"{platform.system()}-{platform.machine()}",
        "python": platform.python_version(),
    }
    return facts | {name: _version(name) for name in PACKAGES}


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux alone
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure(
    call: Callable[[], object], repeats: int = 3, prepare: Callable[[], object] = lambda: None
) -> Timing:
    """Time a call, each time in a fresh folder of which `prepare` may make a study first."""
    return Timing(tuple(_timed(call, prepare) for _ in range(repeats)))


@contextlib.contextmanager
def study_folder() -> Iterator[Path]:
    """Work in a fresh temporary folder."""
    folder = Path(tempfile.mkdtemp(dir=_all_studies()))
    with contextlib.chdir(folder):
        yield folder


def quiet() -> None:
    """Keep log lines and warnings of all packages out of the tables, those of workers too."""
    os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"
    warnings.simplefilter("ignore")
    for name in ("psweep_dask", "distributed"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("psweep_dask").addHandler(logging.NullHandler())


def timed(call: Callable[[], object]) -> float:
    """Give the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _timed(call: Callable[[], object], prepare: Callable[[], object]) -> float:
    with study_folder():
        prepare()
        return timed(call)


@functools.cache
def _all_studies() -> str:
    """Give the folder of all studies, which goes at exit: workers may stand in an earlier one."""
    folder = tempfile.mkdtemp(prefix="benchmark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _rounded(cell: object) -> object:
    return float(f"{cell:.3g}") if isinstance(cell, float) else cell


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
