"""Submissions of jobs: write run scripts and job arrays, and find the jobs that they submitted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from psweep_dask.hpc.jobscript import Directives, read_directives
from psweep_dask.offline.batch_machine import BatchMachine
from psweep_dask.offline.run_script import SubmitLine, array_script, run_script
from psweep_dask.params.pset import pset_id
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout, PsetFolder, RunFolder
from psweep_dask.storage.plan import Plan

_JOB_ID = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S*)?(?: on cluster \S+)?")
_ARRAY_PART = re.compile(r"first=(\d+) count=(\d+) slurm=(\S*) (.*)")
_ARRAY_LIST = re.compile(r"array_(.*)_(\d+)\.psets", re.DOTALL)

_PREPARED_AGAIN = "-"
"""Stands in the list of an array for a pset whose job was prepared again since."""


@dataclass(frozen=True)
class _ArrayElement:
    """A pset of a job array."""

    pset_id: str
    seq: int
    directives: Directives
    jobscript: str

    def line(self) -> str:
        """Return the line for the list of the array: ``_pset_id``, input, output and error."""
        name = (self.directives.name or self.jobscript).replace("%", "%%")
        output = self.directives.output or "slurm-%j.out"
        paths = [self.directives.input or "/dev/null", output, self.directives.error or output]
        return "\t".join([self.pset_id, *(path.replace("%x", name) for path in paths)]) + "\n"


class RunScriptBuilder:
    """Takes the jobs of one or several runs for a machine, and writes its run script.

    Parameters
    ----------
    machine : BatchMachine
    array : bool
        Whether job arrays are submitted instead of single jobs.
    """

    def __init__(self, machine: BatchMachine, array: bool) -> None:
        self._machine = machine
        self._array = array
        self._jobs: list[SubmitLine] = []
        # What is the same for all elements of an array: run and directives.
        self._arrays: defaultdict[tuple[object, ...], list[_ArrayElement]] = defaultdict(list)

    def add(self, plan: Plan, seq: int, script: str) -> None:
        """Add the job of a pset.

        Parameters
        ----------
        plan : Plan
            The plan of its run.
        seq : int
            Its ``_pset_seq``.
        script : str
            Its job script.

        Raises
        ------
        psweep_dask.hpc.jobscript.JobscriptError
            If the job script cannot be an element of a job array.
        """
        id_ = pset_id(plan.run_id, seq)
        if self._array:
            asked = read_directives(script, self._machine.machine.jobscript_path)
            element = _ArrayElement(id_, seq, asked, self._machine.template.target)
            self._arrays[(plan.run_id, plan.run_seq, *asked.kept)].append(element)
        else:
            comment = f"run_seq={plan.run_seq} pset_seq={seq}"
            self._jobs.append(SubmitLine(("submit", id_), comment))

    def write(self, layout: Layout) -> Path:
        """Write the run script and the arrays. The caller holds the lock of the database."""
        lines = [*self._jobs, *self._write_arrays(layout)]
        path = layout.run_script_path(self._machine.name)
        old = path.read_text() if path.exists() else ""
        text = run_script(self._machine.name, self._machine.subcmd, old, lines)
        replace_file(path, lambda stream: stream.write(text.encode()))
        path.chmod(0o755)
        return path

    def _write_arrays(self, layout: Layout) -> Iterator[SubmitLine]:
        machine = self._machine.name
        for (run_id, run_seq, *_), elements in self._arrays.items():
            folder = layout.run_folder(str(run_id))
            number = _next_array_number(folder, machine)
            names = {element.directives.name for element in elements}
            job_name = names.pop() if len(names) == 1 else None
            job_name = job_name or f"psweep-{str(run_id)[:8]}"
            path = folder.array_path(machine, number)
            path.write_text(array_script(machine, elements[0].directives, job_name))
            path.chmod(0o755)
            rows = "".join(element.line() for element in elements)
            folder.array_list_path(machine, number).write_text(rows)
            seqs = f"pset_seq={elements[0].seq}..{elements[-1].seq}"
            comment = f"run_seq={run_seq} {seqs} jobs={len(elements)}"
            yield SubmitLine(("submit_array", str(run_id), path.name), comment)


def _next_array_number(folder: RunFolder, machine: str) -> int:
    matches = [_ARRAY_LIST.fullmatch(path.name) for path in _array_list_paths(folder)]
    numbers = [int(match[2]) for match in matches if match and match[1] == machine]
    return 1 + max(numbers, default=-1)


class SubmittedJob(NamedTuple):
    """A job that was submitted.

    Parameters
    ----------
    slurm : str
        Name of the SLURM that took it; empty for other batch systems.
    job_id : str
        Empty if it is not known.
    """

    slurm: str
    job_id: str


def jobs_of(layout: Layout, psets: Iterable[tuple[str, str]]) -> dict[str, list[SubmittedJob]]:
    """Find all jobs that were submitted for psets.

    Parameters
    ----------
    layout : Layout
    psets : iterable of tuple
        ``_run_id`` and ``_pset_id`` of each.

    Returns
    -------
    dict
        Jobs by ``_pset_id``.
    """
    in_arrays: dict[str, dict[str, list[SubmittedJob]]] = {}
    jobs = {}
    for run_id, id_ in psets:
        if run_id not in in_arrays:
            in_arrays[run_id] = array_jobs(layout.run_folder(run_id))
        jobs[id_] = [*single_jobs(layout.pset_folder(id_)), *in_arrays[run_id].get(id_, [])]
    return jobs


def single_jobs(folder: PsetFolder) -> list[SubmittedJob]:
    """Find the jobs of a pset that are not elements of arrays.

    Raises
    ------
    OSError
        If a file that a run script has left cannot be read.
    """
    jobs = []
    for path in _submitted_paths(folder):
        if not path.is_file():
            continue
        command, _, rest = path.read_text(errors="replace").partition("\n")
        slurm, _, answer = rest.partition("\n")
        if not command:
            continue
        match = _JOB_ID.fullmatch(answer.strip().rpartition("\n")[2])
        by_sbatch = Path(command.split()[0]).name == "sbatch"
        name = slurm.removeprefix("slurm=") if by_sbatch and match is not None else ""
        jobs.append(SubmittedJob(name, "" if match is None else match[1]))
    return jobs


def array_jobs(folder: RunFolder) -> dict[str, list[SubmittedJob]]:
    """Find the jobs of a run that are elements of arrays.

    Returns
    -------
    dict
        Jobs by ``_pset_id``. The id of such a job is that of the array and its index: ``7_0``.
    """
    jobs: defaultdict[str, list[SubmittedJob]] = defaultdict(list)
    for path in folder.arrays_submitted():
        rows = path.with_suffix(".psets").read_text().split("\n")
        for line in path.read_text().split("\n"):
            part = _ARRAY_PART.fullmatch(line)
            match = _JOB_ID.fullmatch(part[4].strip()) if part is not None else None
            if part is None or match is None:
                continue
            first, count = int(part[1]), int(part[2])
            for index, row in enumerate(rows[first : first + count]):
                jobs[_first_field(row)].append(SubmittedJob(part[3], f"{match[1]}_{index}"))
    return jobs


def clear_submissions(layout: Layout, plan: Plan, with_func: bool) -> None:
    """Have the psets of a plan count as not submitted, since their jobs are prepared again.

    Files are made empty instead of removed, and are made where there are none. So they replace
    the files on another machine when the study is copied there.

    Parameters
    ----------
    layout : Layout
    plan : Plan
    with_func : bool
        Whether jobs call a func. Otherwise ``result.json`` is made empty, too.
    """
    ids = {pset_id(plan.run_id, seq) for seq in plan.seqs}
    for path in _array_list_paths(layout.run_folder(plan.run_id)):
        rows = path.read_text().split("\n")
        kept = [_PREPARED_AGAIN if _first_field(row) in ids else row for row in rows]
        if kept != rows:
            path.write_text("\n".join(kept))
    for id_ in ids:
        folder = layout.pset_folder(id_)
        if not folder.path.is_dir():
            continue
        for path in (folder.ended_path, *_submitted_paths(folder)):
            path.write_bytes(b"")
        if not with_func:
            folder.result_path.write_bytes(b"")


def _array_list_paths(folder: RunFolder) -> list[Path]:
    return list(folder.path.glob("array_*.psets"))


def _submitted_paths(folder: PsetFolder) -> list[Path]:
    """Return the files for submissions, one for each machine with a job script in the folder."""
    prefix = folder.jobscript_path("").name
    machines = [path.name.removeprefix(prefix) for path in folder.path.glob(f"{prefix}*")]
    return [folder.submitted_path(machine) for machine in machines]


def _first_field(row: str) -> str:
    return row.partition("\t")[0]
