"""What a batch job finds in the folder of its pset: files from templates, job scripts, the pset."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from dask.utils import parse_bytes

from psweep_dask.hpc import jobscript
from psweep_dask.hpc.machine import Machine, read_machine
from psweep_dask.hpc.machine_schema import MachineError
from psweep_dask.offline.templates import FileTemplate, TemplateError, gather, read, target_clash
from psweep_dask.params.pset import Pset
from psweep_dask.storage import pickling
from psweep_dask.storage.layout import PsetFolder
from psweep_dask.worker.work import Work

log = logging.getLogger("psweep_dask")

MACHINE_NAME_BYTES = 200
"""Bytes in the name of a machine, to which file names add some."""

RUN_A_PSET = "-m psweep_dask.offline.job"
"""What a job script gives to Python so that func is called."""


@dataclass(frozen=True)
class BatchMachine:
    """A machine with its job script.

    Parameters
    ----------
    machine : Machine
    subcmd : str
        The command that submits the script.
    template : Template
        The job script.
    """

    machine: Machine
    subcmd: str
    template: FileTemplate

    @property
    def name(self) -> str:
        """The name of the machine."""
        return self.machine.name

    @property
    def is_slurm(self) -> bool:
        """Whether job scripts go to SLURM."""
        words = shlex.split(self.subcmd)
        return bool(words) and Path(words[0]).name == "sbatch"

    def script(self, values: Mapping[str, Any]) -> str:
        """Fill the job script for one pset."""
        filled = self.template.fill(values).decode()
        return jobscript.add_end_lines(filled, self.template.target)


@dataclass(frozen=True)
class JobTemplates:
    """The files that each pset gets.

    Parameters
    ----------
    templates : list of Template
    machines : list of JobMachine
    with_func : bool
        Whether jobs call a func of Python, for which they need the pset.
    """

    templates: list[FileTemplate]
    machines: list[BatchMachine]
    with_func: bool

    def check(self, work: Work, psets: Iterable[Pset], array: bool) -> None:
        """Fill everything once for each pset, and write nothing.

        Raises
        ------
        TemplateError
            If a placeholder stays without a value.
        psweep_dask.hpc.jobscript.JobscriptError
            If `array`, and a job script cannot be an element of one.
        """
        preview, _ = values_for(work, {}, 0, 40 * "0")
        for pset in psets:
            values = {**pset, **preview}
            for one in self.templates:
                one.fill(values)
            for machine in self.machines:
                script = machine.script(values)
                if array and machine.is_slurm:
                    jobscript.read_directives(script, machine.machine.jobscript_path)

    def write(self, folder: PsetFolder, values: Mapping[str, Any]) -> dict[str, str]:
        """Write the files for one pset, and say that none of its jobs has been submitted or ended.

        Parameters
        ----------
        folder : PsetFolder
        values : Mapping
            The pset with its book-keeping fields.

        Returns
        -------
        dict of str
            The job script for each machine.
        """
        folder.path.mkdir(parents=True, exist_ok=True)
        for template in self.templates:
            template.write(folder.path, values)
        if self.with_func:
            folder.pset_path.write_bytes(pickling.dumps(dict(values)))
        scripts = {one.name: one.script(values) for one in self.machines}
        for one in self.machines:
            path = folder.jobscript_path(one.name)
            path.unlink(missing_ok=True)  # one that may not be written to can be replaced
            path.write_bytes(scripts[one.name].encode())
            path.chmod(one.template.mode | 0o100)
        return scripts


def read_job_files(
    calc_templ_dir: Path | None, machine_templ_dir: Path, template_mode: str, with_func: bool
) -> JobTemplates:
    """Read all templates, and check what can be checked without a pset.

    Parameters
    ----------
    calc_templ_dir : Path or None
        None if there are no templates but job scripts.
    machine_templ_dir : Path
    template_mode : {'dollar', 'jinja'}
    with_func : bool
        Whether jobs call a func of Python.

    Raises
    ------
    PsweepError
        If something is missing or wrong.
    """
    templates = [] if calc_templ_dir is None else gather(calc_templ_dir, template_mode)
    if not templates and not with_func:
        raise TemplateError(
            f"there is no file in {str(calc_templ_dir)!r}: put there what each job shall find in "
            "its folder, or pass func="
        )
    machines = _read_machines(machine_templ_dir, template_mode, with_func)
    _check_names(templates, machines)
    shared = any(RUN_A_PSET in (one.text or "") for one in templates)
    for machine in machines:
        if with_func and not shared and RUN_A_PSET not in (machine.template.text or ""):
            log.warning(
                "%s does not call func: one line of it must be 'python %s', where python is an "
                "interpreter that has psweep_dask",
                machine.machine.jobscript_path,
                RUN_A_PSET,
            )
    return JobTemplates(templates, machines, with_func)


def _read_machines(folder: Path, template_mode: str, with_func: bool) -> list[BatchMachine]:
    if not folder.is_dir():
        raise MachineError(
            f"there is no folder {str(folder)!r}, seen from {str(Path.cwd())!r}; create it with a "
            "folder for each machine, which holds info.yaml and jobscript"
        )
    found = []
    for one in sorted(folder.iterdir()):
        if (one / "info.yaml").exists() or (one / "jobscript").exists():
            machine = _job_machine(read_machine(one.name, folder), template_mode, with_func)
            found += [machine] if machine is not None else []
    if not found:
        raise MachineError(
            f"no machine in {str(folder)!r} can take jobs: one of its folders must have a file "
            "info.yaml with a line such as 'subcmd: sbatch', and a file jobscript"
        )
    return found


def _job_machine(machine: Machine, template_mode: str, with_func: bool) -> BatchMachine | None:
    """Read the job script of a machine; None if the machine is for live runs only."""
    has_script = machine.jobscript_path.is_file()
    if machine.subcmd is None and not has_script:
        return None
    if machine.subcmd is None:
        raise MachineError(
            f"{machine.info_path}: there is a job script, but no subcmd; add the command that "
            "submits it, such as 'subcmd: sbatch', or 'subcmd: sh' to run it at once"
        )
    _check_for_shell(machine, machine.subcmd)
    target = f"jobscript_{machine.name}"
    if has_script:
        template = read(machine.jobscript_path, target, template_mode)
    elif with_func:
        script = own_jobscript(machine)
        template = FileTemplate(
            machine.jobscript_path, target, 0o755, lambda _: script.encode(), script
        )
    else:
        raise MachineError(
            f"{machine.jobscript_path} is missing: it is the script that each job runs"
        )
    if template.text is None:
        raise MachineError(
            f"{machine.jobscript_path} is no text (in UTF-8), so it cannot be filled"
        )
    if "\r\n" in template.text:
        raise MachineError(
            f"{machine.jobscript_path}: its lines end as those of DOS (\\r\\n), which no batch "
            "system takes; convert them, for instance by dos2unix"
        )
    made = BatchMachine(machine, machine.subcmd.strip(), template)
    if made.is_slurm and not jobscript.interpreter(template.text):
        raise MachineError(
            f"{machine.jobscript_path}: sbatch takes only scripts whose first line begins with "
            "'#!', such as '#!/usr/bin/env bash'"
        )
    return made


def _check_for_shell(machine: Machine, subcmd: str) -> None:
    """Make sure that what becomes part of a shell script is a line, and a name of a file."""
    if not machine.name.isprintable() or len(os.fsencode(machine.name)) > MACHINE_NAME_BYTES:
        raise MachineError(
            f"{str(machine.folder)!r}: the name of a machine becomes part of file names and of a "
            f"shell script; rename the folder: at most {MACHINE_NAME_BYTES} bytes, no line break"
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


def _check_names(templates: list[FileTemplate], machines: list[BatchMachine]) -> None:
    folder = PsetFolder(Path())
    ours = [folder.pset_path, folder.record_path, folder.result_path, folder.ended_path]
    for one in machines:
        ours += [folder.jobscript_path(one.name), folder.submitted_path(one.name)]
    clash = target_clash(templates, (path.name for path in ours))
    if clash is not None:
        raise TemplateError(
            f"{clash.path}: in the folder of a pset, a file of this name has a meaning of its own; "
            "rename the template"
        )


def own_jobscript(machine: Machine) -> str:
    """Write the job script of a machine that has none, from what it says for live runs.

    A live job has several workers, each with one pset at a time; this one has one pset, and gets
    the share of one worker.
    """
    lines = ["#!/usr/bin/env bash"]
    if machine.cluster == "slurm":
        lines += [f"#SBATCH {name}={value}" for name, value in _slurm_share(machine) if value]
        lines += [f"#SBATCH {one}" for one in machine.setting("job_extra_directives") or []]
    lines += machine.setting("job_script_prologue") or []
    lines.append(f"{machine.setting('python') or 'python3'} {RUN_A_PSET}")
    return "\n".join(lines) + "\n"


def _slurm_share(machine: Machine) -> list[tuple[str, object]]:
    cores = int(machine.setting("cores") or 1)
    workers = int(machine.setting("processes") or cores)
    memory = machine.setting("memory")
    share = parse_bytes(memory) // workers // 2**20 if memory is not None else None
    return [
        ("--partition", machine.setting("queue")),
        ("--account", machine.setting("account")),
        ("--time", machine.setting("walltime")),
        ("--ntasks", 1),
        ("--cpus-per-task", max(1, int(machine.setting("job_cpu") or cores) // workers)),
        ("--mem", None if share is None else f"{share}M"),
    ]


def values_for(work: Work, pset: Pset, seq: int, sha1: str) -> tuple[dict[str, Any], int]:
    """Give what placeholders are filled with, and the time in nanoseconds since 1970."""
    fields = work.fields_at_start(seq, sha1)
    stamp: int = fields["_time_utc"]
    return {**pset, **fields, "_time_utc": pd.Timestamp(stamp)}, stamp
