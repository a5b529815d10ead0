"""``retry`` and ``reproduce``: psets that have a row are run again."""

from __future__ import annotations

import dataclasses
import logging
import os
import pdb as debugger
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from psweep_dask._logging import show_log_lines
from psweep_dask.driver.prepared_run import PreparedRun
from psweep_dask.options import Options
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.pickling import as_in_this_script
from psweep_dask.storage.plan import FAILED
from psweep_dask.study import runs
from psweep_dask.study.load import load
from psweep_dask.study.revisit import RevisitError, load_func, read_psets
from psweep_dask.worker.work import Func

if TYPE_CHECKING:  # distributed takes half a second to import
    from distributed import Client
    from distributed.deploy import Cluster

log = logging.getLogger("psweep_dask")

RETRIED = tuple(sorted(FAILED - {"simulated", "lost"}))
"""What `retry` takes up unless it is told otherwise."""


def retry(
    calc_dir: str | os.PathLike[str] = "calc",
    func: Func | None = None,
    *,
    kind: str | Collection[str] = RETRIED,
    cluster: str | Client | Cluster | None = None,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
    tmpsave: bool = False,
    verbose: bool | Sequence[str] = False,
    backup: bool = False,
    git: bool = False,
    capture_logs: str | None = None,
    on_error: str | int = "record",
    retries: int = 0,
    timeout: float | None = None,
    resources: Mapping[str, float] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Start a new run over the psets whose latest row says that they failed.

    The old rows stay. The new ones count on in ``_attempt``.

    Parameters
    ----------
    calc_dir : str or PathLike, optional
        Folder of the study.
    func : callable, optional
        By default the one that was kept with the latest of the runs with failures.
    kind : str or collection of str, optional
        Which failures, by ``_status``: "error", "timeout", "killed"; by default all.
    timeout, resources, capture_logs : optional
        As in `run`; None keeps what the run had whose func it is.
    cluster, database_dir, database_basename, tmpsave, verbose, backup, git
        As in `run`.
    on_error, retries, progress
        As in `run`.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    PsweepError
        If there is no study, if `kind` is unknown, or if func cannot be loaded any more.

    Notes
    -----
    Rows of psets with the same ``_pset_sha1`` in one run are repeats, which do not excuse one
    another; a good row in a later run does.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"b": 1 / pset["a"]}, ps.plist("a", [0, 1]), cluster="sync")
    >>> df = ps.retry("calc", lambda pset: {"b": 7.0}, cluster="sync")
    >>> df[["a", "b", "_status", "_attempt"]].to_dict("list")
    {'a': [0, 1, 0], 'b': [nan, 1.0, 7.0], '_status': ['error', 'ok', 'ok'], '_attempt': [1, 1, 2]}
    """
    options = Options.of(locals())
    show_log_lines()
    kinds = [kind] if isinstance(kind, str) else kind
    if not isinstance(kinds, Collection) or not kinds or not all(one in RETRIED for one in kinds):
        raise RevisitError(f"kind={kind!r}; allowed are {', '.join(map(repr, RETRIED))}")
    layout = Layout(calc_dir, database_dir, database_basename)
    df = load(calc_dir, database_dir=database_dir, database_basename=database_basename)
    failed = _latest_failed(df, kinds)
    if failed.empty:
        log.info("nothing to retry in %r", layout.calc_dir)
        return df
    psets, plans = read_psets(layout, failed)
    latest, work = plans[max(plans, key=lambda one: plans[one][0].run_seq)]
    source = None
    if func is None:
        func = load_func(work, latest.run_id)
        source = None if _is_imported(func) else runs.source_of(layout, latest.run_id)
        log.info("with the func that run %s had; func= takes another one", latest.run_id)
    else:
        psets = as_in_this_script(psets)
    if options.capture_logs is None:
        options = dataclasses.replace(options, capture_logs=work.capture_logs)
    if options.timeout is None:
        options = dataclasses.replace(options, timeout=work.timeout)
    if options.resources is None:
        options = dataclasses.replace(options, resources=work.resources)
    attempts = failed["_attempt"].fillna(1).astype(int).tolist()
    return PreparedRun(func, psets, cluster, options, attempts=attempts, source=source).go()


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

    `func` gets the same pset, the same book-keeping fields, and thus the same numbers from
    `ps.rng`. If it writes into the folder of the pset, it does so again.

    Parameters
    ----------
    calc_dir : str or PathLike, optional
        Folder of the study.
    pset_id : str
        The ``_pset_id`` of a row, or the beginning of it.
    func : callable, optional
        By default the one that was kept with the plan.
    pdb : bool, optional
        If func raises, stop there in the debugger.
    database_dir, database_basename
        As in `run`.

    Returns
    -------
    object
        What func returns.

    Raises
    ------
    PsweepError
        If there is no such row, or if func cannot be loaded any more.
    Exception
        Whatever func raises.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run(lambda pset: {"x": ps.rng(pset).random()}, [{"a": 1}], cluster="sync")
    >>> again = ps.reproduce("calc", df._pset_id.iloc[0])
    >>> bool(again["x"] == df.x.iloc[0])
    True
    """
    layout = Layout(calc_dir, database_dir, database_basename)
    df = load(calc_dir, database_dir=database_dir, database_basename=database_basename)
    ids = df.get("_pset_id", pd.Series(dtype=object)).astype(str)
    known = isinstance(pset_id, str) and pset_id != ""
    rows = df[ids.str.startswith(pset_id)] if known else df[:0]
    if len(rows) != 1:
        raise RevisitError(
            f"{len(rows)} rows in {layout.calc_dir!r} have a _pset_id that begins with "
            f"{pset_id!r}; it takes exactly one"
        )
    (pset,), plans = read_psets(layout, rows)
    ((planned, work),) = plans.values()
    if func is None:
        func = load_func(work, planned.run_id)
    else:
        pset = as_in_this_script(pset)
    row = rows.iloc[0]
    fields = work.seed_fields(int(row["_pset_seq"]), row["_pset_sha1"])
    given = {**pset, **fields, "_time_utc": pd.Timestamp(fields["_time_utc"])}
    given |= {"_pset_id": row["_pset_id"], "_run_seq": int(row["_run_seq"])}  # of a merged study
    try:
        return func(given)
    except Exception:
        if pdb:
            debugger.post_mortem(sys.exc_info()[2])
        raise


def _is_imported(func: Func) -> bool:
    """Tell a func that a module has from one that came by value, as it was in the past."""
    module = sys.modules.get(getattr(func, "__module__", None) or "")
    return getattr(module, getattr(func, "__qualname__", ""), None) is func


def _latest_failed(df: pd.DataFrame, kinds: Collection[str]) -> pd.DataFrame:
    if not {"_status", "_pset_sha1", "_run_seq"} <= set(df.columns):
        return df[:0]
    latest_run = df.groupby("_pset_sha1")["_run_seq"].transform("max")
    return df[df["_status"].isin(list(kinds)) & (df["_run_seq"] == latest_run)]
