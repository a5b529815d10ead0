"""A job script for one pset: what it asks SLURM for, and a note of how it ends."""

from __future__ import annotations

import glob
import re
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from psweep_dask.errors import PsweepError

SHELLS = ("sh", "bash", "dash", "ksh", "zsh")

TERMINATED_EXIT_CODE = 128 + signal.SIGTERM
"""Exit code of a job that was asked to end (walltime, scancel): no failure of its pset."""

_NOTE = """\
# Three lines of psweep_dask, by which ps.collect knows how this ends:
psweep_dir=$PWD; [ -e JOBSCRIPT ] || psweep_dir=${SLURM_SUBMIT_DIR:-${PBS_O_WORKDIR:-$PWD}}
psweep_begun=$(date +%s); trap 'trap - EXIT; exit EXIT_CODE' TERM
trap 'echo "exit_code=$? begun=$psweep_begun ended=$(date +%s) host=$(uname -n)" \
>"$psweep_dir/ended"' EXIT

""".replace("EXIT_CODE", str(TERMINATED_EXIT_CODE))
"""Leaves the file that `PsetFolder.ended_path` tells, beside the job script. Some jobs start
elsewhere: with ``--chdir``, or on PBS, in the home folder. A shell that is asked to leave
(walltime, scancel) would run the trap on EXIT as if all was well."""

_ENDED = re.compile(r"exit_code=(\d+) begun=(\d+) ended=(\d+) host=(.*)")

# What sbatch calls the options that cannot be the same for all jobs of an array, or that an array
# must not have; all take a value. The short forms are those of its manual.
_INPUT, _OUTPUT, _ERROR, _NAME = "--input", "--output", "--error", "--job-name"
_SHORT = {
    "-i": _INPUT,
    "-o": _OUTPUT,
    "-e": _ERROR,
    "-J": _NAME,
    "-a": "--array",
    "-D": "--chdir",
}
_TAKEN = frozenset(_SHORT.values())
_SHORTEST = 5  # that a long option may be abbreviated to, and not be taken for another one


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
    input, output, error, name : str or None
        Where input comes from and output goes to, and the name of the job.
    """

    kept: tuple[str, ...]
    input: str | None = None
    output: str | None = None
    error: str | None = None
    name: str | None = None


def noting_its_end(script: str, name: str) -> str:
    r"""Have a shell script note how it ends. Scripts in other languages stay as they are.

    Parameters
    ----------
    script : str
    name : str
        Of its file.

    Examples
    --------
    >>> print(noting_its_end("#!/bin/sh\n#SBATCH -n 1\n\nrun\n", "job").splitlines()[3])
    # Three lines of psweep_dask, by which ps.collect knows how this ends:
    """
    if not is_shell(script):
        return script
    # Not splitlines: a shell knows but one end of a line, and a comment may hold the others.
    lines = script.removesuffix("\n").split("\n")
    at = next((number for number, line in enumerate(lines) if _is_command(line)), len(lines))
    note = _NOTE.replace("JOBSCRIPT", shlex.quote(name))
    return "\n".join([*lines[:at], note + "\n".join(lines[at:]), ""])


def notes_its_end(script: str) -> bool:
    """Tell whether a script has the lines of `noting_its_end`."""
    return _NOTE.partition("\n")[0] in script


def surely_notes_its_end(script: str) -> bool:
    r"""Tell whether nothing in a script keeps those lines from noting its end.

    Examples
    --------
    >>> script = noting_its_end("#!/bin/sh\nrun", "job")
    >>> surely_notes_its_end(script), surely_notes_its_end(script + "exec run")
    (True, False)
    """
    _, ours, rest = script.partition(_NOTE.rstrip().rpartition("\n")[2])
    return bool(ours) and re.search(r"\b(exec|trap)\b", rest) is None


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
        If it asks for what the elements of an array cannot have, or cannot be taken apart.

    Examples
    --------
    >>> directives("#!/bin/sh\n#SBATCH -n 2 -o out-%j\n#SBATCH --time=5\nrun", Path("jobscript"))
    Directives(kept=('#SBATCH -n 2', '#SBATCH --time=5'), input=None, output='out-%j', ...)
    """
    found: dict[str, str] = {}
    kept = []
    for line in _header(script):
        words = []
        for name, value in _options_in(line, where):
            if name in _TAKEN:
                found[name] = value
            else:
                words.append(value)
        if words:
            kept.append(" ".join(["#SBATCH", *map(sbatch_quote, words)]))
    for name in ("--array", "--chdir"):
        if name in found:
            raise JobscriptError(
                f"{where}: '#SBATCH {name}={found[name]}' does not go with array=True, where each "
                "pset is an element and runs in its folder; leave one of both away"
            )
    names = [found.get(one) for one in (_INPUT, _OUTPUT, _ERROR, _NAME)]
    if any("\t" in one for one in names if one is not None):
        raise JobscriptError(
            f"{where}: a name in its '#SBATCH' lines has a tab, which array=True "
            "cannot pass on; leave one of both away"
        )
    return Directives(tuple(kept), *names)


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
        for name, value in _options(line) or ()
        if name in (_OUTPUT, _ERROR) and value and not value.startswith("/")
    ]
    return [re.sub(r"%\d*\w", "*", glob.escape(one)) for one in found]


def _header(script: str) -> Iterator[str]:
    """Give what stands behind ``#SBATCH`` in the lines that sbatch looks at."""
    for line in script.split("\n"):
        if line.startswith("#SBATCH"):
            yield line.removeprefix("#SBATCH")
        elif _is_command(line):
            return


@lru_cache(1000)  # most lines are the same for all psets, and shlex takes a millisecond
def _options(line: str) -> list[tuple[str, str]] | None:
    """Give the options in a line by their long name, and all other words with an empty name.

    None if a quote is open.
    """
    try:
        return list(_named(shlex.split(line, comments=True)))
    except ValueError:
        return None


def _options_in(line: str, where: Path) -> list[tuple[str, str]]:
    found = _options(line)
    if found is None:
        raise JobscriptError(f"{where}: '#SBATCH{line}' cannot be taken apart: a quote is open")
    return found


def _named(given: list[str]) -> Iterator[tuple[str, str]]:
    words = iter(given)
    for word in words:
        long, equals, value = word.partition("=")
        known = [one for one in _TAKEN if one.startswith(long) and len(long) >= _SHORTEST]
        if known:
            yield known[0], value if equals else next(words, "")
        elif word[:2] in _SHORT and not word.startswith("--"):
            yield _SHORT[word[:2]], word[2:] or next(words, "")
        else:
            yield "", word


def sbatch_quote(word: str) -> str:
    r"""Return a word as it must stand in an ``#SBATCH`` line: in double quotes, if it needs any.

    Examples
    --------
    >>> print(sbatch_quote("--time=5"), sbatch_quote('--job-name=my "job"'))
    --time=5 "--job-name=my \"job\""
    """
    if re.fullmatch(r"[\w@%+=:,./-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_command(line: str) -> bool:
    return line.strip() != "" and not line.lstrip().startswith("#")
