"""The commands for runs, and for the machines on which they run."""

from __future__ import annotations

import json
import pprint
import time
from pathlib import Path
from typing import Any

import click

import psweep_dask as ps
from psweep_dask.cli.common import CALC_DIR, CLUSTER, PSET, RUN_ID
from psweep_dask.storage.status import FAILED


@click.command()
@CALC_DIR
@RUN_ID
@CLUSTER
def resume(calc_dir: str, run_id: str | None, cluster: str | None) -> None:
    """Finish the runs of CALC_DIR that died or were stopped.

    \b
    psweep-dask resume calc
    """
    ps.resume(calc_dir, run_id=run_id, cluster=cluster)


@click.command()
@CALC_DIR
@CLUSTER
@click.option(
    "--kind",
    multiple=True,
    default=sorted(FAILED),
    metavar="STATUS",
    help="Only psets with this _status: error, timeout or killed. Can be given several times.",
)
def retry(calc_dir: str, kind: tuple[str, ...], cluster: str | None) -> None:
    """Run the psets of CALC_DIR that failed in a new run, with the same func.

    To run them with a corrected func, call ps.retry("calc", func=func) in Python.

    \b
    psweep-dask retry calc --kind timeout --kind killed
    """
    ps.retry(calc_dir, kind=kind, cluster=cluster)


@click.command()
@PSET
@CALC_DIR
@click.option("--pdb", is_flag=True, help="Stop in the debugger if func raises.")
def reproduce(pset: str, calc_dir: str, pdb: bool) -> None:
    """Run one pset again in this process, and print what func returns.

    PSET is its _pset_seq, or the first characters of its _pset_id.

    \b
    psweep-dask reproduce 149 calc --pdb
    psweep-dask reproduce 2f1ef1ab calc
    """
    from psweep_dask import _query

    if Path(pset).is_dir() and not Path(calc_dir).exists():
        pset, calc_dir = calc_dir, pset
    pset_id = _query.find_row(ps.load(calc_dir), pset)["_pset_id"]
    click.echo(pprint.pformat(ps.reproduce(calc_dir, pset_id, pdb=pdb)))


@click.command()
@CALC_DIR
@RUN_ID
@click.option(
    "--now", is_flag=True, help="Drop the psets that run, instead of letting them finish."
)
def stop(calc_dir: str, run_id: str | None, now: bool) -> None:
    """Ask the runs of CALC_DIR that are at work to stop, as Ctrl-C would.

    \b
    psweep-dask stop calc
    """
    from psweep_dask.study.runs import find_study
    from psweep_dask.study.stop import request_stop

    asked = request_stop(find_study(calc_dir), run_id or "", now=now)
    if not asked:
        raise click.ClickException(f"no run in {calc_dir!r} is at work")
    click.echo("\n".join(f"run {asked_run_id} is asked to stop" for asked_run_id in asked))


@click.command()
@CALC_DIR
@click.option("--watch", is_flag=True, help="Update every two seconds until all runs have ended.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON, for scripts.")
def status(calc_dir: str, watch: bool, as_json: bool) -> None:
    """Show how far the runs of CALC_DIR are, and what failed last.

    Only files are read: this works on any machine that sees them.

    \b
    psweep-dask status calc --watch
    psweep-dask status calc --json | jq '.[-1].counts'
    """
    while True:
        study = ps.status(calc_dir)
        if watch and not as_json:
            click.clear()
        click.echo(json.dumps([run.as_dict() for run in study.runs]) if as_json else repr(study))
        if not watch or all(run.state != "running" for run in study.runs):
            return
        time.sleep(2)


@click.command()
@CALC_DIR
def runs(calc_dir: str) -> None:
    """List the runs of CALC_DIR: who, when, where, with which code, and how they ended.

    \b
    psweep-dask runs calc
    """
    from tabulate import tabulate

    from psweep_dask.study.runs import all_runs, find_study

    table = []
    for run in all_runs(find_study(calc_dir)):
        info, git = run.info, run.info.get("git")
        commit = (git["commit"] or "no commit")[:8] if git else ""
        row = (
            run.run_id[:8],
            (info.get("start") or "")[:19].replace("T", " "),
            f"{info.get('user', '?')}@{info.get('host', '?')}",
            info.get("func", ""),
            info["psets"],
            " ".join(map(str, (info.get("cluster") or {}).values())),
            f"{commit} + changes" if git and git["dirty"] else commit,
            "running" if run.is_alive() else run.ending,
        )
        table.append(row)
    headers = ["run", "begun", "by", "func", "psets", "where", "git", "ended"]
    click.echo(tabulate(table, headers=headers))


