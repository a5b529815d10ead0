"""``push`` and ``pull``: the folder of a study goes to another machine and comes back, by rsync."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from psweep_dask import database, frame
from psweep_dask.errors import PsweepError
from psweep_dask.layout import PRIVATE_PREFIX, Layout
from psweep_dask.remote_shell import host_of, remote_shell, shell_to

log = logging.getLogger("psweep_dask")

OURS = ("*.lock", ".*.tmp", ".rsync-partial", f"{PRIVATE_PREFIX}*")
"""What never travels: locks, and what is being written."""

NOTES = ("submitted_*", "array_*.submitted")
"""Files in which a run script notes what it has submitted."""

FOR_BOTH = "rsync.exclude"
"""A file in the working directory with patterns of what is left out, one a line."""

ALWAYS = ("--archive", "--compress", "--protect-args", "--partial-dir=.rsync-partial")
"""Whole trees with times and modes, paths as they are, and what was interrupted goes on."""


class TransferError(PsweepError):
    """A transfer that did not work; started again, it goes on where it was interrupted."""


def push(
    machine: str,
    options: Sequence[str] = (),
    *,
    calc_dir: str | os.PathLike[str] = "calc",
    dry_run: bool = False,
    submit: bool = False,
) -> None:
    """Copy the folder of a study to a machine, to the same place below the home folder there.

    Folders that are missing there are made, files there that are missing here stay.

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
    psweep_dask.transfer.TransferError: there is no folder 'calc', seen from ...; nothing to push
    """
    folder = _folder(calc_dir)
    if not folder.is_dir():
        raise TransferError(
            f"there is no folder {os.fspath(calc_dir)!r}, seen from {str(Path.cwd())!r}; nothing "
            "to push"
        )
    host, there = host_of(machine), _same_place(folder.parent)
    arguments = ["--dry-run", "--itemize-changes"] if dry_run else []
    if not dry_run:
        arguments.append(f"--rsync-path=mkdir -p {shlex.quote(there)} && rsync")
    _rsync([*arguments, *_excluded("excl_push"), *options, str(folder), f"{host}:{there}/"], host)
    if submit and not dry_run:
        try:
            _submit(machine, options, f"{there}/{folder.name}")
        finally:  # so that what was submitted is known here, too
            notes = [f"--include={one}" for one in ("*/", *NOTES)] + ["--exclude=*"]
            source = f"{host}:{there}/{folder.name}"
            _rsync(["--update", *notes, *options, source, f"{folder.parent}/"], host)


def pull(
    machine: str,
    options: Sequence[str] = (),
    *,
    calc_dir: str | os.PathLike[str] = "calc",
    dry_run: bool = False,
) -> None:
    """Copy the folder of a study back from a machine. Nothing here is deleted, nor made older.

    If the database there is newer, and rows here are not in it, they are merged into it, and the
    database that was here is kept beside it.

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
    psweep_dask.remote_shell.RemoteError: '-o ProxyCommand=true' cannot be a host: ...
    """
    folder = _folder(calc_dir)
    host, there = host_of(machine), _same_place(folder.parent)
    arguments = ["--update", *(["--dry-run", "--itemize-changes"] if dry_run else [])]
    folder.parent.mkdir(parents=True, exist_ok=True)
    source = f"{host}:{there}/{folder.name}"
    layout = Layout(folder)
    before = None if dry_run else _kept_aside(layout.database_path)
    try:
        _rsync([*arguments, *_excluded("excl_pull"), *options, source, f"{folder.parent}/"], host)
    finally:
        if before is not None:
            _keep_rows(layout, before)


def _folder(calc_dir: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(calc_dir))  # noqa: PTH100  (links stay as they are)


def _same_place(folder: Path) -> str:
    """Tell a folder as seen from the home folder; one outside of it is the same everywhere."""
    for home in (Path.home(), Path.home().resolve()):
        if folder.is_relative_to(home):
            return f"./{folder.relative_to(home).as_posix()}"
    return folder.as_posix()


def _excluded(own: str) -> list[str]:
    files = [name for name in (FOR_BOTH, own) if Path(name).is_file()]
    return [f"--exclude={one}" for one in OURS] + [f"--exclude-from={one}" for one in files]


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
    lines = [line for line in said.splitlines() if line.strip()]
    if _never_connected(lines, process.returncode):
        raise TransferError(f"{host!r} cannot be reached: {lines[0] if lines else 'no answer'}")
    sys.stderr.write(said)
    raise TransferError(
        f"rsync ended with code {process.returncode}; what has arrived stays, and started again it "
        "goes on from here"
    )


def _never_connected(lines: list[str], code: int) -> bool:
    """Tell a remote shell that failed from a transfer that did."""
    return code == 255 or any("(0 bytes received so far)" in line for line in lines)


def _submit(machine: str, options: Sequence[str], there: str) -> None:
    script = Layout(there).run_script_path(machine).name
    command = f"cd {shlex.quote(there)} && sh {shlex.quote(f'./{script}')}"
    done = subprocess.run([*shell_to(machine, options), command], check=False)
    if done.returncode:
        raise TransferError(
            f"not all jobs were submitted on {host_of(machine)!r} (exit code {done.returncode} of "
            f"{remote_shell(options)[0]}); started again, it goes on from here"
        )


def _kept_aside(path: Path) -> Path | None:
    """Give the database a second name, under which it stays when rsync replaces it."""
    if not path.exists():
        return None
    aside = database.aside_path(path, "replaced")
    shutil.copy2(path, aside)
    return aside


def _keep_rows(layout: Layout, before: Path) -> None:
    """Merge rows of the database that was here into the one that has replaced it."""
    now, then = layout.database_path.stat(), before.stat()
    if then.st_mtime_ns >= now.st_mtime_ns:  # rsync takes times of the same second for equal
        before.replace(layout.database_path)
        return
    with layout.lock():
        pulled = database.read_or_empty(layout.database_path)
        merged = frame.append(pulled, database.read_or_empty(before))
        if _statuses(merged) == _statuses(pulled):
            before.unlink()
            return
        database.df_write(merged, layout.database_path)
    log.warning(
        "the database was newer over there: rows that only this one had were merged into it; "
        "the one that was here is kept as %s",
        before,
    )


def _statuses(df: pd.DataFrame) -> list[tuple[object, object]]:
    missing = [None] * len(df)
    return list(zip(df.get("_pset_id", missing), df.get("_status", missing), strict=True))
