"""The func of the three scripts: pi from random points ("darts"), different ones in each pset.

It is in a file beside the scripts, so that all scripts and all workers import the same func.
"""

import os

import psweep_dask as ps


def throw_darts(pset):
    x, y = ps.rng(pset).random((2, pset["darts"]))
    hits = (x * x + y * y < 1).sum()
    return {"pi": 4 * hits / pset["darts"], "node": os.environ.get("SLURMD_NODENAME", "none")}


def darts(numbers, repetitions):
    return ps.pgrid(ps.plist("darts", numbers), ps.plist("repetition", range(repetitions)))
