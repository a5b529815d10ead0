"""Commands on another machine, always by the remote shell that rsync uses."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from psweep_dask.errors import PsweepError
from psweep_dask.hpc.machine import MACHINES_DIR, read_machine
from psweep_dask.hpc.machine_schema import MachineError


class RemoteError(PsweepError):
    """A machine that cannot be reached as asked."""


def host_of(machine: str) -> str:
    """Return the host of a machine; without such a machine, the name itself if it is a host.

    A host is what has an ``@`` or a dot. In a study without machines, each name is one.

    Raises
    ------
    MachineError
        If the study has machines, but not this one, and it is no host.
    RemoteError
        If this cannot be the name of a host.
    """
    machines_dir = Path(MACHINES_DIR)
    is_host = re.search("[@.]", machine) and not (machines_dir / machine).is_dir()
    if is_host or not machines_dir.is_dir():
        if not machine or machine.startswith("-") or any(map(str.isspace, machine)):
            raise RemoteError(
                f"{machine!r} cannot be a host; allowed is what ssh takes, such as me@example.org"
            )
        return machine
    try:
        return read_machine(machine).host
    except MachineError as err:
        if (machines_dir / machine).is_dir():
            raise
        raise MachineError(f"{err}; a host is written with its user, as in me@{machine}") from err


def remote_shell(options: Sequence[str] = ()) -> list[str]:
    """Return the words of the remote shell that rsync would use with these options.

    They are those of the option ``-e`` or ``--rsh``, else of the environment variable
    ``RSYNC_RSH``, else ``["ssh"]``. A `RemoteError` says that a quote in it is open.
    """
    shell = os.environ.get("RSYNC_RSH") or "ssh"
    words = iter(options)
    for word in words:
        if word.startswith("--rsh="):
            shell = word.removeprefix("--rsh=")
        elif word == "--rsh":
            shell = next(words, shell)
        elif (match := re.fullmatch(r"-[A-Za-df-z0-9]*e(.*)", word)) is not None:
            shell = match[1] or next(words, shell)
    try:
        return shlex.split(shell)
    except ValueError as err:
        raise RemoteError(f"the remote shell {shell!r} cannot be used: {err}") from err


def shell_to(machine: str, options: Sequence[str] = ()) -> list[str]:
    """Return the words that stand before a command for a machine. The options are of rsync."""
    return [*remote_shell(options), host_of(machine)]
