"""Draw a bifurcation diagram: values of the logistic map x -> r x (1 - x) after many steps, over r.

You will see that a second run adds points to the first one: first 600 values of r, then 400 more
where the map becomes chaotic. The results are arrays; explode makes a row of each of their values.
"""

import numpy as np
from matplotlib.figure import Figure

import psweep_dask as ps


def func(pset):
    x = 0.5
    for _ in range(4000):  # forget the beginning
        x = pset["r"] * x * (1 - x)
    visited = []
    for _ in range(60):
        x = pset["r"] * x * (1 - x)
        visited.append(x)
    return {"x": np.array(visited), "values": len(set(np.round(visited, 4)))}


def draw(df, path):
    points = df[["r", "x"]].explode("x").astype(float)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="r", ylabel="x, after 4000 steps")
    axes.plot(points.r, points.x, ",", color="#0072b2", alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


df = ps.run(func, ps.plist("r", np.linspace(2.8, 4.0, 600).tolist()), skip_dups=True)
df = ps.run(func, ps.plist("r", np.linspace(3.5, 3.7, 400).tolist()), skip_dups=True)
for period in (2, 4, 8):
    first = df.r[df["values"] == period].min()
    print(f"{period} values first at r={first:.3f}")
draw(df, "bifurcation.png")
