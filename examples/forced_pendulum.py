"""When does a driven pendulum become chaotic? A map over amplitude and frequency of the drive.

You will see how many of 1,000 psets are chaotic, and the picture forced_pendulum.png. Above: the
largest Lyapunov exponent, the rate at which two almost equal motions part (positive: chaos) or
meet (negative: periodic motion). Below: the velocity once in each drive period, along the dashed
line of the map. The pendulum, with time in units of 1/omega_0 and torque in units of m g l, obeys

    theta'' + theta' / Q + sin(theta) = amplitude * cos(frequency * t)

Stop it at any time and start it again: with skip_dups it runs only the psets that are missing.
"""

from math import cos, pi, sin

import matplotlib as mpl

mpl.use("Agg")  # draws into files; no window needed

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import odeint

import psweep_dask as ps

QUALITY = 2.0
SETTLE, WATCH = 40, 50  # drive periods
LINE = 2 / 3  # frequency of the dashed line
CHAOTIC = 0.01  # exponents from here on; it is zero at bifurcations


def slope(state, t, amplitude, frequency):
    """Motion of the pendulum, and of a small deviation exp(growth) * (cos(phi), sin(phi))."""
    theta, velocity, phi, _ = state.tolist()
    c, s, stiffness = cos(phi), sin(phi), cos(theta)
    acceleration = amplitude * cos(frequency * t) - sin(theta) - velocity / QUALITY
    turning = -s * s - c * (c * stiffness + s / QUALITY)
    growing = s * (c * (1 - stiffness) - s / QUALITY)
    return velocity, acceleration, turning, growing


def func(pset):
    times = np.arange(SETTLE + WATCH + 1) * 2 * pi / pset["frequency"]
    args = (pset["amplitude"], pset["frequency"])
    states = odeint(slope, [0.2, 0, 0.3, 0], times, args, rtol=1e-5, atol=1e-5, mxstep=5000)
    growth, duration = states[-1, 3] - states[SETTLE, 3], times[-1] - times[SETTLE]
    return {"lyapunov": growth / duration, "velocities": states[SETTLE + 1 :, 1]}


def plot(df, path):
    fig, (above, below) = plt.subplots(2, figsize=(7, 7.5), sharex=True, layout="constrained")

    grid = df[df.study == "map"].pivot(index="frequency", columns="amplitude", values="lyapunov")
    limits = {"vmin": -0.15, "vmax": 0.15}
    mesh = above.pcolormesh(grid.columns, grid.index, grid, cmap="PuOr_r", **limits)
    above.axhline(LINE, color="black", lw=1, ls="--")
    above.set(ylabel=r"drive frequency $\omega$ / $\omega_0$")
    above.set_title("Order and chaos of a damped driven pendulum ($Q = 2$)")
    label = r"largest Lyapunov exponent $\lambda$ / $\omega_0$"
    fig.colorbar(mesh, ax=above, label=label, extend="both")

    line = df[df.study == "line"]
    for color, name, rows in [
        ("#542788", "periodic", line[line.lyapunov <= CHAOTIC]),
        ("#e08214", "chaotic", line[line.lyapunov > CHAOTIC]),
    ]:
        amplitudes = np.repeat(rows.amplitude.to_numpy(), WATCH)
        velocities = np.concatenate(rows.velocities.to_list())
        below.plot(amplitudes, velocities, ".", ms=1.5, color=color, label=name)
    below.legend(loc="lower left", markerscale=6)
    below.set(xlabel=r"drive amplitude / $(m g \ell)$")
    below.set(ylabel=r"velocity $\dot\theta$ / $\omega_0$, once per drive period")
    below.set_title(r"Along the dashed line, $\omega = 2/3\ \omega_0$", fontsize="medium")
    fig.savefig(path, dpi=150)


if __name__ == "__main__":
    frequency = ps.plist("frequency", np.linspace(0.4, 0.95, 20))
    amplitude = ps.plist("amplitude", np.linspace(0.9, 1.6, 35))
    params = ps.pgrid(ps.plist("study", ["map"]), frequency, amplitude)
    frequency = ps.plist("frequency", [LINE])
    amplitude = ps.plist("amplitude", np.linspace(0.9, 1.6, 300))
    params += ps.pgrid(ps.plist("study", ["line"]), frequency, amplitude)
    df = ps.run(func, params, skip_dups=True)

    chaotic = df[df.lyapunov > CHAOTIC]
    print(f"{len(chaotic)} of {len(df)} psets are chaotic, most of all these:")
    cols = ["study", "amplitude", "frequency", "lyapunov", "_pset_runtime"]
    ps.df_print(chaotic.nlargest(5, "lyapunov")[cols])
    plot(df, "forced_pendulum.png")
