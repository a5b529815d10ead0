"""The commands for a study as a whole: export its rows, plot them, check its files."""

from __future__ import annotations

from pathlib import Path

import click

import psweep_dask as ps
from psweep_dask.cli.common import CALC_DIR, WHERE, filter_rows


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@CALC_DIR
@WHERE
@click.option("--dims", metavar="A,B", help="For .nc: parameters that become dimensions.")
def export(file: Path, calc_dir: str, where: str | None, dims: str | None) -> None:
    """Write the rows of CALC_DIR to FILE: .parquet, .csv, .json, or .nc (netCDF).

    \b
    psweep-dask export results.parquet calc
    psweep-dask export results.nc --dims a,b --where '_status == "ok"'
    """
    df = filter_rows(ps.load(calc_dir), where)
    names = None if dims is None else [name.strip() for name in dims.split(",")]
    ps.export(df, file, dims=names)
    click.echo(f"{len(df):,} rows in {file}, {file.stat().st_size:,} bytes")


@click.command()
@click.argument("x")
@click.argument("y")
@CALC_DIR
@WHERE
@click.option("--by", metavar="COLUMN", help="Colour points by this column.")
@click.option("--log", type=click.Choice(["x", "y", "xy"]), help="Logarithmic axes.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file: .png, .pdf, .svg, or .html, which can be zoomed.",
)
def plot(
    x: str, y: str, calc_dir: str, where: str | None, by: str | None, log: str | None, output: Path
) -> None:
    """Plot column Y of CALC_DIR against column X.

    \b
    psweep-dask plot a result calc --by b --log xy -o result.png
    """
    from psweep_dask.analysis.plot import save_plot

    df = filter_rows(ps.load(calc_dir), where)
    count = save_plot(df, x, y, output, by=by, log=log or "")
    click.echo(f"{count:,} of {len(df):,} rows in {output}")


@click.command()
@CALC_DIR
@click.option("--deleted", is_flag=True, help="Bring back also the rows that ps.delete deleted.")
def rebuild(calc_dir: str, deleted: bool) -> None:
    """Make the database of CALC_DIR again, from the rows that its runs have kept.

    The old file is kept beside the new one.

    \b
    psweep-dask rebuild calc
    """
    df = ps.rebuild(calc_dir, deleted=deleted)
    click.echo(f"{len(df):,} rows in {calc_dir}")


@click.command()
@CALC_DIR
@click.option("--fix", is_flag=True, help="Repair what can be repaired; asks before each step.")
def check(calc_dir: str, fix: bool) -> None:
    """Compare the database of CALC_DIR with its folders, and look for what crashes have left.

    The exit status is 1 if something is left to do.

    \b
    psweep-dask check calc
    psweep-dask check calc --fix
    """
    from psweep_dask.study.check import inspect_study
    from psweep_dask.study.runs import find_study

    findings = inspect_study(find_study(calc_dir))
    is_left = False
    for finding in findings:
        shown = finding.names[:5]
        click.echo("\n  ".join([f"{finding.what}:", *shown]))
        if len(finding.names) > len(shown):
            click.echo(f"  and {len(finding.names) - len(shown):,} more")
        question = f"{finding.advice}?"
        if fix and finding.fix and click.confirm(question, default=not finding.loses_data):
            finding.fix()
        else:
            is_left = True
            click.echo(f"  what to do: {finding.advice}")
        click.echo()
    if not fix and any(finding.fix for finding in findings):
        command = f"psweep-dask check {calc_dir} --fix"
        click.echo(f"{command} does what it can, and asks before each step")
    if not findings:
        click.echo(f"{calc_dir}: database, folders and runs fit together")
    if is_left:
        raise SystemExit(1)
