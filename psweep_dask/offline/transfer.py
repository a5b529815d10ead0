"""`push` and `pull`: copy the folder of a study to another machine and back, by rsync."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from psweep_dask._logging import show_log_lines
from psweep_dask.errors import PsweepError
from psweep_dask.hpc.ssh import host_of, remote_shell, shell_to
from psweep_dask.offline.remote_database import add_remote_rows, find_databases
from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout

RSYNC = (
    *("rsync", "--archive", "--compress", "--update"),  # with times and modes; newer files stay
    *("--protect-args", "--partial-dir=.rsync-partial"),  # take paths as they are; go on with parts
)


class TransferError(PsweepError):
    """A copy that failed. Started again, it goes on from there."""


class MissingError(TransferError):
    """A file or folder that is to be copied and does not exist."""


def push(
    machine: str,
    options: Sequence[str] = (),
    *,
    calc_dir: str | os.PathLike[str] = "calc",
    dry_run: bool = False,
    submit: bool = False,
) -> None:
    """Copy the folder of a study to another machine, to the same place below its home folder.

    Missing folders are made there. Files there that are newer stay, as do files that are missing
    here. If the database there has rows that the one here lacks, they are added here first.

    Parameters
    ----------
    machine : str
        Name of a machine. Files are copied to the ``host:`` of its ``info.yaml``, by default to a
        host with the name of the machine. It may also be a host, such as ``me@login.example.org``:
        with ``@`` or a dot if the study has machines.
    options : sequence of str, optional
        Further options of rsync, such as ``["--bwlimit=1m", "-v"]``. ``-e`` and the environment
        variable ``RSYNC_RSH`` choose the remote shell.
    calc_dir : str or PathLike, optional
        Folder of the study, in or below the working directory.
    dry_run : bool, optional
        Only show what would be copied.
    submit : bool, optional
        Then run ``run_<machine>.sh`` there, which submits the jobs.

    Raises
    ------
    TransferError
        If there is nothing to copy, the host cannot be reached, or not all jobs were submitted.
    RemoteError
        If the name of the machine or the remote shell cannot be used.
    MachineError
        If there is no such machine.

    See Also
    --------
    pull : Copy the folder back.
    prep_batch : Prepare the jobs.

    Notes
    -----
    The files ``rsync.exclude`` and ``excl_push`` in the working directory hold patterns of files
    that are not copied, ``rsync.filter`` and ``rsync.rules`` filter rules of rsync.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> ps.push("mycluster")
    Traceback (most recent call last):
        ...
    psweep_dask.offline.transfer.TransferError: there is no folder 'calc', seen from ...; ...
    """
    show_log_lines()
    folder = _absolute(calc_dir)
    if not folder.is_dir():
        raise TransferError(
            f"there is no folder {os.fspath(calc_dir)!r}, seen from {str(Path.cwd())!r}; nothing "
            "to push"
        )
    remote = _RemoteFolder(folder, machine, options)
    script = Layout(folder).run_script_path(machine)
    if submit and not script.is_file():
        raise TransferError(
            f"there is no {script.name!r} in {os.fspath(calc_dir)!r} to start; to submit, name a "
            "machine of templates/machines for which jobs were prepared"
        )
    rules = _rules("excl_push", folder.name)
    if dry_run:
        remote.send(folder, "--dry-run", "--itemize-changes", *rules)
        return
    _add_remote_rows(folder, remote)
    make_folder = f"--rsync-path=mkdir -p {shlex.quote(remote.path)} && rsync"
    remote.send(folder, make_folder, *rules)
    if submit:
        try:
            _submit(machine, remote)
        finally:  # so that what was submitted is known here, too
            include = ("--include=*/", "--include=submitted_*", "--include=array_*.submitted")
            remote.fetch(folder, *include, "--exclude=*")


def pull(
    machine: str,
    options: Sequence[str] = (),
    *,
    calc_dir: str | os.PathLike[str] = "calc",
    dry_run: bool = False,
) -> None:
    """Copy the folder of a study back from another machine.

    No file here is deleted, and no newer file is replaced. Nor is a database: rows of the database
    there that the one here lacks are added to it, and your edits stay.

    Parameters
    ----------
    machine : str
        Name of a machine, or of a host, as in `push`.
    options : sequence of str, optional
        Further options of rsync, as in `push`.
    calc_dir : str or PathLike, optional
        Folder of the study, in or below the working directory.
    dry_run : bool, optional
        Only show what would be copied.

    Raises
    ------
    TransferError
        If the host cannot be reached, or has no such folder.
    RemoteError, MachineError
        As in `push`.

    See Also
    --------
    push : Copy the folder to the other machine.
    collect : Put the results of jobs into the database; with `ask`, it pulls them before.

    Notes
    -----
    The files ``rsync.exclude`` and ``excl_pull`` in the working directory hold patterns of files
    that are not copied, ``rsync.filter`` and ``rsync.rules`` filter rules of rsync.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> ps.pull("-o ProxyCommand=true")
    Traceback (most recent call last):
        ...
    psweep_dask.hpc.ssh.RemoteError: '-o ProxyCommand=true' cannot be a host; ...
    """
    show_log_lines()
    folder = _absolute(calc_dir)
    remote = _RemoteFolder(folder, machine, options)
    databases = [layout.database_basename for layout in find_databases(Layout(folder))]
    rules = [*(f"--exclude=/{name}" for name in databases), *_rules("excl_pull", folder.name)]
    if dry_run:
        remote.fetch(folder, "--dry-run", "--itemize-changes", *rules)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    _add_remote_rows(folder, remote)  # before any run.json: these say which rows are new
    remote.fetch(folder, *rules)


class _RemoteFolder:
    """The folder at the same place below the home folder of another machine.

    Outside of the home folder, the path is the same on all machines.
    """

    def __init__(self, folder: Path, machine: str, options: Sequence[str]) -> None:
        parent = folder.parent.as_posix()
        for home in (Path.home(), Path.home().resolve()):
            if folder.parent.is_relative_to(home):
                parent = f"./{folder.parent.relative_to(home).as_posix()}"
                break
        self.host = host_of(machine)
        self.path = f"{parent}/{folder.name}"
        self.options = options

    def send(self, folder: Path, *arguments: str) -> None:
        """Copy the content of a folder here to this one, with these arguments of rsync."""
        self._rsync(*arguments, *self.options, f"{folder}/", f"{self.host}:{self.path}/")

    def fetch(self, folder: Path, *arguments: str) -> None:
        """Copy the content of this folder to one here, with these arguments of rsync."""
        self._rsync(*arguments, *self.options, f"{self.host}:{self.path}/", f"{folder}/")

    def _rsync(self, *arguments: str) -> None:
        try:
            process = subprocess.Popen([*RSYNC, *arguments], stderr=subprocess.PIPE, text=True)
        except FileNotFoundError as err:
            raise TransferError("there is no rsync on this machine; install it") from err
        with process:
            try:
                _, stderr = process.communicate()
            except KeyboardInterrupt:
                process.wait()
                raise TransferError("interrupted; started again, it goes on from here") from None
        code = process.returncode
        lines = [line for line in stderr.split("\n") if line.strip()]
        # What rsync prints if the remote shell ended before it connected; 255 is of ssh itself.
        no_connection = "(0 bytes received so far)" in stderr or "safe_write failed" in stderr
        if code == 255 or (code and no_connection):
            first_line = lines[0] if lines else "no answer"
            raise TransferError(f"{self.host!r} cannot be reached: {first_line}")
        if code == 23 and any("No such file" in line for line in lines):  # some were not copied
            raise MissingError(f"{lines[0]} on {self.host!r}")
        sys.stderr.write(stderr)
        if code:
            raise TransferError(
                f"rsync ended with code {code}; what has arrived stays, and started again it goes "
                "on from here"
            )


def _add_remote_rows(folder: Path, remote: _RemoteFolder) -> None:
    """Add the new rows of the remote databases to those here."""
    layouts = find_databases(Layout(folder))
    if not layouts:
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pulled.", suffix=".tmp") as copies:
        include = [f"--include=/{layout.database_basename}" for layout in layouts]
        # What is the same here is not copied. Two databases may have the same size and second.
        same = ["--checksum", f"--compare-dest={folder}"]
        try:
            remote.fetch(Path(copies), *include, "--exclude=*", *same)
        except MissingError:
            return  # there is no study yet; where that is an error, the next copy raises it
        for layout in layouts:
            copy = Path(copies, layout.database_basename)
            if copy.exists():
                add_remote_rows(layout, copy)


def _absolute(calc_dir: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(calc_dir))  # noqa: PTH100  (links stay as they are)


# The beginning of a filter rule of rsync: its short or long name, modifiers, and a separator.
_RULE = r"(?:[-+HSPR]|exclude|include|hide|show|protect|risk)(?:,?[/!Csrpx]*)[ _]"


def _rules(own: str, name: str) -> list[str]:
    """Return the options of rsync for what is left out, as seen from inside the copied folder.

    Of several rules that fit a file, the first counts for rsync.
    """
    # As in psweep, patterns may begin with the name of the folder: /calc/*/scratch.bin
    prefix = re.compile(rf"^({_RULE})?/?{re.escape(name)}/(?=.)")
    rules: list[str] = []
    for file, option in (
        ("rsync.exclude", "--exclude"),
        (own, "--exclude"),
        ("rsync.rules", "--filter"),
        ("rsync.filter", "--filter"),
    ):
        lines = Path(file).read_text().split("\n") if Path(file).is_file() else []
        for line in map(str.strip, lines):
            if line in ("!", "clear"):  # would clear ours, too
                rules.clear()
            elif line and not line.startswith(("#", ";")):
                rules.append(f"{option}=" + prefix.sub(r"\1/", line))
    # Locks, and files that are being written:
    always = ("*.lock", ".*.tmp", ".rsync-partial", f"{PRIVATE_PREFIX}*")
    return [*(f"--exclude={pattern}" for pattern in always), *rules]


def _submit(machine: str, remote: _RemoteFolder) -> None:
    script = Layout(remote.path).run_script_path(machine).name
    command = f"cd {shlex.quote(remote.path)} && sh {shlex.quote(f'./{script}')}"
    done = subprocess.run([*shell_to(machine, remote.options), command], check=False)
    if done.returncode:
        raise TransferError(
            f"not all jobs were submitted on {remote.host!r} (exit code {done.returncode} of "
            f"{remote_shell(remote.options)[0]}); started again, it goes on from here"
        )
