"""A job runs this script in the folder of its pset. It does not need psweep_dask."""

import json
import time

import numpy as np

started = time.perf_counter()
rng = np.random.default_rng($_pset_seq)
np.save("out.npy", rng.normal(loc=$param_a * $param_b, size=1000))

# Optional: the keys in this file become columns of the database.
with open("result.json", "w") as file:
    json.dump({"seconds": round(time.perf_counter() - started, 3)}, file)
