"""Machines that are described by an info.yaml, and what their job scripts say."""

from __future__ import annotations

from pathlib import Path

import pytest

from psweep_dask.hpc.machine import MACHINES_DIR, read_machine
from psweep_dask.hpc.machine_schema import MachineError

MINIMAL = """
cluster: slurm
jobqueue: {cores: 2, memory: 4GiB}
"""


def machine(text):
    """Return the machine that an info.yaml describes."""
    write_info(text)
    return read_machine("big")


def argument(script, name):
    """Return the value of an option of the worker, which takes the last one that it is given."""
    words = script.split()
    return [words[at + 1] for at, word in enumerate(words[:-1]) if word == name][-1]


def write_info(text: str | bytes, name: str = "big", machines_dir: str = MACHINES_DIR) -> Path:
    """Write the info.yaml of a machine; return its path."""
    info_path = Path(machines_dir, name, "info.yaml")
    info_path.parent.mkdir(parents=True, exist_ok=True)
    info_path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return info_path.absolute()


def error_of(text: str | bytes) -> str:
    """Return the error that an info.yaml causes, without the path with which it begins."""
    info_path = write_info(text)
    with pytest.raises(MachineError) as caught:
        read_machine("big")
    message = str(caught.value)
    assert message.startswith(str(info_path))
    return message.removeprefix(str(info_path))


def error_below_jobqueue(text: str, cluster: str = "slurm") -> str:
    """Return the error that a line below ``jobqueue:`` causes."""
    return error_of(f"cluster: {cluster}\njobqueue:\n  {text}").removeprefix(": jobqueue: ")
