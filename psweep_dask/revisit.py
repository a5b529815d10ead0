"""``resume``, ``retry`` and ``reproduce``: going back to psets that were planned before."""

from __future__ import annotations

import dataclasses
import logging
import os
import pdb as debugger
import pickle
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import BaseFileLock

from psweep_dask import database, plan, recovery, study
from psweep_dask.conduct import Conduct, Place
from psweep_dask.errors import PsweepError
from psweep_dask.func import pack_func
from psweep_dask.layout import Layout, replace_file
from psweep_dask.options import Options
from psweep_dask.plan import FAILED, Plan
from psweep_dask.progress import show_log_lines
from psweep_dask.pset import Pset
from psweep_dask.record import dumps
from psweep_dask.recovery import PastRun
from psweep_dask.stopping import Stop
from psweep_dask.sweep import Sweeping, import_paths
from psweep_dask.work import Func, Work

if TYPE_CHECKING:  # distributed takes half a second to import
    from distributed import Client
    from distributed.deploy import Cluster

log = logging.getLogger("psweep_dask")

RETRIED = tuple(sorted(FAILED - {"simulated"}))
"""What `retry` takes up unless it is told otherwise."""


class RevisitError(PsweepError):
    """Psets that cannot be taken up again as asked."""


def resume(
    calc_dir: str | os.PathLike[str] = "calc",
    func: Func | None = None,
    *,
    run_id: str | None = None,
    cluster: str | Client | Cluster | None = None,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
    verbose: bool | Sequence[str] = False,
    on_error: str | int = "record",
    retries: int | None = None,
    timeout: float | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Finish the runs of a study that have died or were stopped.

    Only planned psets without a record are run, under the ids and numbers that they would have
    had. Doing it twice is harmless.

    Parameters
    ----------
    calc_dir : str or PathLike, optional
        Folder of the study.
    func : callable, optional
        Takes the place of the func that was kept with the plan.
    run_id : str, optional
        Finish this run, named by its UUID or the beginning of it; by default all of them.
    cluster, database_dir, database_basename, verbose, on_error, progress
        As in `run`.
    retries, timeout : optional
        As in `run`; None leaves them as they were.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    PsweepError
        If there is no study or no such run, if a driver is still at it, or if func cannot be
        loaded any more: then pass it.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"b": 1}, ps.plist("a", [1, 2]), cluster="sync")
    >>> len(ps.resume("calc"))  # there is nothing left to run
    2
    """
    show_log_lines()
    if not isinstance(run_id, str | None):
        raise RevisitError(f"run_id={run_id!r}; allowed are None, a str")
    given = {name: value for name, value in locals().items() if name not in ("retries", "timeout")}
    options = Options.of(given | {"retries": 0 if retries is None else retries, "timeout": timeout})
    changes: dict[str, Any] = {"stop_after": options.failure_limit}
    if func is not None:
        changes["func"] = pack_func(func)
    if retries is not None:
        changes["retries"] = retries
    if timeout is not None:
        changes["timeout"] = timeout
    layout = Layout(calc_dir, database_dir, database_basename)
    recovery.check_study(layout)
    layout.make_writable()
    runs = _to_resume(layout, run_id)
    if func is not None and len(runs) > 1:
        ids = ", ".join(past.run_id for past in runs)
        raise RevisitError(
            f"func is for one run, and there are several: choose by run_id= of {ids}"
        )
    for past in runs:
        if _resume(past, changes, cluster, options) > Stop.NO:
            break
    if not runs:
        log.info("nothing to resume in %r", layout.calc_dir)
    return recovery.load_from(layout)


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
    cluster, database_dir, database_basename, tmpsave, verbose, backup, git
        As in `run`.
    capture_logs, on_error, retries, timeout, progress
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
    df = recovery.load(calc_dir, database_dir=database_dir, database_basename=database_basename)
    failed = _latest_failed(df, kinds)
    if failed.empty:
        log.info("nothing to retry in %r", layout.calc_dir)
        return df
    psets, plans = _planned(layout, failed)
    latest, work = plans[max(plans, key=lambda one: plans[one][0].run_seq)]
    if func is None:
        func = _load_func(work, latest.run_id)
    attempts = failed["_attempt"].fillna(1).astype(int).tolist()
    return Sweeping(func, psets, cluster, options, attempts=attempts).go()


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
    df = recovery.load(calc_dir, database_dir=database_dir, database_basename=database_basename)
    ids = df.get("_pset_id", pd.Series(dtype=object)).astype(str)
    known = isinstance(pset_id, str) and pset_id != ""
    rows = df[ids.str.startswith(pset_id)] if known else df[:0]
    if len(rows) != 1:
        raise RevisitError(
            f"{len(rows)} rows in {layout.calc_dir!r} have a _pset_id that begins with "
            f"{pset_id!r}; it takes exactly one"
        )
    (pset,), plans = _planned(layout, rows)
    ((planned, work),) = plans.values()
    if func is None:
        func = _load_func(work, planned.run_id)
    row = rows.iloc[0]
    fields = work.seed_fields(int(row["_pset_seq"]), row["_pset_sha1"])
    given = {**pset, **fields, "_time_utc": pd.Timestamp(fields["_time_utc"])}
    try:
        return func(given)
    except Exception:
        if pdb:
            debugger.post_mortem(sys.exc_info()[2])
        raise


def _to_resume(layout: Layout, run_id: str | None) -> list[PastRun]:
    runs = recovery.past_runs(layout)
    if run_id is None:
        return [past for past in runs if past.ended_early]
    chosen = [past for past in runs if past.run_id.startswith(run_id)]
    if len(chosen) != 1:
        known = ", ".join(past.run_id for past in runs) or "none"
        raise RevisitError(f"{len(chosen)} runs begin with run_id={run_id!r}; there are: {known}")
    if chosen[0].is_alive():
        raise RevisitError(f"the driver of run {run_id} lives: it is at work, or stop it first")
    return chosen


def _resume(past: PastRun, changes: dict[str, Any], cluster: object, options: Options) -> Stop:
    with past.taken() as lock:
        if lock is None:
            log.info("run %s is left alone: its driver lives", past.run_id)
            return Stop.NO
        return _resume_taken(past, lock, changes, cluster, options)


def _resume_taken(
    past: PastRun,
    lock: BaseFileLock,
    changes: dict[str, Any],
    cluster: object,
    options: Options,
) -> Stop:
    from psweep_dask import clusters

    layout = past.layout
    where = clusters.resolve(cluster)
    with layout.lock():
        recovery.remove_leftovers(layout)
        df = recovery.merge(past, database.read_or_empty(layout.database_path))
        done = recovery.recorded(df, past.run_id)
    if not layout.plan_path(past.run_id).exists():
        log.info("run %s has no plan, there is nothing to resume", past.run_id)
        return Stop.NO
    planned, work = _read_plan(layout, past.run_id)
    left = planned.without(done)
    work = _work_here(dataclasses.replace(work, **changes), clusters.shares_this_machine(where))
    if "func" in changes:
        _keep_with_plan(layout, planned, work)
    elif len(left):
        _load_func(work, past.run_id)  # so that it fails now, and not for each pset
    log.info(
        "run %s: %d of %d psets are done, %d to run, with %s",
        past.run_id,
        len(done),
        len(planned),
        len(left),
        "the func that was passed" if "func" in changes else "the func of its plan",
    )
    run = study.reopen(past, left, lock)
    if not len(left):
        run.finish("done", {"left": 0})
        return Stop.NO
    conduct = Conduct(run, work, Place(where, past.info.get("func", "func")), options)
    with conduct.stopper.listening():
        conduct.go()
    return conduct.stopper.level


def _work_here(work: Work, same_machine: bool) -> Work:
    """Fit work of an earlier process to this one: where relative paths and modules are."""
    if not same_machine:
        return dataclasses.replace(work, cwd=None)
    paths = dict.fromkeys((*work.import_paths, *import_paths(same_machine)))
    cwd = work.cwd if work.cwd and Path(work.cwd).is_dir() else str(Path.cwd())
    return dataclasses.replace(work, cwd=cwd, import_paths=tuple(paths))


def _latest_failed(df: pd.DataFrame, kinds: Collection[str]) -> pd.DataFrame:
    if not {"_status", "_pset_sha1", "_run_seq"} <= set(df.columns):
        return df[:0]
    latest_run = df.groupby("_pset_sha1")["_run_seq"].transform("max")
    return df[df["_status"].isin(list(kinds)) & (df["_run_seq"] == latest_run)]


def _planned(layout: Layout, rows: pd.DataFrame) -> tuple[list[Pset], dict[str, tuple[Plan, Work]]]:
    """Read the psets of rows as they were planned: a row mixes them with results."""
    plans = {run_id: _read_plan(layout, run_id) for run_id in rows["_run_id"].unique()}
    places = {
        run_id: {seq: place for place, seq in enumerate(planned.seqs)}
        for run_id, (planned, _) in plans.items()
    }
    psets = [
        plans[run_id][0].psets[places[run_id][int(seq)]]
        for run_id, seq in zip(rows["_run_id"], rows["_pset_seq"], strict=True)
    ]
    return psets, plans


def _read_plan(layout: Layout, run_id: str) -> tuple[Plan, Work]:
    path = layout.plan_path(run_id)
    try:
        with path.open("rb") as stream:
            planned, work = plan.load(stream)
    except FileNotFoundError as err:
        raise RevisitError(f"the plan of run {run_id} is gone: {str(path)!r}") from err
    except plan.PlanError as err:
        raise RevisitError(f"{str(path)!r}: {err}") from err
    return planned, pickle.loads(work)


def _load_func(work: Work, run_id: str) -> Func:
    sys.path.extend(path for path in work.import_paths if path not in sys.path)
    try:
        func: Func = pickle.loads(work.func)
    except Exception as err:  # whatever importing the user's modules raises
        raise RevisitError(
            f"the func that was kept with run {run_id} cannot be loaded any more ({err!r}); "
            "pass it as func=, or make its modules importable"
        ) from err
    return func


def _keep_with_plan(layout: Layout, planned: Plan, work: Work) -> None:
    """Have the next to resume this run find the func that it was resumed with."""
    data = dumps(work)
    path = layout.plan_path(planned.run_id)
    replace_file(path, lambda stream: plan.dump(planned, data, stream))
