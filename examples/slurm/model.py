"""What the three scripts here compute: pi from darts, each pset with darts of its own.

func is in a file beside the scripts, so all of them, and all workers, import the same one.
"""

import os

import psweep_dask as ps


def throw_darts(pset):
    x, y = ps.rng(pset).random((2, pset["darts"]))
    hits = (x * x + y * y < 1).sum()
    return {"pi": 4 * hits / pset["darts"], "node": os.environ.get("SLURMD_NODENAME", "none")}


def darts(numbers, repetitions):
    return ps.pgrid(ps.plist("darts", numbers), ps.plist("repetition", range(repetitions)))
