"""The commands for studies whose psets run as batch jobs that were prepared before."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from psweep_dask.cli.common import CALC_DIR, RUN_ID, OneLine


@click.command(cls=OneLine)
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Start a study in FOLDER: a script that runs, one that evaluates, and machines to fill in.

    \b
    psweep-dask init mystudy
    """  # noqa: D301  (click wants the character itself)
    from psweep_dask.study import skeleton

    for path in skeleton.create_study(folder):
        click.echo(path)
    click.echo(f"\nnow: cd {shlex.quote(str(folder))}, read 10run.py, python 10run.py")


@click.command("prep-rest", cls=OneLine)
@CALC_DIR
@RUN_ID
@click.option("--array", is_flag=True, help="One job array instead of many jobs.")
@click.option(
    "--template-mode", type=click.Choice(["dollar", "jinja"]), help="By default that of the run."
)
def prep_rest(calc_dir: str, run_id: str | None, array: bool, template_mode: str | None) -> None:
    """Write batch jobs for what runs of CALC_DIR have left, such as jobs that were lost.

    \b
    psweep-dask prep-rest calc
    """  # noqa: D301  (click wants the character itself)
    import psweep_dask as ps

    ps.prep_rest(calc_dir, run_id=run_id, array=array, template_mode=template_mode)


@click.command(cls=OneLine)
@CALC_DIR
@click.option(
    "--ask", metavar="MACHINE", help="Ask its SLURM for the jobs, and pull what they have left."
)
@click.option("--over", is_flag=True, help="No job waits or runs: what has left nothing is lost.")
def collect(calc_dir: str, ask: str | None, over: bool) -> None:
    """Bring what batch jobs have left in CALC_DIR into the database; at any time, again and again.

    \b
    psweep-dask collect calc
    psweep-dask collect --ask mycluster
    """  # noqa: D301  (click wants the character itself)
    import psweep_dask as ps

    ps.collect(calc_dir, ask=ask, over=over)


# Everything behind the machine is looked at by us, since rsync has options that click would take.
OF_RSYNC = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": ["-h", "--help"],
}
RSYNC = click.argument("options", nargs=-1, type=click.UNPROCESSED)


@click.command(cls=OneLine, context_settings=OF_RSYNC)
@click.argument("machine")
@RSYNC
def push(machine: str, options: tuple[str, ...]) -> None:
    """Copy calc/ to a MACHINE by rsync, to the same place below the home folder there.

    \b
    --submit       then start run_MACHINE.sh there
    -n, --dry-run  only show what would be copied
    All other OPTIONS go to rsync.

    \b
    psweep-push mycluster --submit
    psweep-push mycluster -n
    psweep-push mycluster -v --bwlimit=1m
    """  # noqa: D301  (click wants the character itself)
    from psweep_dask.offline import transfer

    submit = "--submit" in options
    rest, dry_run = _of_rsync(machine, options)
    transfer.push(machine, rest, dry_run=dry_run, submit=submit)


@click.command(cls=OneLine, context_settings=OF_RSYNC)
@click.argument("machine")
@RSYNC
def pull(machine: str, options: tuple[str, ...]) -> None:
    """Copy calc/ back from a MACHINE by rsync. Nothing here is deleted, nor made older.

    \b
    -n, --dry-run  only show what would be copied
    All other OPTIONS go to rsync.

    \b
    psweep-pull mycluster
    """  # noqa: D301  (click wants the character itself)
    from psweep_dask.offline import transfer

    if "--submit" in options:
        raise click.UsageError(f"--submit is for psweep-push {machine}; pull submits nothing")
    rest, dry_run = _of_rsync(machine, options)
    transfer.pull(machine, rest, dry_run=dry_run)


def _of_rsync(machine: str, options: tuple[str, ...]) -> tuple[list[str], bool]:
    """Take out what is not for rsync, and whether to show only."""
    if machine.startswith("-"):
        raise click.UsageError(f"name the machine first, then {machine} and what else rsync takes")
    dry = {"-n", "--dry-run"}
    rest = [one for one in options if one not in dry | {"--submit"}]
    return rest, bool(dry & set(options))
