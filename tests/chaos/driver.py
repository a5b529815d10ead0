"""The driver that a storm strikes: one run of a study, or what is left of earlier ones."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

OUTSIDE = 75
"""Exit status on SIGTERM or SIGINT while no run is at work, so that nobody listens."""


def note(log, seq, phase, seconds=0.0):
    """Append a line in one write, so that processes can share the log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{seq} {os.getpid()} {phase} {seconds}\n".encode())
    os.close(descriptor)


if __name__ == "__main__":  # the import takes a second, in which storms are allowed already
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(OUTSIDE))
    note(sys.argv[3], -1, "up")

import psweep_dask as ps  # noqa: E402  (see above)


def evaluate(pset):
    note(pset["_log"], pset["_pset_seq"], "begin")
    time.sleep(pset["seconds"])
    result = {"square": pset["a"] ** 2, "draw": ps.rng(pset).random()}
    note(pset["_log"], pset["_pset_seq"], "end", pset["seconds"])
    return result


def main(action, where, log, params_path):
    cluster = where
    if where not in ("sync", "local"):
        from distributed import Client  # which drivers without a cluster of their own can spare

        cluster = Client(scheduler_file=where)
    if action == "run":
        params = json.loads(Path(params_path).read_bytes())
        ps.run(evaluate, params, cluster=cluster, retries=20, progress=False)
    else:
        ps.resume("calc", cluster=cluster, progress=False)
    note(log, -1, "returned")


if __name__ == "__main__":
    main(*sys.argv[1:])
