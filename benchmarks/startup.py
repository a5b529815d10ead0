"""Measure how long an import takes in a fresh interpreter, ours and others, and our help text.

Run it with: python benchmarks/startup.py [--quick] [--json]

The rounds alternate between them, after one round that is not counted.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from common import Report, Timing, measure, options

MODULES = ("psweep_dask", "psweep", "pandas", "dask.distributed", "sys")
COMMANDS = {
    f"python -c 'import {name}'": [sys.executable, "-c", f"import {name}"] for name in MODULES
}
COMMANDS["psweep-dask --help"] = [str(Path(sys.executable).with_name("psweep-dask")), "--help"]
OURS = "python -c 'import psweep_dask'"


@options
def main(as_json: bool, quick: bool) -> None:
    report = Report("startup", as_json)
    report.facts()
    repeats = 3 if quick else 7
    rounds = [one_round() for _ in range(1 + repeats)][1:]
    timings = {name: Timing(tuple(one[name] for one in rounds)) for name in COMMANDS}
    for name, timing in timings.items():
        report.measurement(
            command=name,
            seconds=timing.seconds,
            ratio_to_ours=timing.median / timings[OURS].median,
        )
    report.table(
        [
            {
                "command": name,
                "median ms": 1e3 * timing.median,
                "x ours": timing.median / timings[OURS].median,
            }
            for name, timing in timings.items()
        ],
        f"Wall time, median of {repeats}.",
    )


def one_round() -> dict[str, float]:
    return {
        name: measure(partial(start, command), repeats=1).median
        for name, command in COMMANDS.items()
    }


def start(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
