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
from psweep_dask.offline.batch_machine import (
    CALL_FUNC,
    BatchMachine,
    calls_func,
    read_batch_machines,
)
from psweep_dask.offline.submissions import RunScriptBuilder
from psweep_dask.offline.templates import (
    TEMPLATE_MODES,
    FileTemplate,
    TemplateError,
    find_clash,
    read_templates,
)
from psweep_dask.options import OptionError
from psweep_dask.params.pset import Pset
from psweep_dask.storage import pickling
from psweep_dask.storage.layout import PsetFolder
from psweep_dask.study.runs import StoredRun
from psweep_dask.worker.work import Work

log = logging.getLogger("psweep_dask")

CALC_TEMPLATES_DIR = "templates/calc"
"""Folder with the templates of the files that each job finds, seen from the working directory."""


@dataclass(frozen=True)
class TemplateOptions:
    """The options of `prep_batch` and `prep_rest` for templates.

    Parameters
    ----------
    calc_templ_dir : str, PathLike or None
        None means ``templates/calc``; with func there need not be such a folder.
    machine_templ_dir : str or PathLike
    template_mode : {'dollar', 'jinja', None}
        None means that of the run, or else "dollar".
    array : bool
        Whether job arrays are written instead of single jobs.

    Raises
    ------
    OptionError
        If a value is not allowed.
    """

    calc_templ_dir: str | os.PathLike[str] | None
    machine_templ_dir: str | os.PathLike[str]
    template_mode: str | None
    array: bool

    def __post_init__(self) -> None:
        if self.template_mode not in (None, *TEMPLATE_MODES):
            allowed = ", ".join(map(repr, TEMPLATE_MODES))
            raise OptionError(f"template_mode={self.template_mode!r}; allowed are {allowed}")
        if not isinstance(self.array, bool):
            raise OptionError(f"array={self.array!r}; allowed are True, False")
        for name, kind in (
            ("calc_templ_dir", str | os.PathLike | None),
            ("machine_templ_dir", str | os.PathLike),
        ):
            if not isinstance(getattr(self, name), kind):
                raise OptionError(f"{name}={getattr(self, name)!r}; allowed is a path")

    def for_run(self, run: StoredRun) -> TemplateOptions:
        """Return these options with the `template_mode` of a run, unless another one is set."""
        mode = run.info.get("offline", {}).get("template_mode")
        return dataclasses.replace(self, template_mode=self.template_mode or mode)

    def read(self, with_func: bool) -> JobTemplates:
        """Read the templates.

        Parameters
        ----------
        with_func : bool
            Whether jobs call a func.

        Raises
        ------
        OptionError
            If `array` is set, and no machine has SLURM.
        TemplateError
            If a template is missing or has a mistake.
        MachineError
            If a machine is missing or has a mistake.
        """
        folder: Path | None = Path(self.calc_templ_dir or CALC_TEMPLATES_DIR)
        if with_func and self.calc_templ_dir is None and not Path(CALC_TEMPLATES_DIR).exists():
            folder = None
        mode = self.template_mode or TEMPLATE_MODES[0]
        templates = read_job_templates(folder, Path(self.machine_templ_dir), mode, with_func)
        if self.array and not any(machine.is_slurm for machine in templates.machines):
            commands = ", ".join(
                f"{machine.name}: {machine.subcmd}" for machine in templates.machines
            )
            raise OptionError(
                f"array=True is for SLURM, and no machine has 'subcmd: sbatch' ({commands}); leave "
                "array=True away"
            )
        return templates

    def run_scripts(self, templates: JobTemplates) -> dict[str, RunScriptBuilder]:
        """Return the run scripts, still without jobs, by machine."""
        return {
            machine.name: RunScriptBuilder(machine, self.array and machine.is_slurm)
            for machine in templates.machines
        }


@dataclass(frozen=True)
class JobTemplates:
    """The templates of all files that a job needs.

    Parameters
    ----------
    files : list of FileTemplate
        Without the job scripts.
    machines : list of BatchMachine
        The job scripts.
    with_func : bool
        Whether jobs call a func, for which they need the pset.
    """

    files: list[FileTemplate]
    machines: list[BatchMachine]
    with_func: bool

    def check(self, work: Work, psets: Iterable[Pset], array: bool) -> None:
        """Fill all templates for each pset, and write nothing.

        Raises
        ------
        TemplateError
            If a placeholder has no value.
        psweep_dask.hpc.jobscript.JobscriptError
            If `array`, and a job script cannot be an element of a job array.
        """
        fields, _ = fill_values(work, {}, 0, 40 * "0")
        for pset in psets:
            values = {**pset, **fields}
            for template in self.files:
                template.fill(values)
            for machine in self.machines:
                script = machine.script(values)
                if array and machine.is_slurm:
                    jobscript.read_directives(script, machine.machine.jobscript_path)

    def write(self, folder: PsetFolder, values: Mapping[str, Any]) -> dict[str, str]:
        """Write the files of the job of one pset.

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


def read_job_templates(
    calc_templ_dir: Path | None, machine_templ_dir: Path, template_mode: str, with_func: bool
) -> JobTemplates:
    """Read all templates, and check what can be checked without a pset.

    Parameters
    ----------
    calc_templ_dir : Path or None
        None if there are no templates but job scripts.
    machine_templ_dir : Path
        Has a folder for each machine.
    template_mode : {'dollar', 'jinja'}
    with_func : bool
        Whether jobs call a func. A warning names each job script that does not call it.

    Raises
    ------
    TemplateError
        If a template is missing or has a mistake.
    MachineError
        If a machine is missing or has a mistake.
    """
    files = [] if calc_templ_dir is None else read_templates(calc_templ_dir, template_mode)
    if not files and not with_func:
        raise TemplateError(
            f"there is no file in {str(calc_templ_dir)!r}: put there what each job shall find in "
            "its folder, or pass func="
        )
    machines = read_batch_machines(machine_templ_dir, template_mode, with_func)
    _check_names(files, machines)
    if with_func and not any(map(calls_func, files)):
        for machine in machines:
            if not calls_func(machine.template):
                log.warning(
                    "%s does not call func: one line of it must be 'python %s', where python is an "
                    "interpreter that has psweep_dask",
                    machine.machine.jobscript_path,
                    CALL_FUNC,
                )
    return JobTemplates(files, machines, with_func)


def _check_names(templates: list[FileTemplate], machines: list[BatchMachine]) -> None:
    folder = PsetFolder(Path())
    reserved = [folder.pset_path, folder.record_path, folder.result_path, folder.ended_path]
    for machine in machines:
        reserved += [folder.jobscript_path(machine.name), folder.submitted_path(machine.name)]
    clash = find_clash(templates, (path.name for path in reserved))
    if clash is not None:
        raise TemplateError(
            f"{clash.path}: in the folder of a pset, a file of this name has a meaning of its own; "
            "rename the template"
        )


def fill_values(work: Work, pset: Pset, seq: int, sha1: str) -> tuple[dict[str, Any], int]:
    """Return the values for placeholders, and ``_time_utc`` in nanoseconds since 1970.

    Parameters
    ----------
    work : Work
    pset : dict
    seq : int
        The ``_pset_seq``.
    sha1 : str
        The ``_pset_sha1``.

    Returns
    -------
    values : dict
        The pset and its book-keeping fields.
    time_utc : int
    """
    fields = work.fields_at_start(seq, sha1)
    time_utc: int = fields["_time_utc"]
    return {**pset, **fields, "_time_utc": pd.Timestamp(time_utc)}, time_utc