@click.command()
@click.argument("run")
@click.argument("other")
@CALC_DIR
def diff(run: str, other: str, calc_dir: str) -> None:
    """Show what differs between RUN and OTHER: code, packages, machine, call.

    A run is named by its _run_seq, or by the first characters of its _run_id.

    \b
    psweep-dask diff 0 1
    """
    from psweep_dask.study.diff import compare_runs
    from psweep_dask.study.runs import all_runs, find_run, find_study

    known = all_runs(find_study(calc_dir))
    lines = list(compare_runs(find_run(known, run), find_run(known, other)))
    click.echo("\n".join(lines or ["no known difference"]))


@click.command()
@click.argument("name", required=False)
def machines(name: str | None) -> None:
    """List the machines in templates/machines, or show the job script of the one called NAME.

    \b
    psweep-dask machines
    psweep-dask machines mycluster
    """
    from tabulate import tabulate

    from psweep_dask.hpc.machine import MACHINES_DIR, machine_names, read_machine

    if name is not None:
        from psweep_dask.clusters.jobqueue_options import job_script

        click.echo(job_script(read_machine(name)))
        return
    names = machine_names()
    if not names:
        raise click.ClickException(
            f"no machine in {MACHINES_DIR!r}: each is a folder there with a file info.yaml"
        )
    table = [
        (known.name, known.cluster, known.cluster and known.jobs, known.subcmd, known.host)
        for known in map(read_machine, names)
    ]
    click.echo(tabulate(table, headers=["machine", "cluster", "jobs", "subcmd", "host"]))


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--cluster", required=True, help="The machine on which driver and workers run.")
@click.option("--walltime", help="Walltime of the driver's job; by default that of the machine.")
@click.option("--lead", type=int, help="Seconds before the walltime when the driver stops (120).")
@click.option("--followers", type=int, help="How many jobs may follow (20).")
@click.option("--dry-run", is_flag=True, help="Only show the job script.")
def submit(
    script: str, arguments: tuple[str, ...], dry_run: bool, cluster: str, **options: Any
) -> None:
    """Run SCRIPT with its ARGUMENTS as a batch job; its workers run in jobs of their own.

    Shortly before its walltime the driver stops, and a job that follows starts SCRIPT again. In
    there, each ps.run that is done returns the whole database at once. So params that are computed
    from rows must come from the same rows as before.

    \b
    psweep-dask submit --cluster mycluster script.py
    """
    from psweep_dask.driver.driver_job import driver_job

    given = {name: value for name, value in options.items() if value is not None}
    job = driver_job(cluster, script, arguments, **given)
    if dry_run:
        click.echo(job.job_script())
        return
    job_id = job.submit()
    click.echo(f"the driver prints to {job.log_path(job_id)}; a follower waits until it is needed")
    click.echo(f"driver submitted as job {job_id}")


@click.command()
@click.argument("name")
def doctor(name: str) -> None:
    """Submit one small job to the machine called NAME, and show whether runs can work there.

    The exit status is 1 if something has to be changed.

    \b
    psweep-dask doctor mycluster
    """
    from tabulate import tabulate

    from psweep_dask.clusters.doctor import examine

    shown = [""]

    def show_progress(text: str) -> None:
        if text not in ("", shown[-1]):
            shown.append(text)
            click.echo(text, err=True)

    checks = examine(name, show_progress)
    table = [("!!" if check.advice else "ok", check.topic, check.finding) for check in checks]
    click.echo(tabulate(table, tablefmt="plain"))
    advice = [f"\n{check.topic}: {check.advice}" for check in checks if check.advice]
    if advice:
        click.echo("\n".join(advice))
        raise SystemExit(1)
