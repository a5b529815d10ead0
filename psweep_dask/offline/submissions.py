"""Submissions of jobs: write run scripts and job arrays, and find the jobs that they submitted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from psweep_dask.hpc.jobscript import Directives, read_directives
from psweep_dask.offline.batch_machine import BatchMachine
from psweep_dask.offline.run_script import array_script, run_script
from psweep_dask.params.pset import pset_id
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout, PsetFolder, RunFolder
from psweep_dask.storage.plan import Plan

_JOB_ID = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S*)?(?: on cluster \S+)?")
_ARRAY_PART = re.compile(
    rf"^first=(\d+) count=(\d+) slurm=(\S*) +{_JOB_ID.pattern}\s*$", re.MULTILINE
)


class RunScriptBuilder:
    """Takes the jobs of one or several runs for a machine, and writes its run script.

    With `array`, job arrays are submitted instead of single jobs.
    """

    def __init__(self, machine: BatchMachine, array: bool) -> None:
        self._machine = machine
        self._array = array
        self._lines: list[str] = []
        # By what is the same for all elements of an array: _pset_seq and directives of each.
        self._arrays: dict[tuple[str, int, tuple[str, ...]], list[tuple[int, Directives]]] = {}

    def add(self, plan: Plan, seq: int, script: str) -> None:
        """Add the job of a pset, by the plan of its run, its ``_pset_seq`` and its job script."""
        if self._array:
            asked = read_directives(script, self._machine.machine.jobscript_path)
            key = (plan.run_id, plan.run_seq, asked.kept)
            self._arrays.setdefault(key, []).append((seq, asked))
        else:
            id_ = pset_id(plan.run_id, seq)
            self._lines.append(f"submit {id_}  # run_seq={plan.run_seq} pset_seq={seq}")

    def write(self, layout: Layout) -> Path:
        """Write the run script and the arrays. The caller holds the lock of the database."""
        lines = [*self._lines, *self._write_arrays(layout)]
        path = layout.run_script_path(self._machine.name)
        old = path.read_text() if path.exists() else ""
        text = run_script(self._machine.name, self._machine.subcmd, old, lines)
        replace_file(path, lambda stream: stream.write(text.encode()))
        path.chmod(0o755)
        return path

    def _write_arrays(self, layout: Layout) -> Iterator[str]:
        machine = self._machine.name
        for (run_id, run_seq, kept), elements in self._arrays.items():
            folder = layout.run_folder(run_id)
            number = 0
            while folder.array_list_path(machine, number).exists():
                number += 1
            names = {asked.name for _, asked in elements}
            job_name = (names.pop() if len(names) == 1 else None) or f"psweep-{run_id[:8]}"
            path = folder.array_path(machine, number)
            path.write_text(array_script(machine, kept, job_name))
            path.chmod(0o755)
            rows = [_array_row(pset_id(run_id, seq), asked, machine) for seq, asked in elements]
            folder.array_list_path(machine, number).write_text("".join(rows))
            comment = f"run_seq={run_seq} pset_seq={elements[0][0]}..{elements[-1][0]}"
            yield f"submit_array {run_id} {quote(path.name)}  # {comment} jobs={len(elements)}"


def _array_row(id_: str, asked: Directives, machine: str) -> str:
    """Return the line for the list of an array: ``_pset_id``, input, output and error."""
    name = (asked.name or f"jobscript_{machine}").replace("%", "%%")
    output = asked.output or "slurm-%j.out"
    paths = (asked.input or "/dev/null", output, asked.error or output)
    return "\t".join([id_, *(path.replace("%x", name) for path in paths)]) + "\n"


class SubmittedJob(NamedTuple):
    """A job that was submitted, with the name of the SLURM that took it, if any did.

    The id is empty if it is not known. That of an array element is ``<id of the array>_<index>``.
    """

    slurm: str
    job_id: str


def jobs_of(layout: Layout, psets: Iterable[tuple[str, str]]) -> dict[str, list[SubmittedJob]]:
    """Find all jobs of psets, by ``_pset_id``. The psets are given by ``_run_id``, ``_pset_id``."""
    psets = list(psets)
    in_arrays = {
        run_id: array_jobs(layout.run_folder(run_id)) for run_id in {run_id for run_id, _ in psets}
    }
    return {
        id_: [*single_jobs(layout.pset_folder(id_)), *in_arrays[run_id].get(id_, ())]
        for run_id, id_ in psets
    }


def single_jobs(folder: PsetFolder) -> list[SubmittedJob]:
    """Find the jobs of a pset that are not elements of arrays."""
    jobs = []
    for path in submitted_paths(folder):
        text = path.read_text(errors="replace") if path.is_file() else ""
        if text.strip():
            command, slurm, answer = f"{text}\n\n".split("\n", 2)
            match = _JOB_ID.fullmatch(answer.strip().rpartition("\n")[2])
            by_sbatch = Path(re.split(r"\s", command)[0]).name == "sbatch"
            name = slurm.removeprefix("slurm=") if by_sbatch and match else ""
            jobs.append(SubmittedJob(name, match[1] if match else ""))
    return jobs


def array_jobs(folder: RunFolder) -> dict[str, list[SubmittedJob]]:
    """Find the jobs of a run that are elements of arrays, by ``_pset_id``."""
    jobs: defaultdict[str, list[SubmittedJob]] = defaultdict(list)
    for path in folder.arrays_submitted():
        rows = path.with_suffix(".psets").read_text().split("\n")
        for part in _ARRAY_PART.finditer(path.read_text()):
            first = int(part[1])
            for index, row in enumerate(rows[first : first + int(part[2])]):
                jobs[row.partition("\t")[0]].append(SubmittedJob(part[3], f"{part[4]}_{index}"))
    return jobs


def clear_submissions(layout: Layout, plan: Plan, with_func: bool) -> None:
    """Have the psets of a plan count as not submitted, since their jobs are prepared again.

    Files are made empty instead of removed, and are made where there are none. So they replace
    the files on another machine when the study is copied there. Where jobs call a func, there is
    no ``result.json``.
    """
    ids = {pset_id(plan.run_id, seq) for seq in plan.seqs}
    for path in layout.run_folder(plan.run_id).path.glob("array_*.psets"):
        rows = path.read_text().split("\n")
        # In the list of an array, - is a pset whose job was prepared again since.
        kept = ["-" if row.partition("\t")[0] in ids else row for row in rows]
        if kept != rows:
            path.write_text("\n".join(kept))
    for folder in map(layout.pset_folder, ids):
        if folder.path.is_dir():
            results = [] if with_func else [folder.result_path]
            for path in (folder.ended_path, *results, *submitted_paths(folder)):
                path.write_bytes(b"")


def submitted_paths(folder: PsetFolder) -> list[Path]:
    """Return the files for submissions, one for each machine with a job script in the folder."""
    prefix = folder.jobscript_path("").name
    paths = folder.path.glob(f"{prefix}*")
    return [folder.submitted_path(path.name.removeprefix(prefix)) for path in paths]
