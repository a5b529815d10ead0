"""The command `psweep-dask`, also called `dask psweep`: the group of all commands."""

from __future__ import annotations

import click

from psweep_dask.cli.common import HELP_SETTINGS, ShortErrors
from psweep_dask.cli.offline import collect, init, prep_rest, pull, push
from psweep_dask.cli.rows import show, table, tail
from psweep_dask.cli.runs import (
    diff,
    doctor,
    machines,
    reproduce,
    resume,
    retry,
    runs,
    status,
    stop,
    submit,
)
from psweep_dask.cli.study import check, export, plot


class _Group(ShortErrors, click.Group):
    """A group whose commands have short errors."""


@click.group("psweep", cls=_Group, context_settings=HELP_SETTINGS)
@click.version_option(package_name="psweep_dask", prog_name="psweep_dask")
def main() -> None:
    """Look at the runs of a study, finish them, and use their rows.

    The exit status is 0, or 1 after an error, or 2 if the command cannot be understood.
    """


for _command in (
    *(table, show, tail, runs, diff),
    *(export, plot, check),
    *(init, status, resume, retry, reproduce, stop),
    *(machines, submit, doctor),
    *(prep_rest, collect, push, pull),
):
    main.add_command(_command)
