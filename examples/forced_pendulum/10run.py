"""When does a driven pendulum become chaotic? 1,000 psets over drive amplitude and frequency.

You will see how many of them are chaotic; 20plot.py draws them. What is computed is the largest
Lyapunov exponent, the rate at which two almost equal motions part (positive: chaos) or meet
(negative: periodic motion), and the velocity once in each drive period. The pendulum, with time in
units of 1/omega_0 and torque in units of m g l, obeys

    theta'' + theta' / Q + sin(theta) = amplitude * cos(frequency * t)

Stop it at any time and start it again: with skip_dups it runs only the psets that are missing.
"""

from math import cos, pi, sin

import numpy as np
from scipy.integrate import odeint

import psweep_dask as ps

QUALITY = 2.0
SETTLE, WATCH = 40, 50  # drive periods
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


if __name__ == "__main__":
    # A map, and a line through it at one frequency, with more points.
    frequency = ps.plist("frequency", np.linspace(0.4, 0.95, 20))
    amplitude = ps.plist("amplitude", np.linspace(0.9, 1.6, 35))
    params = ps.pgrid(ps.plist("study", ["map"]), frequency, amplitude)
    amplitude = ps.plist("amplitude", np.linspace(0.9, 1.6, 300))
    params += ps.pgrid(ps.plist("study", ["line"]), ps.plist("frequency", [2 / 3]), amplitude)
    df = ps.run(func, params, skip_dups=True)

    chaotic = df[df.lyapunov > CHAOTIC]
    print(f"{len(chaotic)} of {len(df)} psets are chaotic, most of all these:")
    cols = ["study", "amplitude", "frequency", "lyapunov", "_pset_runtime"]
    ps.df_print(chaotic.nlargest(5, "lyapunov")[cols])
