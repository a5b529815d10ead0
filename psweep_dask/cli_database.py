"""The commands that print a database, with the options that psweep gives them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psweep_dask.cli_common import HELP, check_columns

if TYPE_CHECKING:  # it takes half a second to import
    import pandas as pd

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
ORIENTS = click.Choice(["split", "records", "index", "columns", "values"])


@click.command(context_settings=HELP)
@click.option("-o", "--orient", default="records", show_default=True, type=ORIENTS)
@FILE
def db2json(file: Path, orient: str) -> None:
    """Print a database as JSON, for quick queries with tools such as jq.

    \b
    psweep-db2json calc/database.pk | jq -r '.[]|[._time_utc,.study]|@tsv'
    """  # noqa: D301  (click wants the character itself)
    from psweep_dask.frame import df_to_json

    click.echo(df_to_json(_read(file), orient=orient))


@click.command(context_settings=HELP)
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
    from tabulate import tabulate

    df = _read(file)
    check_columns(columns, df)
    shown = list(columns) or [name for name in df.columns if not str(name).startswith("_")]
    table: Any = df if all_columns else df[shown]  # tabulate takes DataFrames, its stubs do not say
    click.echo(tabulate(table, headers="keys", tablefmt=tablefmt, showindex=index))


def _read(file: Path) -> pd.DataFrame:
    from psweep_dask.database import df_read

    try:
        return df_read(file)
    except Exception as err:  # what is no pickle, or a damaged one, raises almost anything
        raise click.ClickException(f"{str(file)!r} cannot be read as a database: {err!r}") from err
