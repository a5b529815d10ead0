"""What a run submits: the lines of ``calc/run_<machine>.sh``, job arrays, and the ids of jobs."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from psweep_dask.job_files import JobMachine
from psweep_dask.jobscript import Directives, directives
from psweep_dask.layout import Layout, PsetFolder, replace_file
from psweep_dask.run_script import Submission, array_script, run_script

_JOB_ID = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S*)?(?: on cluster \S+)?")
_PART = re.compile(r"first=(\d+) count=(\d+) (.*)")
_ARRAY_FILE = re.compile(r"array_(.*)_(\d+)\.psets", re.DOTALL)
_REPLACED = "-"
"""Stands in the list of an array for a pset whose job was written anew since."""


@dataclass(frozen=True)
class _Member:
    """A pset of a job array."""

    pset_id: str
    seq: int
    asked: Directives

    def line(self) -> str:
        name = self.asked.name or ""
        output = (self.asked.output or "slurm-%j.out").replace("%x", name)
        error = (self.asked.error or "").replace("%x", name)
        return f"{self.pset_id}\t{output}\t{error}\n"


class Submissions:
    """Gathers the jobs of a run for one machine.

    Parameters
    ----------
    machine : JobMachine
    run_id : str
    run_seq : int
    array : bool
        One job array instead of many jobs.
    """

    def __init__(self, machine: JobMachine, run_id: str, run_seq: int, array: bool) -> None:
        self._machine = machine
        self._run_id = run_id
        self._run_seq = run_seq
        self._array = array
        self._single: list[Submission] = []
        self._groups: defaultdict[tuple[str, ...], list[_Member]] = defaultdict(list)

    def add(self, pset_id: str, seq: int, script: str) -> None:
        """Take in the job of one pset.

        Raises
        ------
        psweep_dask.jobscript.JobscriptError
            If it cannot be an element of an array.
        """
        if self._array:
            asked = directives(script, self._machine.machine.jobscript_path)
            self._groups[asked.kept].append(_Member(pset_id, seq, asked))
        else:
            comment = f"run_seq={self._run_seq} pset_seq={seq}"
            self._single.append(Submission(("submit", pset_id), comment))

    def write(self, layout: Layout) -> Path:
        """Write the run script, and the arrays. The caller holds the lock of the database."""
        lines = [*self._single, *self._write_arrays(layout)]
        path = layout.run_script_path(self._machine.name)
        old = path.read_text() if path.exists() else ""
        text = run_script(self._machine.name, self._machine.subcmd, old, lines)
        replace_file(path, lambda stream: stream.write(text.encode()))
        path.chmod(0o755)
        return path

    def _write_arrays(self, layout: Layout) -> Iterator[Submission]:
        name = self._machine.name
        first = _next_number(layout, self._run_id, name)
        for number, members in enumerate(self._groups.values(), first):
            names = {one.asked.name for one in members}
            job_name = names.pop() if len(names) == 1 else None
            job_name = job_name or f"psweep-{self._run_id[:8]}"
            script = array_script(name, members[0].asked, job_name)
            path = layout.array_path(self._run_id, name, number)
            path.write_text(script)
            path.chmod(0o755)
            rows = "".join(one.line() for one in members)
            layout.array_list_path(self._run_id, name, number).write_text(rows)
            seqs = f"pset_seq={members[0].seq}..{members[-1].seq}"
            comment = f"run_seq={self._run_seq} {seqs} jobs={len(members)}"
            yield Submission(("submit_array", self._run_id, path.name), comment)


def job_ids(folder: PsetFolder) -> list[str] | None:
    """Tell under which ids SLURM knows the jobs of a pset that were submitted one by one.

    Returns
    -------
    list of str or None
        None if it was submitted to something else than SLURM; empty if it was not submitted.
    """
    ids = []
    for path in folder.path.glob(folder.submitted_path("*").name):
        command, _, answer = path.read_text(errors="replace").partition("\n")
        if not command:
            continue
        match = _JOB_ID.fullmatch(answer.strip().rpartition("\n")[2])
        if match is None or Path(command.split()[0]).name != "sbatch":
            return None
        ids.append(match[1])
    return ids


def array_job_ids(layout: Layout, run_id: str) -> dict[str, list[str]]:
    """Tell under which ids SLURM knows the jobs of psets that are elements of arrays.

    Returns
    -------
    dict
        Ids by ``_pset_id``, such as ``"7_0"``; only of those that were submitted.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in layout.arrays_submitted(run_id):
        psets = path.with_suffix(".psets").read_text().splitlines()
        for line in path.read_text().splitlines():
            part = _PART.fullmatch(line)
            job = _JOB_ID.fullmatch(part[3].strip()) if part is not None else None
            if part is None or job is None:
                continue
            first, count = int(part[1]), int(part[2])
            for index, row in enumerate(psets[first : first + count]):
                found[row.partition("\t")[0]].append(f"{job[1]}_{index}")
    return found


def forget(layout: Layout, run_id: str, pset_ids: Collection[str]) -> None:
    """Have psets count as not submitted, since their jobs are about to be written anew.

    Files are emptied, not removed: when they are copied to another machine, they take the place
    of what is there.
    """
    for path in layout.run_dir(run_id).glob("array_*.psets"):
        rows = path.read_text().splitlines(keepends=True)
        kept = [_REPLACED + "\t\t\n" if _id(row) in pset_ids else row for row in rows]
        if kept != rows:
            path.write_text("".join(kept))
    for pset_id in pset_ids:
        folder = layout.pset_folder(pset_id)
        stale = [folder.ended_path, *folder.path.glob(folder.submitted_path("*").name)]
        for path in stale:
            if path.exists():
                path.write_bytes(b"")


def _id(row: str) -> str:
    return row.partition("\t")[0]


def _next_number(layout: Layout, run_id: str, machine: str) -> int:
    found = [
        _ARRAY_FILE.fullmatch(one.name) for one in layout.run_dir(run_id).glob("array_*.psets")
    ]
    return 1 + max((int(one[2]) for one in found if one and one[1] == machine), default=-1)


def shown_commands(paths: list[Path]) -> str:
    """Say how the jobs are submitted."""
    here = Path.cwd()
    shown = [path.relative_to(here) if path.is_relative_to(here) else path for path in paths]
    return " or ".join(f"sh {shlex.quote(str(path))}" for path in shown)
