"""Measure the memory that a pset costs in the driver: its peak for few and for many psets.

Run it with: python benchmarks/memory.py [--quick] [--json]

Each size runs in a process of its own; func does nothing. The growth holds all that stays for a
pset: the user's own dict in params, and its row in the DataFrame.
"""

from __future__ import annotations

import resource
import subprocess
import sys

import click
from common import Pset, Report, options, quiet, study_folder

SIZES = (20_000, 200_000)
QUICK_SIZES = (5_000, 50_000)


def nothing(pset: Pset) -> dict[str, object]:
    return {}


def params_alone(params: list[Pset]) -> int:
    import pandas as pd  # noqa: F401  (what a script of this kind has in memory anyway)

    return len(params)


def psweep_serial(params: list[Pset]) -> int:
    import psweep

    return len(psweep.run(nothing, params))


def ours(params: list[Pset]) -> int:
    import psweep_dask

    return len(psweep_dask.run_local(nothing, params, poolsize=2))


# They import what they need themselves: each child shall hold no more than that.
CONTESTANTS = {
    "params alone": params_alone,
    "psweep, serial": psweep_serial,
    "psweep_dask, poolsize=2": ours,
}


@options
def main(as_json: bool, quick: bool) -> None:
    report = Report("memory", as_json)
    report.facts()
    few, many = QUICK_SIZES if quick else SIZES
    rows = []
    for name in CONTESTANTS:
        peaks = {size: peak_of_driver(name, size) for size in (few, many)}
        growth = (peaks[many] - peaks[few]) / (many - few)
        for size, peak in peaks.items():
            report.measurement(contestant=name, psets=size, peak_kib=peak)
        report.measurement(contestant=name, growth_kib_per_pset=growth)
        columns = {f"MiB at {size:,}": peak / 1024 for size, peak in peaks.items()}
        rows.append({"contestant": name, **columns, "KiB per pset": growth})
    report.table(rows, "Peak resident memory of the driver process, and its growth.")


def peak_of_driver(name: str, size: int) -> float:
    """Give the peak in KiB of a fresh process that runs so many psets.

    On Linux a child begins with the peak of its parent: this process must import nothing large.
    """
    child = [sys.executable, __file__, "--child", name, str(size)]
    return float(subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout)


def drive(name: str, size: int) -> None:
    """Run psets, then say what the peak was: all that a child does."""
    quiet()
    with study_folder():
        rows = CONTESTANTS[name]([{"a": number} for number in range(size)])
    if rows != size:
        raise click.ClickException(f"{rows} rows for {size} psets")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    click.echo(peak / 1024 if sys.platform == "darwin" else peak)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        drive(sys.argv[2], int(sys.argv[3]))
    else:
        main()
