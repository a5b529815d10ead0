"""The commands of the shell."""

from __future__ import annotations

import json
import pprint
import shlex
import time
from pathlib import Path
from typing import Any

import click
import pandas as pd
from tabulate import tabulate

from psweep_dask import batch, collecting, past, resuming, retrying, skeleton, transfer
from psweep_dask.database import df_read
from psweep_dask.driver_job import FOLLOWERS, LEAD, driver_job
from psweep_dask.errors import PsweepError
from psweep_dask.frame import df_to_json
from psweep_dask.layout import Layout
from psweep_dask.machines import MACHINES_DIR, machine_names, read_machine
from psweep_dask.run_state import run_states, shown

WATCH_INTERVAL = 2.0
"""Seconds between two looks at a study."""

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
CALC_DIR = click.argument("calc_dir", default="calc")
RUN_ID = click.option("--run-id", help="Only this run, by its UUID or the beginning of it.")
CLUSTER = click.option("--cluster", help="Where to run, as in ps.run.")
ORIENTS = click.Choice(["split", "records", "index", "columns", "values"])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-o", "--orient", default="records", show_default=True, type=ORIENTS)
@FILE
def db2json(file: Path, orient: str) -> None:
    """Print a database as JSON, for quick queries with tools such as jq.

    \b
    psweep-db2json calc/database.pk | jq -r '.[]|[._time_utc,.study]|@tsv'
    """  # noqa: D301  (click wants the character itself)
    click.echo(df_to_json(_read(file), orient=orient))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-f", "tablefmt", default="simple", show_default=True, help="A format of tabulate.")
@click.option("-a", "all_columns", is_flag=True, help="Print the book-keeping columns too.")
@click.option("-i", "index", is_flag=True, help="Print the index.")
@FILE
@click.argument("columns", nargs=-1)
def db2table(
    file: Path, columns: tuple[str, ...], tablefmt: str, all_columns: bool, index: bool
) -> None:
    """Print a database as a table: all columns but the book-keeping ones, or those named.

    \b
    psweep-db2table calc/database.pk a b _run_seq
    psweep-db2table -a calc/database.pk | less -S
    """  # noqa: D301  (click wants the character itself)
    df = _read(file)
    unknown = [name for name in columns if name not in df.columns]
    if unknown:
        raise click.UsageError(f"no column {unknown[0]!r}; there are {', '.join(map(str, df))}")
    shown = list(columns) or [name for name in df.columns if not str(name).startswith("_")]
    table: Any = df if all_columns else df[shown]  # tabulate takes DataFrames, its stubs do not say
    click.echo(tabulate(table, headers="keys", tablefmt=tablefmt, showindex=index))


class _OneLine(click.Command):
    """Tells our errors in a line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PsweepError as err:
            raise click.ClickException(str(err)) from err


class _Main(_OneLine, click.Group):
    """The group of all commands."""


@click.group("psweep", cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Parameter sweeps on Dask: see to the runs of a study from the shell."""


@main.command()
@CALC_DIR
@RUN_ID
@CLUSTER
def resume(calc_dir: str, run_id: str | None, cluster: str | None) -> None:
    """Finish the runs of the study in CALC_DIR that have died or were stopped.

    \b
    psweep-dask resume calc
    """  # noqa: D301  (click wants the character itself)
    resuming.resume(calc_dir, run_id=run_id, cluster=cluster)


@main.command()
@CALC_DIR
@CLUSTER
@click.option("--kind", multiple=True, help="error, timeout or killed; by default all of them.")
def retry(calc_dir: str, kind: tuple[str, ...], cluster: str | None) -> None:
    """Start a new run over the psets of CALC_DIR that failed.

    \b
    psweep-dask retry calc --kind timeout --kind killed
    """  # noqa: D301  (click wants the character itself)
    retrying.retry(calc_dir, kind=kind or retrying.RETRIED, cluster=cluster)


@main.command()
@CALC_DIR
@click.argument("pset_id")
@click.option("--pdb", is_flag=True, help="Stop in the debugger if func raises.")
def reproduce(calc_dir: str, pset_id: str, pdb: bool) -> None:
    """Run one pset again, here, and print what func returns.

    \b
    psweep-dask reproduce calc 2f1ef1ab --pdb
    """  # noqa: D301  (click wants the character itself)
    click.echo(pprint.pformat(retrying.reproduce(calc_dir, pset_id, pdb=pdb)))


@main.command()
@CALC_DIR
@RUN_ID
@click.option("--now", is_flag=True, help="Drop what runs instead of letting it finish.")
def stop(calc_dir: str, run_id: str | None, now: bool) -> None:
    """Ask the runs of CALC_DIR that are at work to stop, as Ctrl-C there would.

    \b
    psweep-dask stop calc
    """  # noqa: D301  (click wants the character itself)
    asked = past.request_stop(calc_dir, run_id or "", now=now)
    for one in asked:
        click.echo(f"run {one} is asked to stop")
    if not asked:
        raise click.ClickException(f"no run in {calc_dir!r} is at work")


