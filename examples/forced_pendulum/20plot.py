"""Draw the map of chaos that 10run.py has computed.

You will see where the exponent is largest, and find the picture in forced_pendulum.png. The upper
plot shows the exponent over amplitude and frequency of the drive. The lower plot shows the
velocities, one for each drive period, along the dashed line of the map. A periodic motion has few
different velocities, a chaotic one has many.
"""

import matplotlib as mpl

mpl.use("Agg")  # draws into files, without a window

import matplotlib.pyplot as plt
import numpy as np

import psweep_dask as ps

CHAOTIC = 0.01  # larger exponents mean chaos; at bifurcations the exponent is zero

df = ps.df_read("calc/database.pk")
grid = df[df.study == "map"].pivot(index="frequency", columns="amplitude", values="lyapunov")
frequency, amplitude = grid.stack().idxmax()
print(f"on the map, chaos is strongest at {amplitude=:.3f}, {frequency=:.3f}")

fig, (above, below) = plt.subplots(2, figsize=(7, 7.5), sharex=True, layout="constrained")
limits = {"vmin": -0.15, "vmax": 0.15}
mesh = above.pcolormesh(grid.columns, grid.index, grid, cmap="PuOr_r", **limits)
above.set(ylabel=r"drive frequency $\omega$ / $\omega_0$")
above.set_title("Order and chaos of a damped driven pendulum ($Q = 2$)")
label = r"largest Lyapunov exponent $\lambda$ / $\omega_0$"
fig.colorbar(mesh, ax=above, label=label, extend="both")

line = df[df.study == "line"]
above.axhline(line.frequency.iloc[0], color="black", lw=1, ls="--")
for color, name, rows in [
    ("#542788", "periodic", line[line.lyapunov <= CHAOTIC]),
    ("#e08214", "chaotic", line[line.lyapunov > CHAOTIC]),
]:
    velocities = np.stack(rows.velocities.to_list())
    amplitudes = np.repeat(rows.amplitude.to_numpy(), velocities.shape[1])
    below.plot(amplitudes, velocities.ravel(), ".", ms=1.5, color=color, label=name)
below.legend(loc="lower left", markerscale=6)
below.set(xlabel=r"drive amplitude / $(m g \ell)$")
below.set(ylabel=r"velocity $\dot\theta$ / $\omega_0$, once per drive period")
below.set_title(r"Along the dashed line, $\omega = 2/3\ \omega_0$", fontsize="medium")
fig.savefig("forced_pendulum.png", dpi=150)
