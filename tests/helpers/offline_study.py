"""Studies whose psets run as batch jobs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOSTILE = "a'; echo x $HOME \\ \" é"
"""A name for parameters, folders and machines that a shell must never see without quotes."""


def write(files, folder=None):
    """Write files by their path, each with its folders."""
    for name, content in files.items():
        path = Path(folder or ".", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def machine(name="local", subcmd="sh", jobscript="#!/bin/sh\n./run.sh\n", **info):
    """Return the files of a machine by their path."""
    lines = [f"subcmd: {subcmd}"] + [f"{key}: {value}" for key, value in info.items()]
    folder = f"templates/machines/{name}"
    files = {f"{folder}/info.yaml": "\n".join(lines) + "\n"}
    return files if jobscript is None else {**files, f"{folder}/jobscript": jobscript}


def write_study(run_sh="#!/bin/sh\necho $a >out.txt\n", **options):
    """Write a study of templates for one machine; the template run.sh can be executed."""
    write({"templates/calc/run.sh": run_sh, **machine(**options)})
    Path("templates/calc/run.sh").chmod(0o755)


def write_func_machine(name="local"):
    """Write a machine whose job script calls func."""
    script = f"#!/bin/sh\n{sys.executable} -m psweep_dask.offline.job\n"
    write(machine(name, jobscript=script))


def submit(name="local", code=0):
    """Start the run script of a machine; return what it prints to stdout and stderr."""
    done = subprocess.run(
        ["sh", f"calc/run_{name}.sh"], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def folders(df):
    """Return the folder of each pset."""
    return [Path("calc", pset_id) for pset_id in df._pset_id]
