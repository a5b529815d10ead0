"""The commands for studies whose psets run in batch jobs that were prepared: init to pull."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import click

import psweep_dask as ps
from psweep_dask.cli.common import CALC_DIR, HELP_SETTINGS, RUN_ID, ShortErrors

# Options of rsync are not click's to check.
RSYNC = HELP_SETTINGS | {"ignore_unknown_options": True, "allow_interspersed_args": False}
RSYNC_OPTIONS = click.argument(
    "options", nargs=-1, metavar="[RSYNC_OPTIONS]...", type=click.UNPROCESSED
)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write the files of a new study to FOLDER: two scripts, templates and example machines.

    \b
    psweep-dask init mystudy
    """
    from psweep_dask.study import skeleton

    click.echo("\n".join(map(str, skeleton.create_study(folder))))
    click.echo(f"\nnow: cd {shlex.quote(str(folder))}, read 10run.py, python 10run.py")


@click.command("prep-rest")
@CALC_DIR
@RUN_ID
@click.option("--array", is_flag=True, help="Write one job array instead of many jobs.")
@click.option(
    "--template-mode",
    type=click.Choice(["dollar", "jinja"]),
    help="How placeholders look; by default as in the run.",
)
def prep_rest(calc_dir: str, run_id: str | None, array: bool, template_mode: str | None) -> None:
    """Write batch jobs for the psets of CALC_DIR without a result, such as those of lost jobs.

    \b
    psweep-dask prep-rest calc
    """
    ps.prep_rest(calc_dir, run_id=run_id, array=array, template_mode=template_mode)


@click.command()
@CALC_DIR
@click.option(
    "--ask", metavar="MACHINE", help="Ask the SLURM of MACHINE for the jobs, and pull results."
)
@click.option(
    "--over",
    is_flag=True,
    help="No job waits or runs: what was submitted and has no result is lost.",
)
def collect(calc_dir: str, ask: str | None, over: bool) -> None:
    """Bring the results that batch jobs have left in CALC_DIR into the database.

    This can be done at any time, also while jobs still wait or run.

    \b
    psweep-dask collect calc
    psweep-dask collect --ask mycluster
    """
    ps.collect(calc_dir, ask=ask, over=over)


@click.command(cls=ShortErrors, context_settings=RSYNC)
@click.argument("machine")
@RSYNC_OPTIONS
def push(machine: str, options: tuple[str, ...]) -> None:
    """Copy calc/ to MACHINE by rsync, to the same path below the home folder there.

    \b
    --submit       then start run_MACHINE.sh there
    -n, --dry-run  only show what would be copied
    All other options go to rsync.

    \b
    psweep-push mycluster --submit
    psweep-push me@login.example.org
    psweep-push mycluster -n
    psweep-push mycluster -v --bwlimit=1m
    """
    _copy(ps.push, machine, options, submit="--submit" in options)


@click.command(cls=ShortErrors, context_settings=RSYNC)
@click.argument("machine")
@RSYNC_OPTIONS
def pull(machine: str, options: tuple[str, ...]) -> None:
    """Copy calc/ back from MACHINE by rsync. Files here are not deleted, and newer ones stay.

    \b
    -n, --dry-run  only show what would be copied
    All other options go to rsync.

    \b
    psweep-pull mycluster
    """
    if "--submit" in options:
        raise click.UsageError(f"--submit is for psweep-push {machine}; pull submits nothing")
    _copy(ps.pull, machine, options)


def _copy(copy: Callable[..., None], machine: str, options: tuple[str, ...], **more: bool) -> None:
    if machine.startswith("-"):
        raise click.UsageError(f"name the machine first, then {machine} and other options")
    ours = {"-n", "--dry-run", "--submit"}.intersection(options)
    rsync_options = [option for option in options if option not in ours]
    copy(machine, rsync_options, dry_run=bool(ours - {"--submit"}), **more)