@main.command()
@CALC_DIR
@click.option("--watch", is_flag=True, help="Show it anew every two seconds, until all has ended.")
@click.option("--json", "as_json", is_flag=True, help="For scripts, with all numbers.")
def status(calc_dir: str, watch: bool, as_json: bool) -> None:
    """Tell how the runs of the study in CALC_DIR stand, from its files alone.

    \b
    psweep-dask status calc --watch
    psweep-dask status calc --json | jq '.[-1].counts'
    """  # noqa: D301  (click wants the character itself)
    layout = Layout(calc_dir)
    past.check_study(layout)
    while True:
        states = run_states(layout)
        if watch and not as_json:
            click.clear()
        text = [json.dumps([one.as_dict() for one in states])] if as_json else shown(states)
        click.echo("\n".join(text))
        if not watch or all(one.state != "running" for one in states):
            return
        time.sleep(WATCH_INTERVAL)


@main.command()
@click.argument("name", required=False)
def machines(name: str | None) -> None:
    """List the machines in templates/machines, or show the job script of the one called NAME.

    \b
    psweep-dask machines
    psweep-dask machines mycluster
    """  # noqa: D301  (click wants the character itself)
    if name is not None:
        from psweep_dask import jobqueue  # distributed takes half a second to import

        click.echo(jobqueue.job_script(read_machine(name)))
        return
    known = [read_machine(one) for one in machine_names()]
    if not known:
        raise click.ClickException(
            f"no machine in {MACHINES_DIR!r}: each is a folder there with a file info.yaml"
        )
    table = [
        (one.name, one.cluster or "", one.jobs if one.cluster else "", one.subcmd or "", one.host)
        for one in known
    ]
    click.echo(tabulate(table, headers=["machine", "cluster", "jobs", "subcmd", "host"]))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--cluster", required=True, help="The machine on which driver and workers run.")
@click.option("--walltime", help="Of the driver's job; by default what the machine says.")
@click.option("--lead", default=LEAD, show_default=True, help="Stop so many seconds before.")
@click.option("--followers", default=FOLLOWERS, show_default=True, help="Jobs that may follow.")
@click.option("--dry-run", is_flag=True, help="Only show the job script.")
def submit(
    script: str, arguments: tuple[str, ...], dry_run: bool, cluster: str, **options: Any
) -> None:
    """Run SCRIPT, with its ARGUMENTS, as a batch job; its workers run in jobs of their own.

    When its walltime nears, the driver stops, and a job that follows goes on: it starts SCRIPT
    again, where each ps.run that is done gives the whole database at once. So compute params from
    nothing but the rows that they had before.

    \b
    psweep-dask submit --cluster mycluster script.py
    """  # noqa: D301  (click wants the character itself)
    job = driver_job(cluster, script, arguments, **options)
    if dry_run:
        click.echo(job.job_script())
        return
    job_id = job.submit()
    click.echo(f"the driver prints to {job.log_path(job_id)}; a follower waits until it is needed")
    click.echo(f"driver submitted as job {job_id}")


@main.command()
@click.argument("name")
def doctor(name: str) -> None:
    """Submit one small job to the machine called NAME, and tell whether runs can work there.

    \b
    psweep-dask doctor mycluster
    """  # noqa: D301  (click wants the character itself)
    from psweep_dask.doctor import examine  # distributed takes half a second to import

    said = [""]

    def tell(text: str) -> None:
        if text not in ("", said[-1]):
            said.append(text)
            click.echo(text, err=True)

    checks = examine(name, tell)
    table = [("ok" if not one.advice else "!!", one.what, one.found) for one in checks]
    click.echo(tabulate(table, tablefmt="plain"))
    for one in checks:
        if one.advice:
            click.echo(f"\n{one.what}: {one.advice}")
    if any(one.advice for one in checks):
        raise SystemExit(1)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Start a study in FOLDER: a script that runs, one that evaluates, and machines to fill in.

    \b
    psweep-dask init mystudy
    """  # noqa: D301  (click wants the character itself)
    for path in skeleton.create(folder):
        click.echo(path)
    click.echo(f"\nnow: cd {shlex.quote(str(folder))}, read 10run.py, python 10run.py")


@main.command("prep-rest")
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
    batch.prep_rest(calc_dir, run_id=run_id, array=array, template_mode=template_mode)


@main.command()
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
    collecting.collect(calc_dir, ask=ask, over=over)


# Everything behind the machine is looked at by us, since rsync has options that click would take.
OF_RSYNC = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": ["-h", "--help"],
}
RSYNC = click.argument("options", nargs=-1, type=click.UNPROCESSED)


@main.command(cls=_OneLine, context_settings=OF_RSYNC)
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
    submit = "--submit" in options
    rest, dry_run = _of_rsync(machine, options)
    transfer.push(machine, rest, dry_run=dry_run, submit=submit)


@main.command(cls=_OneLine, context_settings=OF_RSYNC)
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
    rest, dry_run = _of_rsync(machine, options)
    transfer.pull(machine, rest, dry_run=dry_run)


def _of_rsync(machine: str, options: tuple[str, ...]) -> tuple[list[str], bool]:
    """Take out what is not for rsync, and whether to show only."""
    if machine.startswith("-"):
        raise click.UsageError(f"name the machine first, then {machine} and what else rsync takes")
    dry = {"-n", "--dry-run"}
    rest = [one for one in options if one not in dry | {"--submit"}]
    return rest, bool(dry & set(options))


def _read(file: Path) -> pd.DataFrame:
    try:
        return df_read(file)
    except Exception as err:  # what is no pickle, or a damaged one, raises almost anything
        raise click.ClickException(f"{str(file)!r} cannot be read as a database: {err!r}") from err
