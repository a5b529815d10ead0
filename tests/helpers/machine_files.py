"""A machine that is described by its info.yaml, and what its job scripts say."""

from __future__ import annotations

from pathlib import Path

from psweep_dask.hpc.machine import MACHINES_DIR, read_machine

MINIMAL = """
cluster: slurm
jobqueue: {cores: 2, memory: 4GiB}
"""


def machine(text):
    path = Path(MACHINES_DIR, "big", "info.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return read_machine("big")


def argument(script, name):
    """The value that a worker takes, which is the last of those it is given."""
    words = script.split()
    return [words[at + 1] for at, word in enumerate(words[:-1]) if word == name][-1]
