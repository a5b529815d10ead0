"""What the commands have in common: arguments, options, and errors without a traceback.

Commands import what they need when they are called: no help text waits for pandas or dask.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

import psweep_dask as ps

if TYPE_CHECKING:
    import pandas as pd

CALC_DIR = click.argument("calc_dir", default="calc", type=click.Path())
PSET = click.argument("pset")
RUN_ID = click.option(
    "--run-id", help="Only this run: its _run_seq, or the first characters of its _run_id."
)
CLUSTER = click.option("--cluster", help="Where to run, as in ps.run.")
WHERE = click.option(
    "--where", metavar="EXPRESSION", help="Only these rows: 'a > 3 and b == \"x\"'"
)
TABLE_FORMAT = click.option(
    "-f", "tablefmt", default="simple", show_default=True, help="Table format of tabulate."
)
HELP_SETTINGS = {"help_option_names": ["-h", "--help"]}

_WRITE_ERRORS = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT}
"""A full disk and missing permissions, of which a traceback says no more than the message."""


def check_columns(names: Iterable[str], df: pd.DataFrame) -> None:
    """Raise a `click.UsageError` if a database lacks one of these columns."""
    for name in names:
        if name not in df.columns:
            raise click.UsageError(f"no column {name!r}; there are {', '.join(map(str, df))}")


def load_plain(calc_dir: str) -> pd.DataFrame:
    """Return the rows of a study without running code that is in its files, for a look at them."""
    from psweep_dask.study.load import load_from
    from psweep_dask.study.runs import find_study

    return load_from(find_study(calc_dir), is_plain=True)


def filter_rows(df: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """Return the rows of a database that ``--where`` asks for."""
    from psweep_dask import _query

    return df if where is None or df.empty else _query.select_rows(df, where)


class ShortErrors(click.Command):
    """A command whose expected errors are a line without a traceback; its exit status is 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command."""
        try:
            return super().invoke(ctx)
        except (ps.PsweepError, OSError) as err:
            if isinstance(err, OSError) and err.errno not in _WRITE_ERRORS:
                raise
            raise click.ClickException(str(err)) from err
