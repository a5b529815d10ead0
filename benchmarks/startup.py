"""Measure how long an import takes in a fresh interpreter: ours and what a user would pick.

Run it with: python benchmarks/startup.py [--quick] [--json]

The rounds alternate between the modules, after one round that is not counted.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from common import Report, Timing, measure, options

MODULES = ("psweep_dask", "psweep", "pandas", "dask.distributed", "sys")
OURS = "psweep_dask"


@options
def main(as_json: bool, quick: bool) -> None:
    report = Report("startup", as_json)
    report.facts()
    repeats = 3 if quick else 7
    rounds = [one_round() for _ in range(1 + repeats)][1:]
    timings = {module: Timing(tuple(one[module] for one in rounds)) for module in MODULES}
    for module, timing in timings.items():
        report.measurement(
            module=module,
            seconds=timing.seconds,
            ratio_to_ours=timing.median / timings[OURS].median,
        )
    report.table(
        [
            {
                "python -c": f"import {module}",
                "median ms": 1e3 * timing.median,
                "x ours": timing.median / timings[OURS].median,
            }
            for module, timing in timings.items()
        ],
        f"Wall time, median of {repeats}.",
    )


def one_round() -> dict[str, float]:
    return {module: measure(partial(import_it, module), repeats=1).median for module in MODULES}


def import_it(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)


if __name__ == "__main__":
    main()
