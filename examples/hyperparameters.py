"""Find the hyper-parameters of a small model: width and ridge of a kernel ridge regression.

You will see a grid on logarithmic scales, the error on data that were not used for fitting, and
ps.to_xarray, which turns rows on a grid into a map.
"""

import numpy as np
from matplotlib.figure import Figure

import psweep_dask as ps


def data(seed, number=120):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, number)
    return x, np.sin(2 * x) + 0.3 * rng.normal(size=number)


def func(pset):
    def kernel(a, b):
        return np.exp(-(((a[:, None] - b) / pset["width"]) ** 2))

    (x, y), (x_test, y_test) = data(seed=1), data(seed=2)
    matrix = kernel(x, x) + pset["ridge"] * np.eye(len(x))
    guess = kernel(x_test, x) @ np.linalg.solve(matrix, y)
    return {"error": float(np.sqrt(np.mean((guess - y_test) ** 2)))}


def draw(errors, best, path):
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="width", ylabel="ridge", xscale="log", yscale="log")
    mesh = axes.pcolormesh(errors.width, errors.ridge, errors.T, cmap="cividis", vmax=0.8)
    figure.colorbar(mesh, label="error on data not seen")
    axes.plot(best.width, best.ridge, "*", color="#d55e00", markersize=14)
    figure.savefig(path, dpi=150)


space = {"width": (0.03, 30.0, "log"), "ridge": (1e-6, 10.0, "log")}
df = ps.run(func, ps.sample(space, 900, method="grid"), skip_dups=True)
best = df.loc[df.error.idxmin()]
print(f"best of {len(df)}: error {best.error:.3f} at {best.width=:.2g}, {best.ridge=:.2g}")
draw(ps.to_xarray(df, ["width", "ridge"]).error, best, "hyperparameters.png")
