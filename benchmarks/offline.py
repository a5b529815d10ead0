"""Measure an offline study in SLURM: one job array against as many single jobs.

Run it with: python benchmarks/offline.py [--quick] [--json]

It needs a SLURM, such as that of slurm-lab. The columns are seconds: to prepare the psets, to
submit the jobs, to run them until the queue is empty, and to collect the results. With templates, a
job is a shell script that writes a line; with func, it starts Python and calls func.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from common import Report, options, quiet, study_folder

import psweep_dask as ps

PSETS = 1000
QUICK_PSETS = 50

JOBSCRIPT = "#!/bin/sh\n#SBATCH --time=5\n#SBATCH --ntasks=1\n#SBATCH --mem=200M\n"


def func(pset: dict[str, Any]) -> dict[str, Any]:
    return {"y": pset["a"]}


def write_study(with_func: bool) -> None:
    files = {"templates/machines/slurm/info.yaml": "subcmd: sbatch\n"}
    job = f"{sys.executable} -m psweep_dask.offline.job\n" if with_func else "echo $a >out.txt\n"
    files["templates/machines/slurm/jobscript"] = JOBSCRIPT + job
    files["templates/calc/input.txt"] = "a = $a\n"
    for name, text in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def wait_for_jobs() -> None:
    command = ["squeue", "--me", "--noheader", "--states=PENDING,RUNNING,COMPLETING"]
    while subprocess.run(command, capture_output=True, check=True).stdout:
        time.sleep(0.5)


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measured(psets: int, with_func: bool, array: bool) -> dict[str, Any]:
    write_study(with_func)
    row: dict[str, Any] = {"jobs": "one array" if array else "single"}
    row["of"] = "func" if with_func else "templates"
    params = ps.plist("a", range(psets))
    row["prepare"] = seconds(
        lambda: ps.prep_batch(params, func=func if with_func else None, array=array)
    )
    submit = ["sh", "calc/run_slurm.sh"]
    row["submit"] = seconds(lambda: subprocess.run(submit, capture_output=True, check=True))
    row["run"] = seconds(wait_for_jobs)
    row["collect"] = seconds(lambda: ps.collect("calc"))
    counts = ps.load("calc")._status.value_counts().to_dict()
    if counts != {"ok": psets}:
        raise click.ClickException(f"not all psets are ok: {counts}")
    total = sum(value for value in row.values() if isinstance(value, float))
    return row | {"total": total, "ms a pset": 1000 * total / psets}


@options
def main(quick: bool, as_json: bool) -> None:
    if "SLURM_CONF" not in os.environ or shutil.which("sbatch") is None:
        raise click.ClickException("this needs a SLURM, and SLURM_CONF to say where it is")
    quiet()
    report = Report("offline", as_json)
    report.facts()
    psets = QUICK_PSETS if quick else PSETS
    rows = []
    for with_func in (False, True):
        for array in (False, True):
            with study_folder():
                row = measured(psets, with_func, array)
            report.measurement(psets=psets, **row)
            rows.append(row)
    report.table(rows, f"{psets} psets each; on this machine SLURM and its jobs share the cores")


if __name__ == "__main__":
    main()
