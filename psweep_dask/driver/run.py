"""``run`` and ``run_local``: call func for each pset, in parallel, and return the database."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import pandas as pd

from psweep_dask._logging import show_log_lines
from psweep_dask.driver.prepared_run import PreparedRun
from psweep_dask.options import (
    Options,
    RunLocalOptions,
    RunOptions,
    check_names,
    takes_old_names,
    takes_options,
)
from psweep_dask.worker.work import Func

log = logging.getLogger("psweep_dask")


def start(func: Func, params: Iterable[Mapping[str, Any]], options: Options) -> pd.DataFrame:
    """Do what `run` and `run_local` have in common. A job of a chain puts its own function here."""
    return PreparedRun(func, params, options).go()


@takes_options(RunOptions)
def run(
    func: Func, params: Iterable[Mapping[str, Any]], **options: Unpack[RunOptions]
) -> pd.DataFrame:
    """Call `func` for each pset, in parallel, and append the results to the database.

    Every finished pset is on disk as soon as it has finished; a pset that fails is a row that
    says why.

    The first Ctrl-C, or SIGTERM, lets the psets that run finish and returns the rows there are,
    the second one ends them, the third one ends Python at once. `resume` does the rest later.

    Parameters
    ----------
    func : callable
        Takes one pset, a dict to which the book-keeping fields were added, and returns a dict,
        which is merged over the pset.
    params : iterable of dict
        The psets.
    **options
        As `psweep_dask.options.Options` describes them; ``help(ps.run)`` shows them here.

    Returns
    -------
    DataFrame
        The whole database, in the order of ``_pset_seq``; the index holds ``_time_utc``.

    Raises
    ------
    OptionError, FuncError, PsetError, ClusterError
        If an option, `func`, a pset or the cluster is bad: before anything runs. The message has
        the value, the reason and the remedy.
    PsetFailedError
        If as many psets have failed as `on_error` allows.
    PsweepError
        The class of all these. Also if the cluster, the journal or the database fails: then what
        has finished is on disk, and `resume` does the rest.
    TypeError
        If there is no such option.

    See Also
    --------
    submit : The same in the background.
    resume : Finish a run that was stopped or has died.
    retry : Run the psets again that failed.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> def func(pset):
    ...     return {"result": pset["a"] ** 2}
    >>> df = ps.run(func, ps.plist("a", [1, 2, 3]), cluster="sync", save=False)
    >>> ps.df_print(df[["a", "result", "_status"]])
     a  result _status
     1       1      ok
     2       4      ok
     3       9      ok
    """
    check_names(run, options)
    return start(func, params, Options(**options))


@takes_old_names(worker="func")
@takes_options(RunLocalOptions)
def run_local(
    func: Func,
    params: Iterable[Mapping[str, Any]],
    df: pd.DataFrame | None = None,
    poolsize: int | None = None,
    save: bool = True,
    tmpsave: bool = False,
    verbose: bool | Sequence[str] = False,
    calc_dir: str | os.PathLike[str] = "calc",
    simulate: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
    backup: bool = False,
    **options: Unpack[RunLocalOptions],
) -> pd.DataFrame:
    """Run on a LocalCluster, with the arguments in the order that psweep has them.

    Without `poolsize`, psets run one after the other in one worker process, like the loop of
    psweep: func may rewrite a file that all psets use. With ``poolsize=n``, n run at a time.

    Parameters
    ----------
    func : callable
        Takes one pset, a dict to which the book-keeping fields were added, and returns a dict,
        which is merged over the pset. psweep 0.5 calls it `worker`, which works, too.
    params : iterable of dict
        The psets.
    df, poolsize, ..., **options
        As `psweep_dask.options.Options` describes them; ``help(ps.run_local)`` shows them here.

    Returns
    -------
    DataFrame
        The whole database, in the order of ``_pset_seq``; the index holds ``_time_utc``.

    Raises
    ------
    OptionError, FuncError, PsetError, PsetFailedError, PsweepError, TypeError
        As in `run`.

    See Also
    --------
    run : On all cores, or on any cluster.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run_local(lambda pset: {"b": 2 * pset["a"]}, ps.plist("a", [1, 2]), save=False)
    >>> df.b.tolist()
    [2, 4]
    """
    chosen = Options.of({**locals(), **options, "cluster": "local"})
    if chosen.poolsize is None:
        chosen = replace(chosen, poolsize=1)
        if not chosen.simulate:
            show_log_lines()
            log.info(
                "one worker, psets one after the other as in psweep; poolsize=n runs n at a time, "
                "ps.run uses all cores"
            )
    return start(func, params, chosen)
