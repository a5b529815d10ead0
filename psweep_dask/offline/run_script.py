"""The shell scripts that submit prepared jobs: ``calc/run_<machine>.sh``, and job arrays.

Their text is in ``run_script.sh.j2`` and ``array_script.sh.j2``, beside this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from psweep_dask.hpc.jobscript import sbatch_quote
from psweep_dask.offline.templates import jinja_environment

_SUBMIT_LINE = re.compile(r"(?:# )*((?:submit|submit_array) .*)")


def run_script(machine: str, subcmd: str, old: str, lines: Sequence[str]) -> str:
    """Return the text of the script that submits the jobs of a study to a machine.

    Its lines are ``submit PSET_ID`` and ``submit_array RUN_ID ARRAY``. Those of the script that it
    replaces, `old`, stay as comments.
    """
    matches = map(_SUBMIT_LINE.fullmatch, old.split("\n"))
    commands = {line.partition(" ")[0] for line in lines}
    return _fill(
        "run_script.sh.j2",
        machine=machine,
        subcmd=subcmd,
        lines=[*(f"# {match[1]}" for match in matches if match is not None), *lines],
        has_jobs="submit" in commands,
        has_arrays="submit_array" in commands,
    )


def array_script(machine: str, directives: Iterable[str], job_name: str) -> str:
    """Return the text of the job script of a job array, with these ``#SBATCH`` lines."""
    own = (f"#SBATCH {sbatch_quote(f'--job-name={job_name}')}", "#SBATCH --output=/dev/null")
    return _fill("array_script.sh.j2", machine=machine, directives=[*directives, *own])


def _fill(template: str, **values: object) -> str:
    return jinja_environment(Path(__file__).parent).get_template(template).render(values)
