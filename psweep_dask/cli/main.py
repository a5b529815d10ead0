"""The commands of the shell, all together."""

from __future__ import annotations

import click

from psweep_dask.cli.common import HELP, OneLine
from psweep_dask.cli.offline import collect, init, prep_rest, pull, push
from psweep_dask.cli.rows import db2json, db2table, show, table, tail
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

__all__ = ["db2json", "db2table", "main", "pull", "push"]


class _Main(OneLine, click.Group):
    """The group of all commands."""


@click.group("psweep", cls=_Main, context_settings=HELP)
@click.version_option(package_name="psweep_dask", prog_name="psweep_dask")
def main() -> None:
    """Parameter sweeps on Dask: see to the runs of a study from the shell."""


for _command in (
    *(table, show, tail, runs, diff),
    *(export, plot, check),
    *(init, status, resume, retry, reproduce, stop),
    *(machines, submit, doctor),
    *(prep_rest, collect, push, pull),
):
    main.add_command(_command)
