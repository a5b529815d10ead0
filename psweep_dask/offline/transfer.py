"""``push`` and ``pull``: the folder of a study goes to another machine and comes back, by rsync."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from psweep_dask._logging import show_log_lines
from psweep_dask.errors import PsweepError
from psweep_dask.hpc.ssh import host_of, remote_shell, shell_to
from psweep_dask.offline.remote_database import layouts_here, take_over
from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout

OURS = ("*.lock", ".*.tmp", ".rsync-partial", f"{PRIVATE_PREFIX}*")
"""What never travels: locks, and what is being written."""

NOTES = ("submitted_*", "array_*.submitted")
"""Files in which a run script notes what it has submitted."""

FOR_BOTH = "rsync.exclude"
"""A file in the working directory with patterns of what is left out, one a line."""

ALWAYS = (
    *("--archive", "--compress", "--update"),
    *("--protect-args", "--partial-dir=.rsync-partial"),
)
"""Whole trees with times and modes, what is newer stays, paths as they are, and what was
interrupted goes on."""

DRY = ("--dry-run", "--itemize-changes")

PARTIAL = 23
"""Exit code of rsync when some files could not be copied."""


class TransferError(PsweepError):
    """A transfer that did not work; started again, it goes on where it was interrupted."""


class MissingError(TransferError):
    """What is to be copied is not there."""


def push(
    machine: str,
    options: Sequence[str] = (),
    *,
    calc_dir: str | os.PathLike[str] = "calc",
    dry_run: bool = False,
    submit: bool = False,
) -> None:
    """Copy the folder of a study to a machine, to the same place below the home folder there.

    Folders that are missing there are made; files there that are newer, or missing here, stay.
    If the database over there has rows that the one here lacks, it gets them first.

    Parameters
    ----------
    machine : str
        Name of a machine; what its ``info.yaml`` says as ``host:`` is where files go, by default
        its name. Where there are no machines, it is the host itself.
    options : sequence of str, optional
        Further options of rsync, such as ``["--bwlimit=1m", "-v"]``. ``-e`` and the environment
        variable ``RSYNC_RSH`` choose the remote shell.
    calc_dir : str or PathLike, optional
        Folder of the study, in or below the working directory.
    dry_run : bool, optional
        Only show what would be copied.
    submit : bool, optional
        Then start ``run_<machine>.sh`` there, which submits the jobs.

    Raises
    ------
    PsweepError
        If there is nothing to copy, or the host cannot be reached.

    Notes
    -----
    The files ``rsync.exclude`` and ``excl_push`` in the working directory name patterns of what
    is left out.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> ps.push("mycluster")
    Traceback (most recent call last):
        ...
    psweep_dask.offline.transfer.TransferError: there is no folder 'calc', seen from ...; ...
    """
    show_log_lines()
    folder = _folder(calc_dir)
    if not folder.is_dir():
        raise TransferError(
            f"there is no folder {os.fspath(calc_dir)!r}, seen from {str(Path.cwd())!r}; nothing "
            "to push"
        )
    far = _RemoteFolder(
        host_of(machine), f"{_same_place(folder.parent)}/{folder.name}", tuple(options)
    )
    ours = _excluded("excl_push", folder.name)
    if dry_run:
        _rsync([*DRY, *ours, *options, f"{folder}/", far.address], far.host)
        return
    _take_rows(folder, far)
    make = f"--rsync-path=mkdir -p {shlex.quote(far.path)} && rsync"
    _rsync([make, *ours, *options, f"{folder}/", far.address], far.host)
    if submit:
        try:
            _submit(machine, far)
        finally:  # so that what was submitted is known here, too
            notes = [f"--include={one}" for one in ("*/", *NOTES)]
            _rsync([*notes, "--exclude=*", *options, far.address, f"{folder}/"], far.host)


def pull(
    machine: str,
    options: Sequence[str] = (),
    *,
    calc_dir: str | os.PathLike[str] = "calc",
    dry_run: bool = False,
) -> None:
    """Copy the folder of a study back from a machine. Nothing here is deleted, nor made older.

    A database that is here is not replaced: it gets the rows of the one over there that it lacks,
    and stays as you have edited it.

    Parameters
    ----------
    machine, options, calc_dir, dry_run
        As in `push`, with ``excl_pull`` in the place of ``excl_push``.

    Raises
    ------
    PsweepError
        If the host cannot be reached, or has no such folder.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> ps.pull("-o ProxyCommand=true")
    Traceback (most recent call last):
        ...
    psweep_dask.hpc.ssh.RemoteError: '-o ProxyCommand=true' cannot be a host: ...
    """
    show_log_lines()
    folder = _folder(calc_dir)
    far = _RemoteFolder(
        host_of(machine), f"{_same_place(folder.parent)}/{folder.name}", tuple(options)
    )
    ours = _excluded("excl_pull", folder.name)
    databases = [one.database_basename for one in layouts_here(Layout(folder))]
    ours = [*(f"--exclude=/{one}" for one in databases), *ours]
    if dry_run:
        _rsync([*DRY, *ours, *options, far.address, f"{folder}/"], far.host)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    if databases:  # before the runs, by which it is known what is new
        _take_rows(folder, far)
    _rsync([*ours, *options, far.address, f"{folder}/"], far.host)


@dataclass(frozen=True)
class _RemoteFolder:
    """A folder on another machine, and the options of rsync that lead there."""

    host: str
    path: str
    options: tuple[str, ...]

    @property
    def address(self) -> str:
        """What rsync calls what is in there."""
        return f"{self.host}:{self.path}/"


def _take_rows(folder: Path, far: _RemoteFolder) -> None:
    """Take the rows of the databases over there that those here lack."""
    layouts = layouts_here(Layout(folder))
    if not layouts:
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pulled.", suffix=".tmp") as copies:
        only = [f"--include=/{one.database_basename}" for one in layouts]
        # What is the same here is not copied; two databases of one second may have the same size.
        same = ["--checksum", f"--compare-dest={folder}"]
        try:
            _rsync([*only, "--exclude=*", *same, *far.options, far.address, f"{copies}/"], far.host)
        except MissingError:
            return  # there is none yet, as what follows will tell where that is an error
        for one in layouts:
            copy = Path(copies, one.database_basename)
            if copy.exists():
                take_over(one, copy)


def _folder(calc_dir: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(calc_dir))  # noqa: PTH100  (links stay as they are)


def _same_place(folder: Path) -> str:
    """Tell a folder as seen from the home folder; one outside of it is the same everywhere."""
    for home in (Path.home(), Path.home().resolve()):
        if folder.is_relative_to(home):
            return f"./{folder.relative_to(home).as_posix()}"
    return folder.as_posix()


def _excluded(own: str, name: str) -> list[str]:
    """Write the patterns of what is left out, as seen from inside the folder that is copied."""
    files = [Path(one) for one in (FOR_BOTH, own) if Path(one).is_file()]
    lines = [line.strip() for file in files for line in file.read_text().split("\n")]
    given = [line for line in lines if line and not line.startswith(("#", ";"))]
    # As in psweep, patterns may begin with the name of the folder: /calc/*/scratch.bin
    from_here = re.compile(rf"^([-+] )?/?{re.escape(name)}/(?=.)")
    inside = (from_here.sub(r"\1/", line) for line in given)
    return [f"--exclude={one}" for one in (*OURS, *inside)]


def _rsync(arguments: list[str], host: str) -> None:
    try:
        process = subprocess.Popen(
            ["rsync", *ALWAYS, *arguments], stderr=subprocess.PIPE, text=True
        )
    except FileNotFoundError as err:
        raise TransferError("there is no rsync on this machine; install it") from err
    with process:
        try:
            _, said = process.communicate()
        except KeyboardInterrupt:
            process.wait()
            raise TransferError("interrupted; started again, it goes on from here") from None
    if process.returncode == 0:
        sys.stderr.write(said)
        return
    lines = [line for line in said.split("\n") if line.strip()]
    if _never_connected(lines, process.returncode):
        raise TransferError(f"{host!r} cannot be reached: {lines[0] if lines else 'no answer'}")
    if process.returncode == PARTIAL and any("No such file" in line for line in lines):
        raise MissingError(f"{lines[0]} on {host!r}")
    sys.stderr.write(said)
    raise TransferError(
        f"rsync ended with code {process.returncode}; what has arrived stays, and started again it "
        "goes on from here"
    )


def _never_connected(lines: list[str], code: int) -> bool:
    """Tell a remote shell that failed from a transfer that did."""
    return code == 255 or any("(0 bytes received so far)" in line for line in lines)


def _submit(machine: str, far: _RemoteFolder) -> None:
    script = Layout(far.path).run_script_path(machine).name
    command = f"cd {shlex.quote(far.path)} && sh {shlex.quote(f'./{script}')}"
    done = subprocess.run([*shell_to(machine, far.options), command], check=False)
    if done.returncode:
        raise TransferError(
            f"not all jobs were submitted on {far.host!r} (exit code {done.returncode} of "
            f"{remote_shell(far.options)[0]}); started again, it goes on from here"
        )
