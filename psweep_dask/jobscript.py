"""A job script for one pset: what it asks SLURM for, and a note of how it ends."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from psweep_dask.errors import PsweepError

SHELLS = ("sh", "bash", "dash", "ksh", "zsh")

_NOTE = """\
# Two lines of psweep_dask, by which ps.collect knows how this ends:
psweep_dir=${PBS_O_WORKDIR:-$PWD} psweep_begun=$(date +%s)
trap 'echo "exit_code=$? begun=$psweep_begun ended=$(date +%s) host=$(uname -n)" \
>"$psweep_dir/ended"' EXIT; trap 'trap - EXIT; exit 143' TERM

"""
"""Leaves the file that `PsetFolder.ended_path` tells. PBS starts jobs in the home folder. A shell
that is asked to leave (walltime, scancel) would run the first trap as if all was well."""

_ENDED = re.compile(r"exit_code=(\d+) begun=(\d+) ended=(\d+) host=(.*)")

# What sbatch calls the options that cannot be the same for all jobs of an array, or that an array
# must not have; all take a value. The short forms are those of its manual.
_OUTPUT, _ERROR, _NAME = "--output", "--error", "--job-name"
_SHORT = {"-o": _OUTPUT, "-e": _ERROR, "-J": _NAME, "-a": "--array", "-D": "--chdir"}
_TAKEN = frozenset(_SHORT.values())


class JobscriptError(PsweepError):
    """A job script that cannot be used as asked."""


@dataclass(frozen=True)
class End:
    """How a job script has ended, by its own note.

    Parameters
    ----------
    exit_code : int
    begun, ended : int
        Seconds since 1970, UTC.
    host : str
    """

    exit_code: int
    begun: int
    ended: int
    host: str


@dataclass(frozen=True)
class Directives:
    """What a job script asks SLURM for in its ``#SBATCH`` lines.

    Parameters
    ----------
    kept : tuple of str
        The lines without the options that follow.
    output, error, name : str or None
        Where output goes, and the name of the job.
    """

    kept: tuple[str, ...]
    output: str | None = None
    error: str | None = None
    name: str | None = None


def noting_its_end(script: str) -> str:
    r"""Have a shell script note how it ends. Scripts in other languages stay as they are.

    Examples
    --------
    >>> print(noting_its_end("#!/bin/sh\n#SBATCH -n 1\n\npython run.py\n").splitlines()[3])
    # Two lines of psweep_dask, by which ps.collect knows how this ends:
    """
    if not is_shell(script):
        return script
    lines = script.splitlines(keepends=True)
    at = next((number for number, line in enumerate(lines) if _is_command(line)), len(lines))
    head = "".join(lines[:at])
    if not head.endswith("\n"):
        head += "\n"
    return head + _NOTE + "".join(lines[at:])


def read_end(text: str) -> End | None:
    """Read the note; None if there is none, or one that is just being written.

    Examples
    --------
    >>> read_end("exit_code=3 begun=100 ended=107 host=n1")
    End(exit_code=3, begun=100, ended=107, host='n1')
    """
    match = _ENDED.fullmatch(text.strip())
    if match is None:
        return None
    code, begun, ended, host = match.groups()
    return End(int(code), int(begun), int(ended), host)


def is_shell(script: str) -> bool:
    """Tell whether a script is one for a shell, by its first line.

    Examples
    --------
    >>> is_shell("#!/usr/bin/env bash"), is_shell("#!/usr/bin/python3"), is_shell("echo")
    (True, False, False)
    """
    words = interpreter(script)
    name = [word for word in words if not word.startswith("-")][-1:] if words else []
    return bool(name) and Path(name[0]).name in SHELLS


def interpreter(script: str) -> list[str]:
    """Give the words behind ``#!``; none if there is no such line."""
    first = script.partition("\n")[0]
    return first[2:].split() if first.startswith("#!") else []


def directives(script: str, where: Path) -> Directives:
    r"""Take the ``#SBATCH`` lines of a script apart.

    Parameters
    ----------
    script : str
    where : Path
        Its file, for messages.

    Raises
    ------
    JobscriptError
        If it asks for what the jobs of an array cannot have each.

    Examples
    --------
    >>> directives("#!/bin/sh\n#SBATCH -n 2 -o out-%j\n#SBATCH --time=5\nrun", Path("jobscript"))
    Directives(kept=('#SBATCH -n 2', '#SBATCH --time=5'), output='out-%j', error=None, name=None)
    """
    found: dict[str, str] = {}
    kept = []
    for line in _header(script):
        words = []
        for name, value in _options(line):
            if name in _TAKEN:
                found[name] = value
            else:
                words.append(value)
        if words:
            kept.append(" ".join(["#SBATCH", *map(_word, words)]))
    for name in ("--array", "--chdir"):
        if name in found:
            raise JobscriptError(
                f"{where}: '#SBATCH {name}={found[name]}' does not go with array=True, where each "
                "pset is an element and runs in its folder; leave one of both away"
            )
    return Directives(tuple(kept), found.get(_OUTPUT), found.get(_ERROR), found.get(_NAME))


def output_patterns(script: str) -> list[str]:
    r"""Give glob patterns of the files that have the output of a job, seen from its folder.

    Examples
    --------
    >>> output_patterns("#!/bin/sh\n#SBATCH -o out-%4j.txt\n#SBATCH -e /tmp/errors")
    ['out-*.txt']
    """
    found = [
        value
        for line in _header(script)
        for name, value in _options(line)
        if name in (_OUTPUT, _ERROR) and value and not value.startswith("/")
    ]
    return [re.sub(r"%\d*\w", "*", glob.escape(one)) for one in found]


def _header(script: str) -> Iterator[str]:
    """Give what stands behind ``#SBATCH`` in the lines that sbatch looks at."""
    for line in script.splitlines():
        if line.startswith("#SBATCH"):
            yield line.removeprefix("#SBATCH")
        elif _is_command(line):
            return


@lru_cache(1000)  # most lines are the same for all psets, and shlex takes a millisecond
def _options(line: str) -> list[tuple[str, str]]:
    """Give the options in a line by their long name, and all other words with an empty name."""
    return list(_parsed(line))


def _parsed(line: str) -> Iterator[tuple[str, str]]:
    try:
        words = iter(shlex.split(line, comments=True))
    except ValueError as err:
        raise JobscriptError(f"'#SBATCH{line}' cannot be taken apart: {err}") from err
    for word in words:
        long, equals, value = word.partition("=")
        if long in _TAKEN:
            yield long, value if equals else next(words, "")
        elif word[:2] in _SHORT and not word.startswith("--"):
            yield _SHORT[word[:2]], word[2:] or next(words, "")
        else:
            yield "", word


def _word(word: str) -> str:
    """Quote a word as sbatch reads it: with double quotes, where it needs any."""
    if re.fullmatch(r"[\w@%+=:,./-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_command(line: str) -> bool:
    return line.strip() != "" and not line.lstrip().startswith("#")
