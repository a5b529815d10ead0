"""The files of a prepared job: filled templates, job scripts, and the pset for func."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask.hpc import jobscript
from psweep_dask.offline.batch_machine import BatchMachine, calls_func, read_batch_machines
from psweep_dask.offline.submissions import RunScriptBuilder
from psweep_dask.offline.templates import FileTemplate, TemplateError, read_templates
from psweep_dask.options import OptionError
from psweep_dask.params.pset import Pset
from psweep_dask.storage import pickling
from psweep_dask.storage.layout import PsetFolder
from psweep_dask.study.runs import StoredRun
from psweep_dask.worker.work import Work

log = logging.getLogger("psweep_dask")


@dataclass(frozen=True)
class TemplateOptions:
    """The options of `prep_batch` and `prep_rest` for templates, checked when they are made."""

    calc_templ_dir: str | os.PathLike[str] | None
    machine_templ_dir: str | os.PathLike[str]
    template_mode: str | None
    array: bool

    def __post_init__(self) -> None:
        if self.template_mode not in (None, "dollar", "jinja"):
            raise OptionError(
                f"template_mode={self.template_mode!r}; allowed are 'dollar', 'jinja'"
            )
        if not isinstance(self.array, bool):
            raise OptionError(f"array={self.array!r}; allowed are True, False")
        if not isinstance(self.calc_templ_dir, str | os.PathLike | None):
            raise OptionError(f"calc_templ_dir={self.calc_templ_dir!r}; allowed is a path")
        if not isinstance(self.machine_templ_dir, str | os.PathLike):
            raise OptionError(f"machine_templ_dir={self.machine_templ_dir!r}; allowed is a path")

    def for_run(self, run: StoredRun) -> TemplateOptions:
        """Return these options with the `template_mode` of a run, unless another one is set."""
        mode = run.info.get("offline", {}).get("template_mode")
        return dataclasses.replace(self, template_mode=self.template_mode or mode)

    def read(self, with_func: bool) -> JobTemplates:
        """Read all templates, and check what can be checked without a pset.

        As in psweep, there may be only job scripts, or only files without a machine. Where jobs
        call a func, a warning names each job script that does not call it.
        """
        mode = self.template_mode or "dollar"
        folder = Path(self.calc_templ_dir or "templates/calc")
        needs_none = with_func and self.calc_templ_dir is None and not folder.exists()
        files = [] if needs_none else read_templates(folder, mode)
        machines = read_batch_machines(Path(self.machine_templ_dir), mode, with_func)
        if not files and not machines:
            raise TemplateError(
                f"there is no file in {str(folder)!r}, and no machine in "
                f"{str(self.machine_templ_dir)!r}; put there what each job shall find in its "
                "folder, or pass func="
            )
        _check_names(files, machines)
        if with_func and not any(map(calls_func, files)):
            for machine in machines:
                if not calls_func(machine.template):
                    log.warning(
                        "%s does not call func: one line of it must be 'python -m "
                        "psweep_dask.offline.job', where python is an interpreter that has "
                        "psweep_dask",
                        machine.machine.jobscript_path,
                    )
        if self.array and not any(machine.is_slurm for machine in machines):
            commands = ", ".join(f"{machine.name}: {machine.subcmd}" for machine in machines)
            raise OptionError(
                f"array=True is for SLURM, and no machine has 'subcmd: sbatch' ({commands}); leave "
                "array=True away"
            )
        return JobTemplates(files, machines, with_func, self.array)


@dataclass(frozen=True)
class JobTemplates:
    """The templates of all files that a job needs; job scripts are in `machines`."""

    files: list[FileTemplate]
    machines: list[BatchMachine]
    with_func: bool
    array: bool

    def run_scripts(self) -> dict[str, RunScriptBuilder]:
        """Return the run scripts, still without jobs, by machine."""
        return {
            machine.name: RunScriptBuilder(machine, self.array and machine.is_slurm)
            for machine in self.machines
        }

    def check(self, work: Work, psets: Iterable[Pset]) -> None:
        """Fill all templates for each pset, and write nothing: an error comes before."""
        for pset in psets:
            values = fill_values(work, pset, 0, 40 * "0")
            for template in self.files:
                template.fill(values)
            for machine in self.machines:
                script = machine.script(values)
                if self.array and machine.is_slurm:
                    jobscript.read_directives(script, machine.machine.jobscript_path)

    def write(self, folder: PsetFolder, values: Mapping[str, Any]) -> dict[str, str]:
        """Write the files of the job of one pset, and return its job script for each machine."""
        folder.path.mkdir(parents=True, exist_ok=True)
        for template in self.files:
            template.write(folder.path, values)
        if self.with_func:
            folder.pset_path.write_bytes(pickling.dumps(dict(values)))
        scripts = {}
        for machine in self.machines:
            scripts[machine.name] = script = machine.script(values)
            path = folder.jobscript_path(machine.name)
            path.unlink(missing_ok=True)  # an old one may be read-only
            path.write_bytes(script.encode())
            path.chmod(machine.template.mode | 0o100)
        return scripts


def _check_names(files: Iterable[FileTemplate], machines: Iterable[BatchMachine]) -> None:
    folder = PsetFolder(Path())
    reserved = {folder.pset_path, folder.record_path, folder.result_path, folder.ended_path}
    for machine in machines:
        reserved |= {folder.jobscript_path(machine.name), folder.submitted_path(machine.name)}
    for template in files:
        if Path(template.target.partition("/")[0]) in reserved:
            raise TemplateError(
                f"{template.path}: in the folder of a pset, a file of this name has a meaning of "
                "its own; rename the template"
            )


def fill_values(work: Work, pset: Pset, seq: int, sha1: str) -> dict[str, Any]:
    """Return the values for placeholders: a pset that begins now, and its book-keeping."""
    values = {**pset, **work.fields_at_start(seq, sha1)}
    return values | {"_time_utc": pd.Timestamp(values["_time_utc"])}
