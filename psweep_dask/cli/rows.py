"""The commands that show rows of a study, also while a run goes on."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psweep_dask.cli import common
from psweep_dask.cli.common import CALC_DIR, HELP_SETTINGS, PSET, TABLE_FORMAT, WHERE
from psweep_dask.storage.status import WAITING

if TYPE_CHECKING:
    import pandas as pd

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
LAST = partial(click.option, "-n", "last", metavar="N")
ORIENTS = click.Choice(["split", "records", "index", "columns", "values"])


@click.command()
@CALC_DIR
@click.argument("columns", nargs=-1)
@WHERE
@click.option("-a", "--all", "all_columns", is_flag=True, help="Show the book-keeping columns too.")
@LAST(type=click.IntRange(min=1), help="Only the last N rows.")
@TABLE_FORMAT
def table(
    calc_dir: str,
    columns: tuple[str, ...],
    where: str | None,
    all_columns: bool,
    last: int | None,
    tablefmt: str,
) -> None:
    """Show the rows of CALC_DIR as a table, with these COLUMNS.

    By default these are all but the book-keeping ones. In a terminal, lines are cut to its width.

    \b
    psweep-dask table calc a result --where 'a > 3' -n 20
    psweep-dask table calc _pset_seq _exc_txt --where '_status == "error"' | less -S
    """
    df = common.filter_rows(common.load_plain(calc_dir), where)
    names = columns or (df.columns if all_columns else ())
    text = _table_text(df.tail(last or len(df)), names, tablefmt=tablefmt, showindex=False)
    click.echo("\n".join(map(_cut, text.split("\n"))))


def _table_text(df: pd.DataFrame, columns: Iterable[str], **style: Any) -> str:
    """Return columns of rows as a table: by default all but the book-keeping ones."""
    from tabulate import tabulate

    common.check_columns(columns, df)
    names = list(columns) or [name for name in df.columns if not str(name).startswith("_")]
    shown: Any = df[names]  # tabulate takes DataFrames, its stubs do not say so
    return tabulate(shown, headers="keys", **style)


@click.command()
@PSET
@CALC_DIR
def show(pset: str, calc_dir: str) -> None:
    """Show all of one pset: its row, its folder, the end of its log, its traceback.

    PSET is its _pset_seq, as in messages, or the first characters of its _pset_id.

    \b
    psweep-dask show 149 calc
    psweep-dask show 2f1ef1ab calc
    """
    from psweep_dask import _query
    from psweep_dask.storage.layout import Layout

    row = _query.find_row(common.load_plain(calc_dir), pset)
    width = max(len(str(name)) for name in row.index)
    for name, value in row.items():
        if name not in ("_exc_txt", "_logs"):
            click.echo(f"{name!s:>{width}}  {_value_text(value)}")
    folder = Layout(calc_dir).pset_folder(row["_pset_id"])
    if folder.path.is_dir():
        click.echo(f"\n{folder.path}:")
        for path in sorted(path for path in folder.path.rglob("*") if path.is_file()):
            click.echo(f"  {path.relative_to(folder.path)}  {path.stat().st_size:,} bytes")
    logs = row.get("_logs")
    if not isinstance(logs, str) and folder.logs_path.is_file():
        logs = folder.logs_path.read_text(errors="replace")
    if isinstance(logs, str) and logs:
        lines = logs.rstrip().split("\n")
        last = lines[-20:]
        click.echo(f"\nthe last {len(last)} of {len(lines)} lines of its log:")
        click.echo("\n".join(f"  {line}" for line in last))
    if isinstance(row.get("_exc_txt"), str):
        click.echo(f"\n{row['_exc_txt'].rstrip()}")


@click.command()
@CALC_DIR
@WHERE
@LAST(default=10, show_default=True, type=click.IntRange(min=0), help="Begin with the last N rows.")
def tail(calc_dir: str, where: str | None, last: int) -> None:
    """Print the rows of CALC_DIR as psets finish, until no run is at work any more.

    \b
    psweep-dask tail calc --where '_status != "ok"'
    """
    from psweep_dask.study.runs import find_study, stored_runs

    layout = find_study(calc_dir)
    printed: set[str] | None = None
    at_work = True
    while at_work:
        began = time.monotonic()
        at_work = any(run.is_alive() for run in stored_runs(layout))
        df = common.load_plain(calc_dir)
        if len(df):
            df = df[~df["_status"].isin(WAITING)]
            begun = df["_time_utc"].astype("datetime64[ns]").astype("int64")
            ends = begun + 1e9 * df["_pset_runtime"].fillna(0.0)
            df = df.iloc[ends.argsort(kind="stable").to_numpy()]
            new = df.tail(last) if printed is None else df[~df["_pset_id"].isin(printed)]
            printed = set(df["_pset_id"])
            for _, row in common.filter_rows(new, where).iterrows():
                click.echo(_cut(_row_line(row)))
        if at_work:
            time.sleep(max(0.5, 5 * (time.monotonic() - began)))  # reading: a sixth of the time


def _row_line(row: pd.Series) -> str:
    from psweep_dask._convert import is_nan

    values = ", ".join(
        f"{name}={_value_text(value, 40)}"
        for name, value in row.items()
        if not str(name).startswith("_") and not is_nan(value)
    )
    error = row["_exc_txt"].strip().splitlines()[-1:] if isinstance(row["_exc_txt"], str) else []
    text = "  ".join([values, *error])
    return f"{row['_pset_seq']:>8}  {row['_status']:<7}  {row['_pset_runtime']:9.3f} s  {text}"


def _value_text(value: Any, limit: int = 200) -> str:
    """Return a value as a person would write it: 1.5, not np.float64(1.5)."""
    import numpy as np

    from psweep_dask._format import short_repr

    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.10g}"
    return value if isinstance(value, str) and len(value) <= limit else short_repr(value, limit)


def _cut(line: str) -> str:
    """Cut a line to the width of the terminal, if stdout is one."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else len(line)
    return line if len(line) <= width else line[: width - 1] + "…"


@click.command(context_settings=HELP_SETTINGS)
@click.option("-o", "--orient", default="records", show_default=True, type=ORIENTS)
@FILE
def db2json(file: Path, orient: str) -> None:
    """Print the database FILE as JSON, for quick queries with tools such as jq.

    \b
    psweep-db2json calc/database.pk | jq -r '.[]|[._time_utc,.study]|@tsv'
    """
    from psweep_dask.storage.df_functions import df_to_json

    click.echo(df_to_json(_read(file), orient=orient))


@click.command(context_settings=HELP_SETTINGS)
@TABLE_FORMAT
@click.option("-a", "all_columns", is_flag=True, help="Print the book-keeping columns too.")
@click.option("-i", "showindex", is_flag=True, help="Print the index.")
@FILE
@click.argument("columns", nargs=-1)
def db2table(file: Path, columns: tuple[str, ...], all_columns: bool, **style: Any) -> None:
    """Print the database FILE as a table, with these COLUMNS.

    By default these are all but the book-keeping ones.

    \b
    psweep-db2table calc/database.pk a b _run_seq
    psweep-db2table -a calc/database.pk | less -S
    """
    df = _read(file)
    common.check_columns(columns, df)
    click.echo(_table_text(df, df.columns if all_columns else columns, **style))


def _read(file: Path) -> pd.DataFrame:
    from psweep_dask.storage.df_functions import df_read

    try:
        return df_read(file)
    except Exception as err:  # what is no pickle, or a damaged one, raises almost anything
        raise click.ClickException(f"{str(file)!r} cannot be read as a database: {err!r}") from err
