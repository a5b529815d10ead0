"""What is submitted: the lines of ``calc/run_<machine>.sh``, job arrays, and the ids of jobs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from psweep_dask.hpc.jobscript import Directives, read_directives
from psweep_dask.offline.job_files import BatchMachine
from psweep_dask.offline.run_script import SubmitLine, array_script, run_script
from psweep_dask.params.pset import pset_id
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout, PsetFolder
from psweep_dask.storage.plan import Plan

_JOB_ID = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S*)?(?: on cluster \S+)?")
_PART = re.compile(r"first=(\d+) count=(\d+) slurm=(\S*) (.*)")
_ARRAY_FILE = re.compile(r"array_(.*)_(\d+)\.psets", re.DOTALL)
_REPLACED = "-"
"""Stands in the list of an array for a pset whose job was written anew since."""


@dataclass(frozen=True)
class _ArrayElement:
    """A pset of a job array."""

    pset_id: str
    seq: int
    asked: Directives
    jobscript: str

    def line(self) -> str:
        name = (self.asked.name or self.jobscript).replace("%", "%%")
        output = self.asked.output or "slurm-%j.out"
        paths = [self.asked.input or "/dev/null", output, self.asked.error or output]
        return "\t".join([self.pset_id, *(one.replace("%x", name) for one in paths)]) + "\n"


class RunScriptBuilder:
    """Gathers the jobs of one or several runs for a machine.

    Parameters
    ----------
    machine : JobMachine
    array : bool
        Job arrays instead of many jobs.
    """

    def __init__(self, machine: BatchMachine, array: bool) -> None:
        self._machine = machine
        self._array = array
        self._single: list[SubmitLine] = []
        self._groups: defaultdict[tuple[object, ...], list[_ArrayElement]] = defaultdict(list)

    def add(self, plan: Plan, seq: int, script: str) -> None:
        """Take in the job of one pset of a run.

        Raises
        ------
        psweep_dask.hpc.jobscript.JobscriptError
            If it cannot be an element of an array.
        """
        if self._array:
            asked = read_directives(script, self._machine.machine.jobscript_path)
            target = self._machine.template.target
            member = _ArrayElement(pset_id(plan.run_id, seq), seq, asked, target)
            self._groups[(plan.run_id, plan.run_seq, *asked.kept)].append(member)
        else:
            comment = f"run_seq={plan.run_seq} pset_seq={seq}"
            one = pset_id(plan.run_id, seq)
            self._single.append(SubmitLine(("submit", one), comment))

    def write(self, layout: Layout) -> Path:
        """Write the run script, and the arrays. The caller holds the lock of the database."""
        lines = [*self._single, *self._write_arrays(layout)]
        path = layout.run_script_path(self._machine.name)
        old = path.read_text() if path.exists() else ""
        text = run_script(self._machine.name, self._machine.subcmd, old, lines)
        replace_file(path, lambda stream: stream.write(text.encode()))
        path.chmod(0o755)
        return path

    def _write_arrays(self, layout: Layout) -> Iterator[SubmitLine]:
        name = self._machine.name
        for (run_id, run_seq, *_), members in self._groups.items():
            number = _next_number(layout, str(run_id), name)
            names = {one.asked.name for one in members}
            job_name = names.pop() if len(names) == 1 else None
            job_name = job_name or f"psweep-{str(run_id)[:8]}"
            path = layout.run_folder(str(run_id)).array_path(name, number)
            path.write_text(array_script(name, members[0].asked, job_name))
            path.chmod(0o755)
            rows = "".join(one.line() for one in members)
            layout.run_folder(str(run_id)).array_list_path(name, number).write_text(rows)
            seqs = f"pset_seq={members[0].seq}..{members[-1].seq}"
            comment = f"run_seq={run_seq} {seqs} jobs={len(members)}"
            yield SubmitLine(("submit_array", str(run_id), path.name), comment)


class SubmittedJob(NamedTuple):
    """A job that was submitted.

    Parameters
    ----------
    slurm : str
        Name of the SLURM that has taken it; empty if it was something else.
    job_id : str
    """

    slurm: str
    job_id: str


def single_jobs(folder: PsetFolder) -> list[SubmittedJob]:
    """Find the jobs of a pset that were submitted one by one.

    Raises
    ------
    OSError
        If a note cannot be read.
    """
    jobs = []
    for path in _notes(folder):
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


def array_jobs(layout: Layout, run_id: str) -> dict[str, list[SubmittedJob]]:
    """Find the jobs of psets that are elements of arrays, by ``_pset_id``.

    The id of such a job is that of the array and its index, such as ``7_0``.
    """
    found: defaultdict[str, list[SubmittedJob]] = defaultdict(list)
    for path in layout.run_folder(run_id).arrays_submitted():
        psets = path.with_suffix(".psets").read_text().split("\n")
        for line in path.read_text().split("\n"):
            part = _PART.fullmatch(line)
            job = _JOB_ID.fullmatch(part[4].strip()) if part is not None else None
            if part is None or job is None:
                continue
            first, count = int(part[1]), int(part[2])
            for index, row in enumerate(psets[first : first + count]):
                found[_id(row)].append(SubmittedJob(part[3], f"{job[1]}_{index}"))
    return found


def jobs_of(layout: Layout, psets: Iterable[tuple[str, str]]) -> dict[str, list[SubmittedJob]]:
    """Find all jobs that were submitted for psets, by ``_pset_id``.

    Parameters
    ----------
    layout : Layout
    psets : iterable of tuple
        For each, its ``_run_id`` and ``_pset_id``.
    """
    in_arrays: dict[str, dict[str, list[SubmittedJob]]] = {}
    found = {}
    for run_id, one in psets:
        if run_id not in in_arrays:
            in_arrays[run_id] = array_jobs(layout, run_id)
        found[one] = [*single_jobs(layout.pset_folder(one)), *in_arrays[run_id].get(one, [])]
    return found


def _notes(folder: PsetFolder) -> list[Path]:
    """Tell where submissions of a pset are noted, for each machine that it has a job script for."""
    prefix = folder.jobscript_path("").name
    machines = [one.name.removeprefix(prefix) for one in folder.path.glob(f"{prefix}*")]
    return [folder.submitted_path(one) for one in machines]


def clear_submissions(layout: Layout, plan: Plan, with_func: bool) -> None:
    """Have the psets of a plan count as not submitted: their jobs are about to be written anew.

    Files are made empty, not removed, also where there are none: when they are copied to another
    machine, they take the place of what is there.
    """
    pset_ids = {pset_id(plan.run_id, seq) for seq in plan.seqs}
    for path in layout.run_folder(plan.run_id).path.glob("array_*.psets"):
        rows = path.read_text().split("\n")
        kept = [_REPLACED if _id(row) in pset_ids else row for row in rows]
        if kept != rows:
            path.write_text("\n".join(kept))
    for one in pset_ids:
        folder = layout.pset_folder(one)
        if not folder.path.is_dir():
            continue
        for path in (folder.ended_path, *_notes(folder)):
            path.write_bytes(b"")
        if not with_func:
            folder.result_path.write_bytes(b"")


def _id(row: str) -> str:
    return row.partition("\t")[0]


def _next_number(layout: Layout, run_id: str, machine: str) -> int:
    found = [
        _ARRAY_FILE.fullmatch(one.name)
        for one in layout.run_folder(run_id).path.glob("array_*.psets")
    ]
    return 1 + max((int(one[2]) for one in found if one and one[1] == machine), default=-1)
