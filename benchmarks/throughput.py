"""Measure what a pset costs whose func does nothing: 10,000 of them on two workers.

Run it with: python benchmarks/throughput.py [--quick] [--json]

Ours and psweep write their database, ours its journal too; joblib and multiprocessing give back a
list of results and write nothing. Workers are up before the clock starts, except for psweep's
poolsize, which starts a pool in each call.
"""

from __future__ import annotations

from functools import partial

import contestants
from common import Pset, Report, Timing, measure, options, quiet

PSETS = 10_000
QUICK_SLOW_PSETS = 1_000

WITHOUT_DATABASE = {"multiprocessing.Pool(2).map", "joblib.Parallel(n_jobs=2)"}
SLOW = {"psweep, dask_client"}
# Ours is the last: pools fork, which is safest before there are threads of a cluster.
CONTESTANTS = {
    "multiprocessing.Pool(2).map": contestants.pool_map,
    "joblib.Parallel(n_jobs=2)": contestants.joblib_parallel,
    "psweep, serial": contestants.psweep_serial,
    "psweep, poolsize=2": contestants.psweep_pool,
    "psweep, dask_client": contestants.psweep_dask_client,
    "psweep_dask, poolsize=2": contestants.ours,
}
OURS = "psweep_dask, poolsize=2"


def nothing(pset: Pset) -> dict[str, object]:
    return {}


@options
def main(as_json: bool, quick: bool) -> None:
    quiet()
    report = Report("throughput", as_json)
    report.facts()
    sizes = {name: QUICK_SLOW_PSETS if quick and name in SLOW else PSETS for name in CONTESTANTS}
    timings = {name: timing(name, size) for name, size in sizes.items()}
    microseconds = {name: 1e6 * timings[name].median / size for name, size in sizes.items()}
    for name, size in sizes.items():
        report.measurement(
            contestant=name,
            psets=size,
            seconds=timings[name].seconds,
            microseconds_per_pset=microseconds[name],
            ratio_to_ours=microseconds[name] / microseconds[OURS],
        )
    report.table(
        [
            {
                "contestant": name,
                "database": "no" if name in WITHOUT_DATABASE else "yes",
                "psets": size,
                "median s": timings[name].median,
                "us per pset": microseconds[name],
                "x ours": microseconds[name] / microseconds[OURS],
            }
            for name, size in sizes.items()
        ],
        f"Median of {len(timings[OURS].seconds)}.",
    )


def timing(name: str, size: int) -> Timing:
    params = [{"a": number} for number in range(size)]
    with CONTESTANTS[name]() as call:
        measure(partial(contestants.check, call, nothing, params[: size // 10]), repeats=1)
        return measure(partial(contestants.check, call, nothing, params))


if __name__ == "__main__":
    main()
