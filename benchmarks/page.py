"""Measure what the page in the dashboard costs a run: nobody looks, or somebody does.

Run it with: python benchmarks/page.py [--quick] [--json]

Who looks is a client of bokeh in a process of its own, which is sent all that a browser is sent. It
draws nothing and has the lowest priority, as if it were on another machine. The rounds alternate.
The last figure is how long status.json takes.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from common import Pset, Report, Timing, measure, options, quiet

import psweep_dask as ps

VIEWER = """
import os, sys, time
from bokeh.client import pull_session
os.nice(19)
session = pull_session(url=sys.argv[1])
print("looking", flush=True)
while session.connected:
    session.force_roundtrip()
    time.sleep(1.0)
"""
NOBODY, SOMEBODY = "nobody looks", "somebody looks"


def nothing(pset: Pset) -> dict[str, object]:
    return {"y": pset["a"] ** 0.5}


def nap(pset: Pset) -> dict[str, object]:
    time.sleep(1e-3)
    return {"y": pset["a"] ** 0.5}


@options
def main(as_json: bool, quick: bool) -> None:
    quiet()
    report = Report("page", as_json)
    report.facts()
    link = running_link()
    repeats = 3 if quick else 9
    rows = []
    for func, size in ((nothing, 20_000 if quick else 100_000), (nap, 2_000 if quick else 10_000)):
        rounds = [one_round(func, size, link) for _ in range(1 + repeats)][1:]
        timings = {name: Timing(tuple(one[name] for one in rounds)) for name in (NOBODY, SOMEBODY)}
        for name, timing in timings.items():
            ratio = timing.median / timings[NOBODY].median
            report.measurement(func=func.__name__, psets=size, viewer=name, seconds=timing.seconds)
            rows.append(
                {"func": func.__name__, "psets": size, "": name, "s": timing.median, "x": ratio}
            )
    report.table(rows, f"Wall time of a run, median of {repeats}; x: of that with nobody looking.")
    looks = [look(link) for _ in range(20)]
    status = Timing(tuple(looks))
    report.measurement(what="status.json", seconds=status.seconds)
    report.table([{"status.json": "seconds", "median": status.median, "most": max(looks)}], "")


def running_link() -> str:
    sweep = ps.submit(nothing, ps.plist("a", range(100)), cluster="local", save=False)
    sweep.result()
    if sweep.dashboard_link is None:
        raise SystemExit("there is no dashboard")
    return sweep.dashboard_link


def one_round(func: object, size: int, link: str) -> dict[str, float]:
    params = ps.plist("a", range(size))
    found = {}
    for name, viewer in ((NOBODY, nullcontext()), (SOMEBODY, looking(link))):
        with viewer:
            run = measure(lambda: ps.run(func, params, cluster="local"), repeats=1)
            found[name] = run.median
    return found


@contextmanager
def looking(link: str) -> Iterator[None]:
    viewer = subprocess.Popen([sys.executable, "-c", VIEWER, link], stdout=subprocess.PIPE)
    try:
        viewer.stdout.readline()
        yield
    finally:
        viewer.kill()
        viewer.wait()


def look(link: str) -> float:
    start = time.perf_counter()
    with urllib.request.urlopen(f"{link}/status.json") as answer:
        answer.read()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
