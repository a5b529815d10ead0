"""Plot the scans of 10run.py, each against the parameter that it varies.

You will see the best value of each scan, and find the curves in scans.png.
"""

import matplotlib as mpl

mpl.use("Agg")  # draws into files, without a window

import matplotlib.pyplot as plt

import psweep_dask as ps

LABELS = {"speed": "speed / (m/s)", "angle": "angle / degrees", "drag": "drag coefficient / (1/m)"}

df = ps.df_read("calc/database.pk")
reference = df[list(LABELS)].mode().iloc[0]  # the values that the other scans do not vary

fig, axes = plt.subplots(1, len(LABELS), figsize=(9, 3), sharey=True, layout="constrained")
for ax, (name, label) in zip(axes, LABELS.items(), strict=True):
    scan = df[df.study == name].sort_values(name)
    ax.axvline(reference[name], color="0.5", ls="--", lw=1)
    ax.plot(scan[name], scan.distance, "o-", color="#0072B2", ms=4)
    ax.set(xlabel=label)
    ax.grid(alpha=0.3)
    best = scan.sort_values("distance").iloc[-1]
    print(f"scan of {name}: the ball flies {best.distance:.1f} m at {name}={best[name]:g}")
axes[0].set(ylabel="distance / m", ylim=0)
fig.suptitle("How far a ball flies: scans around a reference point (dashed)")
fig.savefig("scans.png", dpi=150)
