"""The shell scripts that submit prepared jobs: ``calc/run_<machine>.sh``, and job arrays.

Their text is in ``run_script.sh.j2`` and ``array_script.sh.j2``, beside this module.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from psweep_dask.hpc.jobscript import Directives, sbatch_quote
from psweep_dask.offline.templates import jinja_environment

_SUBMIT_LINE = re.compile(r"(?:# )*((?:submit|submit_array) .*)")


@dataclass(frozen=True)
class SubmitLine:
    """A line of a run script that submits a job or a job array.

    Parameters
    ----------
    words : tuple of str
        ``submit PSET_ID``, or ``submit_array RUN_ID ARRAY``.
    comment : str
        Follows the command, for people.
    """

    words: tuple[str, ...]
    comment: str

    def __str__(self) -> str:
        return f"{shlex.join(self.words)}  # {self.comment}"


def run_script(machine: str, subcmd: str, old: str, lines: Iterable[SubmitLine]) -> str:
    """Return the text of the script that submits the jobs of a study to a machine.

    Parameters
    ----------
    machine : str
        The name of the machine.
    subcmd : str
        The command that submits a job script, a piece of shell.
    old : str
        The text of the script that is replaced: its submit lines stay as comments. Empty if there
        was none.
    lines : iterable of SubmitLine
        The new submit lines.
    """
    lines = list(lines)
    matches = map(_SUBMIT_LINE.fullmatch, old.split("\n"))
    comments = [f"# {match[1]}" for match in matches if match is not None]
    commands = {line.words[0] for line in lines}
    return _fill(
        "run_script.sh.j2",
        machine=machine,
        subcmd=subcmd,
        lines=[*comments, *lines],
        has_jobs="submit" in commands,
        has_arrays="submit_array" in commands,
    )


def array_script(machine: str, directives: Directives, name: str) -> str:
    """Return the text of the job script of a job array.

    Parameters
    ----------
    machine : str
        The name of the machine.
    directives : Directives
        What the job scripts of all psets of the array ask SLURM for.
    name : str
        The job name of the array.
    """
    own = [f"--job-name={name}", "--output=/dev/null"]
    lines = [*directives.kept, *(f"#SBATCH {sbatch_quote(option)}" for option in own)]
    return _fill("array_script.sh.j2", machine=machine, directives=lines)


def _fill(template: str, **values: object) -> str:
    return jinja_environment(Path(__file__).parent).get_template(template).render(values)
