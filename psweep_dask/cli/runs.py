"""The commands that see to runs, and to the machines on which they go."""

from __future__ import annotations

import json
import pprint
import time
from pathlib import Path
from typing import Any

import click

from psweep_dask.cli.common import CALC_DIR, CLUSTER, PSET, RUN_ID, OneLine

WATCH_INTERVAL = 2.0
"""Seconds between two looks at a study."""


@click.command(cls=OneLine)
@CALC_DIR
@RUN_ID
@CLUSTER
def resume(calc_dir: str, run_id: str | None, cluster: str | None) -> None:
    """Finish the runs of the study in CALC_DIR that have died or were stopped.

    \b
    psweep-dask resume calc
    """  # noqa: D301  (click wants the character itself)
    import psweep_dask as ps

    ps.resume(calc_dir, run_id=run_id, cluster=cluster)


@click.command(cls=OneLine)
@CALC_DIR
@CLUSTER
@click.option("--kind", multiple=True, help="error, timeout or killed; by default all of them.")
def retry(calc_dir: str, kind: tuple[str, ...], cluster: str | None) -> None:
    """Start a new run over the psets of CALC_DIR that failed, with the func that they had.

    To run them with a mended func, call ps.retry("calc", func=func) in Python.

    \b
    psweep-dask retry calc --kind timeout --kind killed
    """  # noqa: D301  (click wants the character itself)
    import psweep_dask as ps
    from psweep_dask.driver.retry import RETRIED

    ps.retry(calc_dir, kind=kind or RETRIED, cluster=cluster)


@click.command(cls=OneLine)
@PSET
@CALC_DIR
@click.option("--pdb", is_flag=True, help="Stop in the debugger if func raises.")
def reproduce(pset: str, calc_dir: str, pdb: bool) -> None:
    """Run one pset again, here, and print what func returns.

    PSET is its _pset_seq, or the beginning of its _pset_id.

    \b
    psweep-dask reproduce 149 calc --pdb
    psweep-dask reproduce 2f1ef1ab calc
    """  # noqa: D301  (click wants the character itself)
    import psweep_dask as ps
    from psweep_dask import _query
    from psweep_dask.study.load import load

    if Path(pset).is_dir() and not Path(calc_dir).exists():
        pset, calc_dir = calc_dir, pset
    pset_id = _query.by_name(load(calc_dir), pset)["_pset_id"]
    click.echo(pprint.pformat(ps.reproduce(calc_dir, pset_id, pdb=pdb)))


@click.command(cls=OneLine)
@CALC_DIR
@RUN_ID
@click.option("--now", is_flag=True, help="Drop what runs instead of letting it finish.")
def stop(calc_dir: str, run_id: str | None, now: bool) -> None:
    """Ask the runs of CALC_DIR that are at work to stop, as Ctrl-C there would.

    \b
    psweep-dask stop calc
    """  # noqa: D301  (click wants the character itself)
    from psweep_dask.study.runs import find_study
    from psweep_dask.study.stop import request_stop

    asked = request_stop(find_study(calc_dir), run_id or "", now=now)
    for one in asked:
        click.echo(f"run {one} is asked to stop")
    if not asked:
        raise click.ClickException(f"no run in {calc_dir!r} is at work")


@click.command(cls=OneLine)
@CALC_DIR
@click.option("--watch", is_flag=True, help="Show it anew every two seconds, until all has ended.")
@click.option("--json", "as_json", is_flag=True, help="For scripts, with all numbers.")
def status(calc_dir: str, watch: bool, as_json: bool) -> None:
    """Tell how the runs of the study in CALC_DIR stand, from its files alone.

    \b
    psweep-dask status calc --watch
    psweep-dask status calc --json | jq '.[-1].counts'
    """  # noqa: D301  (click wants the character itself)
    from psweep_dask.monitoring.run_states import run_states
    from psweep_dask.monitoring.status import shown
    from psweep_dask.study.runs import find_study

    layout = find_study(calc_dir)
    while True:
        states = run_states(layout)
        if watch and not as_json:
            click.clear()
        text = [json.dumps([one.as_dict() for one in states])] if as_json else shown(states)
        click.echo("\n".join(text))
        if not watch or all(one.state != "running" for one in states):
            return
        time.sleep(WATCH_INTERVAL)


