"""When does a driven pendulum become chaotic? 1,000 psets over drive amplitude and frequency.

You will see how many of them are chaotic; 20plot.py draws them. func computes the velocity once in
each drive period, and the largest Lyapunov exponent: the rate at which the distance of two almost
equal motions grows (positive: chaos) or shrinks (negative: periodic motion). With time in units of
1/omega_0 and torque in units of m g l, the equation of motion is

    theta'' + theta' / Q + sin(theta) = amplitude * cos(frequency * t)

You may stop the script at any time and start it again: skip_dups leaves out finished psets.
"""

from math import cos, pi, sin

import numpy as np
from scipy.integrate import odeint

import psweep_dask as ps

QUALITY = 2.0
SKIPPED, COUNTED = 40, 50  # drive periods
CHAOTIC = 0.01  # larger exponents mean chaos; at bifurcations the exponent is zero


def slope(state, t, amplitude, frequency):
    """Return the time derivatives of the pendulum and of a small deviation.

    The deviation is exp(growth) * (cos(phi), sin(phi)).
    """
    theta, velocity, phi, _ = state.tolist()
    c, s, stiffness = cos(phi), sin(phi), cos(theta)
    acceleration = amplitude * cos(frequency * t) - sin(theta) - velocity / QUALITY
    turning = -s * s - c * (c * stiffness + s / QUALITY)
    growing = s * (c * (1 - stiffness) - s / QUALITY)
    return velocity, acceleration, turning, growing


def func(pset):
    times = np.arange(SKIPPED + COUNTED + 1) * 2 * pi / pset["frequency"]
    args = (pset["amplitude"], pset["frequency"])
    states = odeint(slope, [0.2, 0, 0.3, 0], times, args, rtol=1e-5, atol=1e-5, mxstep=5000)
    growth, duration = states[-1, 3] - states[SKIPPED, 3], times[-1] - times[SKIPPED]
    return {"lyapunov": growth / duration, "velocities": states[SKIPPED + 1 :, 1]}


# A map, and a line with more points at one frequency of the map.
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
