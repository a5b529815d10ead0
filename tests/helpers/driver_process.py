"""Driver processes for tests that kill them."""

from __future__ import annotations

import subprocess
import sys
import time

SCRIPT = """
import time
import psweep_dask as ps

def func(pset):
    time.sleep(NAP)
    with open("calls", "a") as log:
        log.write(f"{pset['_pset_seq']}\\n")
    return {"y": 2 * pset["a"], "x": ps.rng(pset).random()}

if __name__ == "__main__":
    df = ps.run(func, ps.plist("a", range(COUNT)), OPTIONS)
    print(len(df))
"""


def start(study_folder, count=2000, nap=0.02, options="cluster='sync'", script=SCRIPT, **popen):
    """Start a study in a process of its own; its func writes to the file ``calls``."""
    text = script.replace("NAP", str(nap)).replace("COUNT", str(count)).replace("OPTIONS", options)
    path = study_folder / "driver.py"
    path.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **popen,
    )


def wait_for_journal(study_folder, size=3000):
    """Wait until this number of bytes of results is on disk."""
    paths = "calc/runs/*/journal"
    wait_until(lambda: size <= sum(path.stat().st_size for path in study_folder.glob(paths)))


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition is still false"
        time.sleep(0.05)


def calls(study_folder):
    """Return the numbers of the psets that func has finished, in that order."""
    path = study_folder / "calls"
    return [int(line) for line in path.read_text().split()] if path.exists() else []