@click.command(cls=OneLine)
@CALC_DIR
def runs(calc_dir: str) -> None:
    """List the runs of CALC_DIR: who, when, where, with which code, and how they ended.

    \b
    psweep-dask runs calc
    """  # noqa: D301  (click wants the character itself)
    from tabulate import tabulate

    from psweep_dask.study.runs import all_runs, find_study

    layout = find_study(calc_dir)
    table = [
        (
            one.run_id[:8],
            (one.info.get("start") or "")[:19].replace("T", " "),
            f"{one.info.get('user', '?')}@{one.info.get('host', '?')}",
            one.info.get("func", ""),
            one.info["psets"],
            " ".join(str(value) for value in (one.info.get("cluster") or {}).values()),
            _commit(one.info.get("git")),
            "running" if one.is_alive() else one.ending,
        )
        for one in all_runs(layout)
    ]
    headers = ["run", "begun", "by", "func", "psets", "where", "git", "ended"]
    click.echo(tabulate(table, headers=headers))


def _commit(git: dict[str, Any] | None) -> str:
    if git is None:
        return ""
    return f"{(git['commit'] or 'no commit')[:8]}{' + changes' if git['dirty'] else ''}"


@click.command(cls=OneLine)
@click.argument("run")
@click.argument("other")
@CALC_DIR
def diff(run: str, other: str, calc_dir: str) -> None:
    """Tell what differed between RUN and OTHER: code, packages, machine, call.

    Runs are named by their _run_seq, or by the beginning of their id.

    \b
    psweep-dask diff 0 1
    """  # noqa: D301  (click wants the character itself)
    from psweep_dask.study.diff import compare_runs
    from psweep_dask.study.runs import all_runs, find_run, find_study

    known = all_runs(find_study(calc_dir))
    lines = list(compare_runs(find_run(known, run), find_run(known, other)))
    click.echo("\n".join(lines or ["nothing that is known differed"]))


@click.command(cls=OneLine)
@click.argument("name", required=False)
def machines(name: str | None) -> None:
    """List the machines in templates/machines, or show the job script of the one called NAME.

    \b
    psweep-dask machines
    psweep-dask machines mycluster
    """  # noqa: D301  (click wants the character itself)
    from tabulate import tabulate

    from psweep_dask.hpc.machine import MACHINES_DIR, machine_names, read_machine

    if name is not None:
        from psweep_dask.clusters import jobqueue_options

        click.echo(jobqueue_options.job_script(read_machine(name)))
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


@click.command(cls=OneLine, context_settings={"ignore_unknown_options": True})
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--cluster", required=True, help="The machine on which driver and workers run.")
@click.option("--walltime", help="Of the driver's job; by default what the machine says.")
@click.option("--lead", type=int, help="Stop so many seconds before its end (120).")
@click.option("--followers", type=int, help="Jobs that may follow (20).")
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
    from psweep_dask.driver.driver_job import driver_job

    options = {name: value for name, value in options.items() if value is not None}

    job = driver_job(cluster, script, arguments, **options)
    if dry_run:
        click.echo(job.job_script())
        return
    job_id = job.submit()
    click.echo(f"the driver prints to {job.log_path(job_id)}; a follower waits until it is needed")
    click.echo(f"driver submitted as job {job_id}")


@click.command(cls=OneLine)
@click.argument("name")
def doctor(name: str) -> None:
    """Submit one small job to the machine called NAME, and tell whether runs can work there.

    \b
    psweep-dask doctor mycluster
    """  # noqa: D301  (click wants the character itself)
    from tabulate import tabulate

    from psweep_dask.clusters.doctor import examine

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
