"""Which templates a call means that writes batch jobs, and whether these form arrays."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from psweep_dask.offline.job_files import JobTemplates, read_job_files
from psweep_dask.offline.submissions import RunScriptBuilder
from psweep_dask.offline.templates import TEMPLATE_MODES
from psweep_dask.options import OptionError
from psweep_dask.study.runs import StoredRun

CALC_TEMPLATES_DIR = "templates/calc"
"""Where the files are that each job finds in its folder, seen from the working directory."""


class TemplateOptionError(OptionError):
    """Options that do not go with the machines there are."""


@dataclass(frozen=True)
class TemplateOptions:
    """The options that say where templates are, and what becomes of them."""

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

    def as_in(self, before: StoredRun) -> TemplateOptions:
        """Take the language of the templates that a run had, unless another one is asked for."""
        mode = before.info.get("offline", {}).get("template_mode")
        return dataclasses.replace(self, template_mode=self.template_mode or mode)

    def read(self, with_func: bool) -> JobTemplates:
        """Read them, for jobs with or without a func."""
        folder: Path | None = Path(self.calc_templ_dir or CALC_TEMPLATES_DIR)
        if with_func and self.calc_templ_dir is None and not Path(CALC_TEMPLATES_DIR).exists():
            folder = None
        machines = Path(self.machine_templ_dir)
        files = read_job_files(folder, machines, self.template_mode or TEMPLATE_MODES[0], with_func)
        if self.array and not any(one.is_slurm for one in files.machines):
            commands = ", ".join(f"{one.name}: {one.subcmd}" for one in files.machines)
            raise TemplateOptionError(
                f"array=True is for SLURM, and no machine has 'subcmd: sbatch' ({commands}); leave "
                "array=True away"
            )
        return files

    def submissions(self, files: JobTemplates) -> dict[str, RunScriptBuilder]:
        """Begin to gather what is to be submitted, by machine."""
        return {
            one.name: RunScriptBuilder(one, self.array and one.is_slurm) for one in files.machines
        }
