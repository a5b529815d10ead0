"""The driver that faults hit: it makes one run of a study, or resumes earlier runs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

OUTSIDE_RUN_EXIT_CODE = 75
"""Of a driver that gets SIGTERM or SIGINT before or after its run."""


def log_line(log, seq, phase, seconds=0.0):
    """Append a line to the log of func in one write, so that processes can share the log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{seq} {os.getpid()} {phase} {seconds}\n".encode())
    os.close(descriptor)


if __name__ == "__main__":  # the import takes a second, in which signals may come
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(OUTSIDE_RUN_EXIT_CODE))
    log_line(sys.argv[3], -1, "up")

import psweep_dask as ps  # noqa: E402  (see above)


def evaluate(pset):
    log_line(pset["_log"], pset["_pset_seq"], "begin")
    time.sleep(pset["seconds"])
    result = {"square": pset["a"] ** 2, "draw": ps.rng(pset).random()}
    log_line(pset["_log"], pset["_pset_seq"], "end", pset["seconds"])
    return result


def main(action, where, log, params_path):
    cluster = where
    if where not in ("sync", "local"):
        from distributed import Client  # the other drivers need not import it

        cluster = Client(scheduler_file=where)
    if action == "run":
        params = json.loads(Path(params_path).read_bytes())
        ps.run(evaluate, params, cluster=cluster, retries=20, progress=False)
    else:
        ps.resume("calc", cluster=cluster, progress=False)
    log_line(log, -1, "returned")


if __name__ == "__main__":
    main(*sys.argv[1:])
