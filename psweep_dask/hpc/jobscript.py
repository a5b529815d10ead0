"""Job scripts: their ``#SBATCH`` lines, and the shell lines that write down how they end."""

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

# These lines write `PsetFolder.ended_path`, beside the job script. Some jobs start in another
# folder: with ``--chdir``, or in the home folder on PBS. Without the first trap, a shell that is
# asked to end would run the second one as if the job were done.
_END_LINES = """\
# Three lines of psweep_dask, by which ps.collect knows how this ends:
psweep_dir=$PWD; [ -e JOBSCRIPT ] || psweep_dir=${SLURM_SUBMIT_DIR:-${PBS_O_WORKDIR:-$PWD}}
psweep_begun=$(date +%s); trap 'trap - EXIT; exit EXIT_CODE' TERM
trap 'echo "exit_code=$? begun=$psweep_begun ended=$(date +%s) host=$(uname -n)" \
>"$psweep_dir/ended"' EXIT

""".replace("EXIT_CODE", str(TERMINATED_EXIT_CODE))

# Options of sbatch that cannot be the same for all jobs of an array, or that an array must not
# have. All take a value.
_OWN_OPTIONS = {
    "-i": "--input",
    "-o": "--output",
    "-e": "--error",
    "-J": "--job-name",
    "-a": "--array",
    "-D": "--chdir",
}


class JobscriptError(PsweepError):
    """A job script that cannot be used as asked."""


@dataclass(frozen=True)
class JobEnd:
    """How a job script has ended, as it wrote down itself; times in seconds since 1970, UTC."""

    exit_code: int
    begun: int
    ended: int
    host: str


@dataclass(frozen=True)
class Directives:
    """What a job script asks SLURM for in its ``#SBATCH`` lines.

    The lines `kept` are without the options that are in the other fields.
    """

    kept: tuple[str, ...]
    input: str | None = None
    output: str | None = None
    error: str | None = None
    name: str | None = None


def add_end_lines(script: str, name: str) -> str:
    """Return a shell script with the lines that write down how it ends; its file has this name.

    Scripts in other languages are returned as they are.
    """
    if not is_shell(script):
        return script
    # Not splitlines: for a shell only \n ends a line, and a comment may hold the other characters.
    lines = script.removesuffix("\n").split("\n")
    at = next((number for number, line in enumerate(lines) if _is_command(line)), len(lines))
    end_lines = _END_LINES.replace("JOBSCRIPT", shlex.quote(name))
    return "\n".join([*lines[:at], end_lines + "\n".join(lines[at:]), ""])


def has_end_lines(script: str) -> bool:
    """Return whether a script has the lines of `add_end_lines`."""
    return _END_LINES.partition("\n")[0] in script


def surely_writes_end(script: str) -> bool:
    r"""Return whether a script has the lines of `add_end_lines`, and nothing that disables them.

    Examples
    --------
    >>> script = add_end_lines("#!/bin/sh\nrun", "job")
    >>> surely_writes_end(script), surely_writes_end(script + "exec run")
    (True, False)
    """
    _, last_line, commands = script.partition(_END_LINES.rstrip().rpartition("\n")[2])
    return bool(last_line) and re.search(r"\b(exec|trap)\b", commands) is None


def read_job_end(text: str) -> JobEnd | None:
    """Return what a job has written down at its end; None if that is missing or incomplete."""
    match = re.fullmatch(r"exit_code=(\d+) begun=(\d+) ended=(\d+) host=(.*)", text.strip())
    return JobEnd(int(match[1]), int(match[2]), int(match[3]), match[4]) if match else None


def is_shell(script: str) -> bool:
    """Return whether a script is a shell script, by its first line."""
    words = [word for word in interpreter(script) if not word.startswith("-")]
    return bool(words) and Path(words[-1]).name in SHELLS


def interpreter(script: str) -> list[str]:
    """Return the words behind ``#!`` in the first line of a script; none if it has no such line."""
    first_line = script.partition("\n")[0]
    return first_line[2:].split() if first_line.startswith("#!") else []


def read_directives(script: str, path: Path) -> Directives:
    r"""Return what a job script asks SLURM for, for a job array that runs many such scripts.

    The path of the script is for messages.

    Raises
    ------
    JobscriptError
        If it asks for something that the jobs of an array cannot have, or has an open quote.

    Examples
    --------
    >>> script = "#!/bin/sh\n#SBATCH -n 2 -o out-%j\n#SBATCH --time=5\nrun"
    >>> read_directives(script, Path("jobscript"))
    Directives(kept=('#SBATCH -n 2', '#SBATCH --time=5'), input=None, output='out-%j', ...)
    """
    own: dict[str, str] = {}
    kept = []
    for line in _directive_lines(script):
        options = _options(line)
        if options is None:
            raise JobscriptError(f"{path}: '#SBATCH{line}' cannot be read: a quote is open")
        own |= {name: value for name, value in options if name}
        words = [sbatch_quote(word) for name, word in options if not name]
        if words:
            kept.append(" ".join(["#SBATCH", *words]))
    for name in ("--array", "--chdir"):
        if name in own:
            raise JobscriptError(
                f"{path}: '#SBATCH {name}={own[name]}' does not go with array=True, where each "
                "pset is an element of a job array and runs in its own folder; remove one of both"
            )
    values = [own.get(name) for name in ("--input", "--output", "--error", "--job-name")]
    if any("\t" in value for value in values if value is not None):
        raise JobscriptError(
            f"{path}: a name in its '#SBATCH' lines has a tab, which array=True cannot pass on; "
            "remove one of both"
        )
    return Directives(tuple(kept), *values)


def output_patterns(script: str) -> list[str]:
    r"""Return glob patterns of the files with the output of a job, relative to its folder.

    Examples
    --------
    >>> output_patterns("#!/bin/sh\n#SBATCH -o out-%4j.txt\n#SBATCH -e /tmp/errors")
    ['out-*.txt']
    """
    paths = [
        value
        for line in _directive_lines(script)
        for name, value in _options(line) or ()
        if name in ("--output", "--error") and value and not value.startswith("/")
    ]
    return [re.sub(r"%\d*\w", "*", glob.escape(path)) for path in paths]


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


def _directive_lines(script: str) -> Iterator[str]:
    """Yield what stands behind ``#SBATCH`` in the lines that sbatch reads."""
    for line in script.split("\n"):
        if line.startswith("#SBATCH"):
            yield line.removeprefix("#SBATCH")
        elif _is_command(line):
            return


def _is_command(line: str) -> bool:
    return line.strip() != "" and not line.lstrip().startswith("#")


@lru_cache(1000)  # most lines are the same for all psets, and shlex takes a millisecond
def _options(line: str) -> list[tuple[str, str]] | None:
    """Return `_OWN_OPTIONS` and other words, these with an empty name; None if a quote is open."""
    try:
        words = iter(shlex.split(line, comments=True))
    except ValueError:
        return None
    options = []
    for word in words:
        prefix, equals, value = word.partition("=")
        names = [name for name in _OWN_OPTIONS.values() if name.startswith(prefix)]
        if names and len(prefix) >= 5:  # a shorter beginning may mean another long option
            options.append((names[0], value if equals else next(words, "")))
        elif word[:2] in _OWN_OPTIONS:
            options.append((_OWN_OPTIONS[word[:2]], word[2:] or next(words, "")))
        else:
            options.append(("", word))
    return options
