"""Measure a million psets end to end, what that grows like, and what others take.

Run it with: python benchmarks/million.py [--quick] [--json] [--plot million.png]

func returns a number. Each size and each contestant runs in a process of its own, on two workers;
starting these is not timed, where they outlive a call. Ours is timed from ps.run to the DataFrame,
with the journal and the database on disk. The memory is that of the driver, in which the scheduler
is too: with the params, then with the rows while they are merged at the end. Others run at sizes
that they can bear; those that are not installed are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from common import Pset, Report, options, quiet, study_folder

SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (10_000, 50_000, 100_000)
OTHERS = {
    "multiprocessing.Pool(2).map": ("pool_map", 1_000_000),
    "joblib.Parallel(n_jobs=2)": ("joblib_parallel", 1_000_000),
    "psweep, serial": ("psweep_serial", 100_000),
    "psweep, poolsize=2": ("psweep_pool", 100_000),
    "psweep, dask_client": ("psweep_dask_client", 2_000),
    "xyzpy, num_workers=2": ("xyzpy_runner", 10_000),
    "ray, num_cpus=2": ("ray_tasks", 10_000),
    "executorlib, max_workers=2": ("executorlib_submit", 1_000),
    "parsl, HighThroughputExecutor": ("parsl_apps", 2_000),
}
INTERVAL = 0.05


def func(pset: Pset) -> dict[str, object]:
    return {"y_": 2 * pset["a"]}


@click.option("--plot", type=click.Path(), help="Draw the memory of the driver over time.")
@options
def main(as_json: bool, quick: bool, plot: str | None) -> None:
    report = Report("million", as_json)
    report.facts()
    sizes = QUICK_SIZES if quick else SIZES
    ours = {size: in_child("--ours", str(size)) for size in sizes}
    rows = []
    for size, one in ours.items():
        memory = one.pop("memory")
        ours[size] = one | {"samples": memory}
        report.measurement(contestant="psweep_dask", psets=size, **one)
        rows.append(
            {
                "psets": f"{size:,}",
                "s": one["seconds"],
                "psets/s": size / one["seconds"],
                "merge s": one["merge_seconds"],
                "MiB at begin": one["begin_mib"],
                "MiB before merge": one["before_merge_mib"],
                "peak MiB": one["peak_mib"],
            }
        )
    slope = np.polyfit(np.log(sizes), np.log([one["seconds"] for one in ours.values()]), 1)[0]
    report.measurement(contestant="psweep_dask", exponent=float(slope))
    report.table(rows, f"Seconds grow as psets to the power of {slope:.3f}.")
    if plot:
        draw(plot, ours[sizes[-1]], sizes[-1])
    per_pset = ours[sizes[-1]]["seconds"] / sizes[-1]
    shown = [{"contestant": "psweep_dask", "psets": f"{sizes[-1]:,}", "us/pset": 1e6 * per_pset}]
    for name, (call, most) in OTHERS.items():
        size = most // 10 if quick else most
        try:
            one = in_child("--other", call, str(size))
        except subprocess.CalledProcessError as err:
            shown.append({"contestant": name, "psets": f"{size:,}", "note": reason(err.stderr)})
            continue
        report.measurement(contestant=name, psets=size, **one)
        shown.append(
            {"contestant": name, "psets": f"{size:,}", "us/pset": 1e6 * one["seconds"] / size}
        )
    for one in shown:
        if "us/pset" in one:
            one["x ours"] = one["us/pset"] / (1e6 * per_pset)
    report.table(shown)


def reason(stderr: str) -> str:
    """Give the last line of a traceback."""
    return (stderr.strip().splitlines() or ["failed"])[-1][:60]


def in_child(*words: str) -> dict[str, Any]:
    child = [sys.executable, __file__, "--child", *words]
    beside = Path(sys.executable).parent  # where parsl looks for a program of its own
    env = os.environ | {"PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(child, check=True, capture_output=True, text=True, env=env)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_ours(size: int) -> dict[str, Any]:
    import psutil

    import psweep_dask
    from psweep_dask.study.run import Run

    finish, merging = Run.finish, []

    def finish_and_note(run: Run, *arguments: Any) -> Any:
        merging.append(time.perf_counter())
        result = finish(run, *arguments)
        merging.append(time.perf_counter())
        return result

    psweep_dask.run_local(func, [{"a": 0}] * 100, poolsize=2, save=False)  # workers are up
    Run.finish = finish_and_note  # type: ignore[method-assign]  # to see when it merges
    params = [{"a": number} for number in range(size)]
    process, memory, done = psutil.Process(), [], threading.Event()

    def sample() -> None:
        while not done.wait(INTERVAL):
            memory.append((time.perf_counter(), process.memory_info().rss / 2**20))

    memory.append((time.perf_counter(), process.memory_info().rss / 2**20))
    threading.Thread(target=sample, daemon=True).start()
    begun = time.perf_counter()
    df = psweep_dask.run_local(func, params, poolsize=2)
    ended = time.perf_counter()
    done.set()
    if len(df) != size or int(df["y_"].sum()) != size * (size - 1):
        raise click.ClickException("rows are missing or wrong")
    before = [mib for at, mib in memory if at <= merging[0]]
    return {
        "seconds": ended - begun,
        "merge_seconds": merging[1] - merging[0],
        "begin_mib": before[0],
        "before_merge_mib": before[-1],
        "peak_mib": max(mib for _, mib in memory),
        "merge_begun": merging[0] - begun,
        "memory": [(at - begun, mib) for at, mib in memory],
    }


def measure_other(name: str, size: int) -> dict[str, Any]:
    import contestants

    params = [{"a": number} for number in range(size)]
    with getattr(contestants, name)() as call:
        with study_folder():
            contestants.check(call, func, params[:10])  # it is up
        begun = time.perf_counter()
        contestants.check(call, func, params)
        return {"seconds": time.perf_counter() - begun}


def draw(path: str, one: dict[str, Any], size: int) -> None:
    from matplotlib.figure import Figure

    times, mibs = zip(*one["samples"], strict=True)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="seconds", ylabel="MiB, driver with scheduler")
    axes.plot(times, mibs, color="#0072b2")
    axes.axvline(one["merge_begun"], color="#888888", linestyle="--")
    beside = {"ha": "right", "color": "#666666"}
    axes.text(one["merge_begun"], 0.03 * max(mibs), "then rows are merged ", **beside)
    axes.set_ylim(bottom=0)
    axes.set_title(f"{size:,} psets on two workers")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        quiet()
        with study_folder():
            if sys.argv[2] == "--ours":
                found = measure_ours(int(sys.argv[3]))
            else:
                found = measure_other(sys.argv[3], int(sys.argv[4]))
        click.echo(json.dumps(found))
    else:
        main()
