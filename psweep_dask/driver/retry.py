"""``retry`` and ``reproduce``: psets that have a row are run again."""

from __future__ import annotations

import dataclasses
import logging
import os
import pdb as debugger
import socket
import sys
from collections.abc import Collection
from typing import Any, Unpack

import pandas as pd

from psweep_dask import _query
from psweep_dask._logging import show_log_lines
from psweep_dask.driver.prepared_run import PreparedRun
from psweep_dask.options import Options, RetryOptions, check_names, takes_options
from psweep_dask.storage.pickling import as_in_this_script
from psweep_dask.storage.status import FAILED
from psweep_dask.study.load import load_from
from psweep_dask.study.revisit import RevisitError, load_func, read_psets
from psweep_dask.study.runs import find_study, open_study, source_of
from psweep_dask.study.sources import current_source
from psweep_dask.worker.own_modules import values_in_force
from psweep_dask.worker.work import Func

log = logging.getLogger("psweep_dask")

RETRIED = tuple(sorted(FAILED))  # the _status of rows whose psets run again by default


@takes_options(RetryOptions)
def retry(
    calc_dir: str | os.PathLike[str] = "calc",
    func: Func | None = None,
    *,
    kind: str | Collection[str] = RETRIED,
    **options: Unpack[RetryOptions],
) -> pd.DataFrame:
    """Start a new run over the psets whose latest row is a failure.

    The old rows stay. The new ones go on counting in ``_attempt``.

    Parameters
    ----------
    func : callable, optional
        By default the func that was kept with the latest of the runs with failures.
    kind : str or collection of str, optional
        Which failures, by ``_status``: "error", "timeout", "killed"; by default all of them.
    calc_dir, **options
        As `psweep_dask.options.Options` describes them; ``help(ps.retry)`` shows them here.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    NoStudyError
        If there is no study.
    RevisitError
        If `kind` is unknown, or func cannot be loaded any more: then pass it.
    OptionError, FuncError, ClusterError, PsetFailedError, TypeError
        As in `run`.

    See Also
    --------
    resume : Finish a run that was stopped or has died.
    reproduce : Run one pset again, in this process.

    Notes
    -----
    Rows with the same ``_pset_sha1`` in one run are repeats of a pset: each that failed is run
    again. If a later run has a good row of the pset, none of them is.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"b": 1 / pset["a"]}, ps.plist("a", [0, 1]), cluster="sync")
    >>> df = ps.retry("calc", lambda pset: {"b": 7.0}, cluster="sync")
    >>> df[["a", "b", "_status", "_attempt"]].to_dict("list")
    {'a': [0, 1, 0], 'b': [nan, 1.0, 7.0], '_status': ['error', 'ok', 'ok'], '_attempt': [1, 1, 2]}
    """
    check_names(retry, options)
    checked = Options(calc_dir=calc_dir, **options)
    show_log_lines()
    kinds = [kind] if isinstance(kind, str) else kind
    if not isinstance(kinds, Collection) or not kinds or not all(name in RETRIED for name in kinds):
        raise RevisitError(f"kind={kind!r}; allowed are {', '.join(map(repr, RETRIED))}")
    layout = open_study(calc_dir, checked.database_dir, checked.database_basename)
    df = load_from(layout)
    failed = _latest_failed(df, kinds)
    if failed.empty:
        log.info("nothing to retry in %r", layout.calc_dir)
        return df
    psets, plans = read_psets(layout, failed)
    latest, work = max(plans.values(), key=lambda plan_and_work: plan_and_work[0].run_seq)
    source = module_values = None
    if func is None:
        func, module_values = load_func(work, latest.run_id), work.module_values
        source = current_source(func) or source_of(layout, latest.run_id)
        log.info("with the func of run %s; to run another one, pass it as func=", latest.run_id)
    else:
        psets = as_in_this_script(psets)
    inherited = [
        name for name in ("capture_logs", "timeout", "resources") if getattr(checked, name) is None
    ]
    checked = dataclasses.replace(checked, **{name: getattr(work, name) for name in inherited})
    info = {} if source is None else {"source": source}
    attempts = failed["_attempt"].fillna(1).astype(int).tolist()
    return PreparedRun(func, psets, checked, attempts, info, module_values).go()


@takes_options()
def reproduce(
    calc_dir: str | os.PathLike[str] = "calc",
    pset_id: str = "",
    func: Func | None = None,
    *,
    pdb: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
) -> Any:
    """Run one pset again, here in this process, and write nothing.

    `func` gets the same pset and the same book-keeping fields, and so the same numbers from
    `ps.rng`. If it writes into the folder of the pset, it does so again.

    Parameters
    ----------
    pset_id : str
        The ``_pset_id`` of a row, or the beginning of it.
    func : callable, optional
        By default the func that was kept with the plan.
    pdb : bool, optional
        If func raises, stop there in the debugger.
    calc_dir, database_dir, database_basename
        As `psweep_dask.options.Options` describes them; ``help(ps.reproduce)`` shows them here.

    Returns
    -------
    object
        What func returns.

    Raises
    ------
    NoStudyError
        If there is no study.
    QueryError
        If not exactly one row has this id.
    RevisitError
        If func cannot be loaded any more: then pass it.
    Exception
        Whatever func raises.

    See Also
    --------
    retry : Run all psets again that have failed.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run(lambda pset: {"x": ps.rng(pset).random()}, [{"a": 1}], cluster="sync")
    >>> again = ps.reproduce("calc", df._pset_id.iloc[0])
    >>> bool(again["x"] == df.x.iloc[0])
    True
    """
    layout = find_study(calc_dir, database_dir, database_basename)
    df = load_from(layout)
    rows = df.iloc[[_query.find_position(df, pset_id)]]
    (pset,), plans = read_psets(layout, rows)
    ((planned, work),) = plans.values()
    if func is not None:
        pset = as_in_this_script(pset)
    row = rows.iloc[0]
    fields = work.fields_at_start(int(row["_pset_seq"]), row["_pset_sha1"])
    given = {**pset, **fields, "_time_utc": pd.Timestamp(fields["_time_utc"])}
    given |= {"_pset_id": row["_pset_id"], "_run_seq": int(row["_run_seq"])}  # of a merged study
    given["_exec_host"] = socket.gethostname()
    try:
        with values_in_force({} if func else work.module_values):
            func = func or load_func(work, planned.run_id)
            return func(given)
    except Exception:
        if pdb:
            debugger.post_mortem(sys.exc_info()[2])
        raise


def _latest_failed(df: pd.DataFrame, kinds: Collection[str]) -> pd.DataFrame:
    if not {"_status", "_pset_sha1", "_run_seq"} <= set(df.columns):
        return df[:0]
    latest_run = df.groupby("_pset_sha1")["_run_seq"].transform("max")
    return df[df["_status"].isin(list(kinds)) & (df["_run_seq"] == latest_run)]
