"""Map where a pendulum on a vibrating support is stable: y'' = (2 q cos 2t - a) y (Mathieu).

You will see 2,400 psets of an ordinary differential equation, and a map of them by ps.to_xarray.
Motion is unstable where the matrix that describes one period has a trace larger than 2.
"""

from math import cos, pi

from matplotlib.figure import Figure

import psweep_dask as ps

STEPS = 60


def func(pset):
    def slope(t, y, v):
        return v, (2 * pset["q"] * cos(2 * t) - pset["a"]) * y

    h, ends = pi / STEPS, []
    for y, v in ((1.0, 0.0), (0.0, 1.0)):
        for step in range(STEPS):  # the Runge-Kutta method of fourth order
            t = step * h
            y1, v1 = slope(t, y, v)
            y2, v2 = slope(t + h / 2, y + h / 2 * y1, v + h / 2 * v1)
            y3, v3 = slope(t + h / 2, y + h / 2 * y2, v + h / 2 * v2)
            y4, v4 = slope(t + h, y + h * y3, v + h * v3)
            y += h / 6 * (y1 + 2 * y2 + 2 * y3 + y4)
            v += h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        ends.append((y, v))
    trace = abs(ends[0][0] + ends[1][1])
    return {"trace": trace, "stable": trace <= 2}


def draw(stable, path):
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="a", ylabel="q", title="blue: stable")
    axes.pcolormesh(stable.a, stable.q, stable.T, cmap="Blues", vmin=0, vmax=1.4)
    figure.savefig(path, dpi=150)


space = {"a": [0.1 * n - 1 for n in range(60)], "q": [0.1 * n for n in range(40)]}
df = ps.run(func, ps.sample(space, 2400, method="grid"), skip_dups=True)
print(f"{df.stable.sum()} of {len(df)} psets are stable")
draw(ps.to_xarray(df, ["a", "q"]).stable, "stability_map.png")
