"""What commands of the shell have in common.

Commands import what they need when they are called: nobody waits for pandas to read a help text.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from psweep_dask.errors import PsweepError

if TYPE_CHECKING:  # it takes half a second to import
    import pandas as pd

CALC_DIR = click.argument("calc_dir", default="calc", type=click.Path())
PSET = click.argument("pset")
RUN_ID = click.option("--run-id", help="Only this run, by its UUID or the beginning of it.")
CLUSTER = click.option("--cluster", help="Where to run, as in ps.run.")
WHERE = click.option(
    "--where", metavar="EXPRESSION", help="Only these rows: 'a > 3 and b == \"x\"'"
)
_NOT_WRITTEN = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT}
HELP = {"help_option_names": ["-h", "--help"]}


def check_columns(asked: Iterable[str], df: pd.DataFrame) -> None:
    """Make sure that a database has the columns that are asked for."""
    for name in asked:
        if name not in df.columns:
            raise click.UsageError(f"no column {name!r}; there are {', '.join(map(str, df))}")


def chosen(df: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """Give the rows that --where asks for."""
    from psweep_dask import _query

    return df if where is None or df.empty else _query.where(df, where)


class OneLine(click.Command):
    """Tells our errors in a line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command."""
        try:
            return super().invoke(ctx)
        except PsweepError as err:
            raise click.ClickException(str(err)) from err
        except OSError as err:
            if err.errno not in _NOT_WRITTEN:
                raise
            raise click.ClickException(str(err)) from err
