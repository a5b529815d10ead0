"""Measure what it costs to append 10 psets to a database of 100,000 rows: ours and psweep.

Run it with: python benchmarks/append.py [--quick] [--json]

Each package appends to the database that it has written itself, func does nothing. Ours runs on a
LocalCluster of two workers that is up, psweep serially, which is its quickest for so few psets.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import pandas as pd
import psweep
from common import Pset, Report, Timing, measure, options, quiet, study_folder

import psweep_dask

ROWS = 100_000
QUICK_ROWS = 20_000
APPENDED = 10

Run = Callable[[list[Pset]], pd.DataFrame]


def nothing(pset: Pset) -> dict[str, object]:
    return {}


CONTESTANTS: dict[str, Run] = {
    "psweep, serial": partial(psweep.run, nothing),
    "psweep_dask, poolsize=2": partial(psweep_dask.run_local, nothing, poolsize=2),
}
OURS = "psweep_dask, poolsize=2"


@options
def main(as_json: bool, quick: bool) -> None:
    quiet()
    report = Report("append", as_json)
    report.facts()
    rows = QUICK_ROWS if quick else ROWS
    timings = {name: timing(run, rows) for name, run in CONTESTANTS.items()}
    per_row = {name: one.median / APPENDED for name, one in timings.items()}
    for name, one in timings.items():
        report.measurement(
            contestant=name,
            rows=rows,
            appended=APPENDED,
            seconds=one.seconds,
            seconds_per_appended_row=per_row[name],
            ratio_to_ours=per_row[name] / per_row[OURS],
        )
    report.table(
        [
            {
                "contestant": name,
                "rows": rows,
                "median s": one.median,
                "s per appended row": per_row[name],
                "x ours": per_row[name] / per_row[OURS],
            }
            for name, one in timings.items()
        ],
        f"Median of {len(timings[OURS].seconds)}, {APPENDED} psets appended.",
    )


def timing(run: Run, rows: int) -> Timing:
    with study_folder() as built:
        run([{"a": number} for number in range(rows)])
    return measure(partial(append, run, rows), prepare=partial(copy_study, built))


def copy_study(built: Path) -> None:
    shutil.copytree(built, ".", dirs_exist_ok=True)


def append(run: Run, rows: int) -> None:
    df = run([{"a": rows + number} for number in range(APPENDED)])
    if len(df) != rows + APPENDED:
        raise click.ClickException(f"{len(df)} rows instead of {rows + APPENDED}")


if __name__ == "__main__":
    main()
