"""How another machine is reached: by the remote shell that rsync uses, and in no other way."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from psweep_dask.errors import PsweepError
from psweep_dask.hpc.machine import MACHINES_DIR, read_machine


class RemoteError(PsweepError):
    """A machine that cannot be reached as asked."""


def host_of(machine: str) -> str:
    """Tell the host of a machine; without a folder of machines, the name is that of the host.

    Parameters
    ----------
    machine : str

    Raises
    ------
    psweep_dask.hpc.machine_schema.MachineError
        If there is no such machine among those that there are.
    """
    if not Path(MACHINES_DIR).is_dir():
        if not machine or machine.startswith("-") or any(map(str.isspace, machine)):
            raise RemoteError(f"{machine!r} cannot be a host: allowed is what ssh takes as one")
        return machine
    return read_machine(machine).host


def remote_shell(options: Sequence[str] = ()) -> list[str]:
    """Tell the remote shell as rsync would choose it.

    Parameters
    ----------
    options : sequence of str
        Options of rsync.

    Returns
    -------
    list of str
        What ``-e`` or ``--rsh`` says, else the environment variable ``RSYNC_RSH``, else ssh.

    Raises
    ------
    RemoteError
        If it has an open quote.

    Examples
    --------
    >>> remote_shell(["-z", "-e", "ssh -p 2222"])
    ['ssh', '-p', '2222']
    """
    chosen = os.environ.get("RSYNC_RSH") or "ssh"
    words = iter(options)
    for word in words:
        if word.startswith("--rsh="):
            chosen = word.removeprefix("--rsh=")
        elif word == "--rsh":
            chosen = next(words, chosen)
        elif (match := re.fullmatch(r"-[A-Za-df-z0-9]*e(.*)", word)) is not None:
            chosen = match[1] or next(words, chosen)
    try:
        return shlex.split(chosen)
    except ValueError as err:
        raise RemoteError(f"the remote shell {chosen!r} cannot be used: {err}") from err


def shell_to(machine: str, options: Sequence[str] = ()) -> list[str]:
    """Give the words before a command that is to run on a machine."""
    return [*remote_shell(options), host_of(machine)]
