"""Machines that take batch jobs, each with its job script."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dask.utils import parse_bytes

from psweep_dask.hpc import jobscript
from psweep_dask.hpc.machine import Machine, read_machine
from psweep_dask.hpc.machine_schema import MachineError
from psweep_dask.offline.templates import FileTemplate, read_template


@dataclass(frozen=True)
class BatchMachine:
    """A machine with the template of its job script, and the command that submits this."""

    machine: Machine
    subcmd: str
    template: FileTemplate

    @property
    def name(self) -> str:
        """The name of the machine."""
        return self.machine.name

    @property
    def is_slurm(self) -> bool:
        """Whether the job script is submitted to SLURM."""
        return Path(shlex.split(self.subcmd)[0]).name == "sbatch"

    def script(self, values: Mapping[str, Any]) -> str:
        """Fill the job script with the values of one pset."""
        filled = self.template.fill(values).decode()
        return jobscript.add_end_lines(filled, self.template.target)


def calls_func(template: FileTemplate) -> bool:
    """Return whether a template has a command that calls func."""
    modules = ("psweep_dask.offline.job", "psweep_dask.task")  # the second is of older versions
    return any(f"-m {module}" in (template.text or "") for module in modules)


def read_batch_machines(folder: Path, template_mode: str, with_func: bool) -> list[BatchMachine]:
    """Read the machines in a folder, with their job scripts; those for live runs are left out.

    Where jobs call a func, a machine needs no job script of its own. Without a func, the folder
    may be empty: then files are written that no script submits.
    """
    if not folder.is_dir():
        raise MachineError(
            f"there is no folder {str(folder)!r}, seen from {str(Path.cwd())!r}; create it with a "
            "folder for each machine, which holds info.yaml and jobscript"
        )
    machines = [
        read_machine(path.name, folder)
        for path in sorted(folder.iterdir())
        if (path / "info.yaml").exists() or (path / "jobscript").exists()
    ]
    batch_machines = [
        _read_batch_machine(machine, template_mode, with_func)
        for machine in machines
        if machine.subcmd is not None or machine.jobscript_path.is_file()
    ]
    if not batch_machines and (machines or with_func):
        raise MachineError(
            f"no machine in {str(folder)!r} can take jobs: one of its folders must have a file "
            "info.yaml with a line such as 'subcmd: sbatch', and a file jobscript"
        )
    return batch_machines


def _read_batch_machine(machine: Machine, template_mode: str, with_func: bool) -> BatchMachine:
    path = machine.jobscript_path
    if machine.subcmd is None:
        raise MachineError(
            f"{machine.info_path}: there is a job script, but no subcmd; add the command that "
            "submits it, such as 'subcmd: sbatch', or 'subcmd: sh' to run it at once"
        )
    _check_for_shell(machine, machine.subcmd)
    target = f"jobscript_{machine.name}"
    if path.is_file():
        template = read_template(path, target, template_mode)
    elif with_func:
        script = own_jobscript(machine)
        template = FileTemplate(path, target, 0o755, lambda _: script.encode(), script)
    else:
        raise MachineError(f"{path} is missing: it is the script that each job runs")
    if template.text is None:
        raise MachineError(f"{path} is not text in UTF-8, so it cannot be filled")
    if "\r\n" in template.text:
        raise MachineError(
            f"{path}: its lines end with \\r\\n, as on Windows, which no batch system takes; "
            "convert them, for instance by dos2unix"
        )
    batch_machine = BatchMachine(machine, machine.subcmd.strip(), template)
    if batch_machine.is_slurm and not jobscript.interpreter(template.text):
        raise MachineError(
            f"{path}: sbatch takes only scripts whose first line begins with '#!', such as "
            "'#!/usr/bin/env bash'"
        )
    return batch_machine


def _check_for_shell(machine: Machine, subcmd: str) -> None:
    """Make sure that name and subcmd can be part of a shell script, and the name of file names."""
    too_long = len(os.fsencode(machine.name)) > 200  # file names add some, up to 255
    if too_long or not machine.name.isprintable():
        raise MachineError(
            f"{str(machine.folder)!r}: the name of a machine becomes part of file names and of a "
            "shell script; rename the folder: at most 200 bytes, no line break"
        )
    try:
        words = shlex.split(subcmd)
    except ValueError:
        words = []
    if not words or "\n" in subcmd.strip():
        raise MachineError(
            f"{machine.info_path}: subcmd={subcmd!r}; allowed is one command of a shell, such as "
            "'sbatch -p long'"
        )


def own_jobscript(machine: Machine) -> str:
    """Return a job script for a machine that has none, made of its settings for live runs.

    A live job has several workers, and each runs one pset at a time. The job script is for one
    pset, and asks for the share of one worker.
    """
    lines = ["#!/usr/bin/env bash"]
    if machine.cluster == "slurm":
        cores = int(machine.setting("cores") or 1)
        workers = int(machine.setting("processes") or cores)
        memory = machine.setting("memory")
        options = {
            "partition": machine.setting("queue"),
            "account": machine.setting("account"),
            "time": machine.setting("walltime"),
            "ntasks": 1,
            "cpus-per-task": max(1, int(machine.setting("job_cpu") or cores) // workers),
            "mem": memory and f"{parse_bytes(memory) // workers // 2**20}M",
        }
        lines += [f"#SBATCH --{name}={value}" for name, value in options.items() if value]
        lines += [f"#SBATCH {words}" for words in machine.setting("job_extra_directives") or []]
    lines += machine.setting("job_script_prologue") or []
    lines.append(f"{machine.setting('python') or 'python3'} -m psweep_dask.offline.job")
    return "\n".join(lines) + "\n"
