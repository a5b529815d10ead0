"""Extend a study three times, each time where its curve needs more points: a narrow resonance.

You will see that ps.refine adds points near the resonance. 55 points resolve it; with equal steps,
thousands would be necessary.
"""

import numpy as np
from matplotlib.figure import Figure

import psweep_dask as ps


def func(pset):
    """Return the amplitude of a damped oscillator that is driven with a frequency."""
    w = pset["frequency"]
    return {"amplitude": 1 / np.hypot(1 - w**2, 0.01 * w)}


def draw(df, path):
    df = df.sort_values("frequency")
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="frequency", ylabel="amplitude")
    axes.plot(df.frequency, df.amplitude, color="#888888", zorder=1)
    colours = ["#0072b2", "#e69f00", "#009e73", "#d55e00"]
    for run, rows in df.groupby("_run_seq"):
        label = f"run {run}: {len(rows)} points"
        axes.scatter(rows.frequency, rows.amplitude, color=colours[run], label=label, zorder=2)
    axes.legend()
    figure.savefig(path, dpi=150)


df = ps.run(func, ps.plist("frequency", np.linspace(0.2, 2.0, 10).tolist()))
for _ in range(3):
    df = ps.run(func, ps.refine(df, "frequency", "amplitude", n=15))
    print(f"{len(df)} points, highest amplitude {df.amplitude.max():.2f}")
draw(df, "refined.png")
