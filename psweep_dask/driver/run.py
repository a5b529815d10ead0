"""``run`` and ``run_local``: psets are run, or a run is taken up that an earlier job has begun."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from typing import TYPE_CHECKING, Any

import pandas as pd

from psweep_dask._logging import show_log_lines
from psweep_dask.driver import chain
from psweep_dask.driver.prepared_run import PreparedRun
from psweep_dask.options import OptionError, Options
from psweep_dask.params.pset import check_params
from psweep_dask.study.load import load_from
from psweep_dask.study.run import layout_of
from psweep_dask.study.runs import StoredRun
from psweep_dask.worker.work import Func

if TYPE_CHECKING:  # distributed takes half a second to import
    from distributed import Client
    from distributed.deploy import Cluster

log = logging.getLogger("psweep_dask")


def run(
    func: Func,
    params: Iterable[Mapping[str, Any]],
    *,
    cluster: str | Client | Cluster | None = None,
    df: pd.DataFrame | None = None,
    save: bool = True,
    tmpsave: bool = False,
    verbose: bool | Sequence[str] = False,
    calc_dir: str | os.PathLike[str] = "calc",
    simulate: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
    backup: bool = False,
    git: bool = False,
    skip_dups: bool = False,
    capture_logs: str | None = None,
    on_error: str | int = "record",
    retries: int = 0,
    timeout: float | None = None,
    resources: Mapping[str, float] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Call `func` for each pset, in parallel, and append the results to the database.

    Every finished pset is on disk as it finishes; a pset that fails is a row that says why.

    The first Ctrl-C, or SIGTERM, lets what runs finish and returns what there is, the second
    drops what runs, the third leaves at once; `resume` does the rest later.

    Parameters
    ----------
    func : callable
        Takes one pset, a dict with the book-keeping fields added, and returns a dict, which is
        merged over the pset.
    params : iterable of dict
        The psets.
    cluster : None, str, Client or Cluster, optional
        Where to run: "local" (a LocalCluster with one single-threaded worker a core, kept for
        the next call), "allocation" (the SLURM allocation that this process is in, one worker a
        task), "sync" (in this process, for the debugger), the name of a machine in
        ``templates/machines`` (batch jobs there), or a dask Client or Cluster. None means the
        default dask Client if the script made one, else what dask's configuration has as
        ``psweep.cluster``, else the allocation if there is one, else "local".
    df : DataFrame, optional
        Append to this instead of the database on disk. When saved, it replaces that.
    save : bool, optional
        False leaves nothing on disk. A database that is there is read all the same: the rows
        are appended to it in what is returned.
    tmpsave : bool, optional
        Also write each row to ``<calc_dir>/tmpsave/<run_id>/<pset_id>.pk`` at once.
    verbose : bool or sequence of str, optional
        Print finished rows, or these columns of them.
    calc_dir : str or PathLike, optional
        Folder of the study, relative to the working directory.
    simulate : bool, optional
        Do all but call `func`, in ``<calc_dir>.simulate`` with a copy of the database.
    database_dir : str or PathLike, optional
        Folder of the database, `calc_dir` by default.
    database_basename : str, optional
        Name of the database.
    backup : bool, optional
        First copy the study to ``<calc_dir>.bak_<timestamp>_run_id_<run_id>``.
    git : bool, optional
        Commit everything in the working directory before and after the run.
    skip_dups : bool, optional
        Leave out psets that the database has a row for with the same ``_pset_sha1``, unless
        that one failed.
    capture_logs : {None, 'db', 'file', 'db+file'}, optional
        Redirect what each pset prints, subprocesses included, to the column ``_logs``, to
        ``<calc_dir>/<pset_id>/logs.txt``, or to both.
    on_error : {'record', 'raise'} or int, optional
        What a failing pset does: "record" makes it a row and goes on, "raise" ends the run at
        the first, a number ends it after so many. What has finished is saved in any case.
    retries : int, optional
        How many further attempts a pset gets that raises, runs over its time, or ends its
        worker. The last failure becomes its row.
    timeout : float, optional
        Seconds that a pset may take. Then its process and all that it has started are ended,
        C code that never returns to Python included.
    resources : dict, optional
        What a pset asks of a worker, in dask's words, such as ``{"GPU": 1}``: as many psets run
        there at the same time as the worker, started with ``--resources``, has of it.
    progress : bool, optional
        Show a bar on stderr. None means: if that is a terminal or a notebook.

    Returns
    -------
    DataFrame
        The whole database, in the order of ``_pset_seq``; the index holds ``_time_utc``.

    Raises
    ------
    PsweepError
        If the input is bad: before anything runs, naming the value, the reason and the remedy.
    PsetFailedError
        If `on_error` says so.

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
    options = Options.of(locals())
    return _run(func, params, cluster, options)


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
    *,
    git: bool = False,
    skip_dups: bool = False,
    capture_logs: str | None = None,
    on_error: str | int = "record",
    retries: int = 0,
    timeout: float | None = None,
    resources: Mapping[str, float] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Run on a LocalCluster, with the arguments in the order that psweep has them.

    Parameters
    ----------
    func, params
        As in `run`.
    df : DataFrame, optional
        As in `run`.
    poolsize : int, optional
        Number of worker processes; by default one for each core that this process may use.
    save, tmpsave, verbose, calc_dir, simulate, database_dir, database_basename, backup
        As in `run`.
    git, skip_dups, capture_logs, on_error, retries, timeout, resources, progress
        As in `run`.

    Returns
    -------
    DataFrame
        As from `run`.

    Raises
    ------
    PsweepError
        As in `run`; also if `poolsize` is no int from 1 on.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run_local(lambda pset: {"b": 2 * pset["a"]}, ps.plist("a", [1, 2]), save=False)
    >>> df.b.tolist()
    [2, 4]
    """
    options = Options.of(locals())
    if poolsize is not None and (type(poolsize) is not int or poolsize < 1):
        raise OptionError(f"poolsize={poolsize!r}; allowed are None, an int from 1")
    return _run(func, params, "local", options, poolsize)


def _run(
    func: Func,
    params: Iterable[Mapping[str, Any]],
    cluster: Any,
    options: Options,
    poolsize: int | None = None,
) -> pd.DataFrame:
    """Run, or go on where an earlier job of the chain that this process belongs to has ended."""
    params = list(params) if chain.chain() is not None else params
    before = _earlier(params, options)
    if before is None:
        df = PreparedRun(func, params, cluster, options, poolsize).go()
    elif before.ended_early:
        from psweep_dask.driver.resume import resume  # which is made of what is here

        given = {one.name: getattr(options, one.name) for one in fields(options)}
        wanted = given.keys() & signature(resume).parameters.keys()
        known = {name: given[name] for name in wanted}
        df = resume(func=func, run_id=before.run_id, cluster=cluster, **known)
    else:
        show_log_lines()
        log.info("run %s is done already, by an earlier job", before.run_id)
        df = load_from(before.layout)
    chain.leave_if_terminated()
    return df


def _earlier(params: Iterable[Mapping[str, Any]], options: Options) -> StoredRun | None:
    if chain.chain() is None or not options.save or options.simulate:
        return None
    return chain.earlier(layout_of(options), check_params(params)[1])
