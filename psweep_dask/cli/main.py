"""The command `psweep-dask`, also called `dask psweep`: the group of all commands."""

from __future__ import annotations

import click

from psweep_dask.cli import offline, rows, runs, study
from psweep_dask.cli.common import HELP_SETTINGS, ShortErrors


class _Group(ShortErrors, click.Group):
    """A group whose commands have short errors."""


@click.group("psweep", cls=_Group, context_settings=HELP_SETTINGS)
@click.version_option(package_name="psweep_dask", prog_name="psweep_dask")
def main() -> None:
    """Look at the runs of a study, finish them, and use their rows.

    The exit status is 0, or 1 after an error, or 2 if the command cannot be understood.
    """


for _command in (
    *(rows.table, rows.show, rows.tail, study.export, study.plot, study.check, study.rebuild),
    *(runs.runs, runs.status, runs.diff, runs.resume, runs.retry, runs.reproduce, runs.stop),
    *(runs.machines, runs.submit, runs.doctor),
    *(offline.init, offline.prep_rest, offline.collect, offline.push, offline.pull),
):
    main.add_command(_command)
