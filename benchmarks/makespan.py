"""Measure how well psets of uneven length fill two workers: makespan over the ideal.

Run it with: python benchmarks/makespan.py [--quick] [--json]

A pset sleeps. The ideal is max(sum / 2, longest) of the nominal durations. The column "in order"
is a perfect list scheduler: each worker takes the next pset the moment it is free, at no cost.
Who takes the psets in the order of params cannot beat that, and without knowing the durations no
other order is better on the whole. Ours and psweep also write their database in the time measured,
and psweep's poolsize starts its pool.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from functools import partial

import contestants
from common import Pset, Report, Timing, measure, options, quiet

# Ours is the last: pools fork, which is safest before there are threads of a cluster.
CONTESTANTS = {
    "imap(chunksize=1)": contestants.pool_imap,
    "joblib": contestants.joblib_parallel,
    "psweep pool": contestants.psweep_pool,
    "psweep dask": contestants.psweep_dask_client,
    "psweep_dask": contestants.ours,
}


def log_normal(count: int, mean: float, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [rng.lognormvariate(math.log(mean) - 0.5, 1.0) for _ in range(count)]


LOADS = {
    "400 of 10 ms": [0.01] * 400,
    "41 of 100 ms": [0.1] * 41,
    "200 log-normal, mean 40 ms": log_normal(200, mean=0.04),
    "300 of 5 ms, then one of 1 s": [0.005] * 300 + [1.0],
}


def sleep(pset: Pset) -> dict[str, object]:
    time.sleep(pset["seconds"])
    return {}


def ideal(durations: list[float]) -> float:
    return max(sum(durations) / contestants.WORKERS, *durations)


def in_order(durations: list[float]) -> float:
    """Give the makespan if each worker takes the next pset the moment it is free."""
    free_at = [0.0] * contestants.WORKERS
    for duration in durations:
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


@options
def main(as_json: bool, quick: bool) -> None:
    quiet()
    report = Report("makespan", as_json)
    report.facts()
    repeats = 1 if quick else 3
    timings = {name: timings_of(name, repeats) for name in CONTESTANTS}
    rows = []
    for load, durations in LOADS.items():
        best = ideal(durations)
        row = {"load": load, "ideal s": best, "in order": in_order(durations) / best}
        for name in CONTESTANTS:
            timing = timings[name][load]
            row[name] = timing.median / best
            report.measurement(
                contestant=name,
                load=load,
                ideal_seconds=best,
                in_order_seconds=in_order(durations),
                seconds=timing.seconds,
                makespan_over_ideal=row[name],
            )
        rows.append(row)
    report.table(rows, f"Makespan over the ideal, median of {repeats}.")


def timings_of(name: str, repeats: int) -> dict[str, Timing]:
    with CONTESTANTS[name]() as call:
        warm_up = [{"seconds": 0.001}] * 50
        measure(partial(contestants.check, call, sleep, warm_up), repeats=1)
        return {
            load: measure(
                partial(contestants.check, call, sleep, [{"seconds": one} for one in durations]),
                repeats,
            )
            for load, durations in LOADS.items()
        }


if __name__ == "__main__":
    main()
