"""Estimate with error bars: how long a random walk takes to leave an interval.

You will see repeats of the same psets, each with different random numbers by ps.rng, and mean and
standard error from a groupby. Each row can be computed again with the same random numbers.
"""

import numpy as np
from matplotlib.figure import Figure

import psweep_dask as ps


def func(pset):
    rng = ps.rng(pset)
    position, steps = 0, 0
    while abs(position) < pset["size"]:
        position += 2 * rng.integers(2) - 1
        steps += 1
    return {"steps": steps}


def draw(table, path):
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="size", ylabel="steps", xscale="log", yscale="log")
    axes.errorbar(table.index, table["mean"], 2 * table["sem"], fmt="o", color="#0072b2")
    axes.plot(table.index, table.index**2.0, color="#888888", label="size squared: theory")
    axes.legend(title="mean of 40, bars are two standard errors")
    figure.savefig(path, dpi=150)


sizes = ps.plist("size", ps.intspace(2, 32, 6).tolist())
df = ps.run(func, ps.pgrid(ps.plist("_repeat", range(40)), sizes))
table = df.groupby("size").steps.agg(["mean", "sem", "count"])
print(table.round(1))
off = np.abs(table["mean"] - table.index**2.0) / table["sem"]
print(f"theory is off by at most {off.max():.1f} standard errors")
draw(table, "monte_carlo.png")
