"""Studies whose psets run as batch jobs, for the tests of what prepares and collects those."""

from __future__ import annotations

import subprocess
from pathlib import Path

HOSTILE = "a'; echo x $HOME \\ \" é"
"""A name for parameters, folders and machines that a shell must never see without quotes."""


def write(files, folder=None):
    """Write files by their path, each with its folders."""
    for name, content in files.items():
        path = Path(folder or ".", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def machine(name="local", subcmd="sh", jobscript="#!/bin/sh\n./run.sh\n", **more):
    """The files of a machine."""
    lines = [f"subcmd: {subcmd}"] + [f"{key}: {value}" for key, value in more.items()]
    folder = f"templates/machines/{name}"
    files = {f"{folder}/info.yaml": "\n".join(lines) + "\n"}
    return files if jobscript is None else {**files, f"{folder}/jobscript": jobscript}


def write_study(run_sh="#!/bin/sh\necho $a >out.txt\n", **of_machine):
    """Write a study of templates for one machine; the template run.sh can be executed."""
    write({"templates/calc/run.sh": run_sh, **machine(**of_machine)})
    Path("templates/calc/run.sh").chmod(0o755)


def submit(name="local", code=0):
    """Start the script that submits the jobs, and give what it prints, on both ways."""
    done = subprocess.run(
        ["sh", f"calc/run_{name}.sh"], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def folders(df):
    """The folder of each pset."""
    return [Path("calc", pset_id) for pset_id in df._pset_id]
