"""How far does a ball fly? Scan each parameter alone, around one reference point.

You will see three runs in one database. The constant parameter "study" names the parameter that a
run scans; 20plot.py plots each run.
"""

from math import cos, hypot, radians, sin

import psweep_dask as ps

REFERENCE = {"speed": 25.0, "angle": 40.0, "drag": 0.01}  # m/s, degrees, 1/m

SCANS = {
    "speed": [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0],
    "angle": [5.0, 10.0, 20.0, 30.0, 35.0, 40.0, 45.0, 50.0, 60.0, 70.0, 80.0],
    "drag": [0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05],
}


def func(pset, dt=1e-3, gravity=9.81):
    """Integrate until the ball is back on the ground (midpoint rule)."""
    angle = radians(pset["angle"])
    vx, vy = pset["speed"] * cos(angle), pset["speed"] * sin(angle)
    x = y = old_x = old_y = 0.0
    while y >= 0:
        old_x, old_y = x, y
        brake = pset["drag"] * hypot(vx, vy)
        mid_vx, mid_vy = vx - dt / 2 * brake * vx, vy - dt / 2 * (brake * vy + gravity)
        brake = pset["drag"] * hypot(mid_vx, mid_vy)
        vx, vy = vx - dt * brake * mid_vx, vy - dt * (brake * mid_vy + gravity)
        x, y = x + dt * mid_vx, y + dt * mid_vy
    return {"distance": old_x + (x - old_x) * old_y / (old_y - y)}


for name, values in SCANS.items():
    scan = ps.plist(name, values)
    params = [ps.merge_dicts(REFERENCE, pset, {"study": name}) for pset in scan]
    df = ps.run_local(func, params)
ps.df_print(df[["_run_seq", "_pset_seq", "study", *REFERENCE, "distance"]])
