"""``resume``: finish what a dead or stopped run has left, under the same ids."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import BaseFileLock

from psweep_dask._logging import show_log_lines
from psweep_dask.driver.execute import Destination, Execution
from psweep_dask.offline import collect
from psweep_dask.options import Options
from psweep_dask.storage import plan
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.pickling import as_in_this_script, dumps
from psweep_dask.storage.plan import Plan
from psweep_dask.study.load import load_from
from psweep_dask.study.revisit import RevisitError, load_func, recover_run, choose_runs
from psweep_dask.study.run import reopen_run
from psweep_dask.study.runs import StoredRun, check_study
from psweep_dask.study.stop import Stop
from psweep_dask.worker.func import import_paths, pack_func
from psweep_dask.worker.work import Func, Work

if TYPE_CHECKING:  # distributed takes half a second to import
    from distributed import Client
    from distributed.deploy import Cluster

log = logging.getLogger("psweep_dask")


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
    resources: Mapping[str, float] | None = None,
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
    retries, timeout, resources : optional
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
    from psweep_dask.clusters import local  # distributed takes half a second to import

    local.stop_if_imported_by_worker()
    show_log_lines()
    given = {name: value for name, value in locals().items() if name not in ("retries", "timeout")}
    options = Options.of(given | {"retries": 0 if retries is None else retries, "timeout": timeout})
    asked = {"retries": retries, "timeout": timeout, "resources": resources and dict(resources)}
    changes: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    changes["stop_after"] = options.failure_limit
    if func is not None:
        changes["func"] = pack_func(func)
    layout = Layout(calc_dir, database_dir, database_basename)
    check_study(layout)
    layout.make_writable()
    collected = collect.collect_from(layout)
    runs = choose_runs(layout, run_id)
    if func is not None and len(runs) > 1:
        ids = ", ".join(past.run_id for past in runs)
        raise RevisitError(
            f"func is for one run, and there are several: choose by run_id= of {ids}"
        )
    for past in runs:
        busy = len(collected.busy_seqs(past.run_id))
        if busy and run_id is not None:
            raise RevisitError(_busy(past, busy))
        if busy:
            log.warning("%s", _busy(past, busy))
        elif _resume(past, changes, cluster, options) > Stop.NO:
            break
    if not runs:
        log.info("nothing to resume in %r", layout.calc_dir)
    return load_from(layout)


def _busy(past: StoredRun, number: int) -> str:
    return (
        f"run {past.run_id} is left to its batch jobs, of which {number} wait, run, or may do so: "
        "ps.collect brings their results, and tells which are lost; or cancel them before"
    )


def _resume(past: StoredRun, changes: dict[str, Any], cluster: object, options: Options) -> Stop:
    with past.try_lock() as lock:
        if lock is None:
            log.info("run %s is left alone: its driver lives", past.run_id)
            return Stop.NO
        return _resume_taken(past, lock, changes, cluster, options)


def _resume_taken(
    past: StoredRun,
    lock: BaseFileLock,
    changes: dict[str, Any],
    cluster: object,
    options: Options,
) -> Stop:
    from psweep_dask.clusters import resolve

    layout = past.layout
    where = resolve.resolve(cluster)
    taken_up = recover_run(past)
    if taken_up is None:
        return Stop.NO
    planned, left, work = taken_up
    if "func" in changes:
        work = work.with_func(changes["func"])
        planned = dataclasses.replace(planned, psets=as_in_this_script(planned.psets))
        left = dataclasses.replace(left, psets=as_in_this_script(left.psets))
    work = _work_here(dataclasses.replace(work, **changes), resolve.shares_files(where))
    if "func" in changes:
        _keep_with_plan(layout, planned, work)
    elif len(left):
        load_func(work, past.run_id)  # so that it fails now, and not for each pset
    log.info(
        "run %s: %d of %d psets are done, %d to run, with %s",
        past.run_id,
        len(planned) - len(left),
        len(planned),
        len(left),
        "the func that was passed" if "func" in changes else "the func of its plan",
    )
    run = reopen_run(past, left, lock)
    if not len(left):
        run.finish("done", {"left": 0})
        return Stop.NO
    conduct = Execution(run, work, Destination(where, past.info.get("func", "func")), options)
    with conduct.stopper.catch_signals():
        conduct.go()
    return conduct.stopper.level


def _work_here(work: Work, shared_files: bool) -> Work:
    """Fit work of an earlier process to this one: where relative paths and modules are."""
    if not shared_files:
        return dataclasses.replace(work, cwd=None)
    paths = dict.fromkeys((*work.import_paths, *import_paths(shared_files)))
    cwd = work.cwd if work.cwd and Path(work.cwd).is_dir() else str(Path.cwd())
    return dataclasses.replace(work, cwd=cwd, import_paths=tuple(paths))


def _keep_with_plan(layout: Layout, planned: Plan, work: Work) -> None:
    """Have the next to resume this run find the func that it was resumed with."""
    data = dumps(work)
    path = layout.plan_path(planned.run_id)
    replace_file(path, lambda stream: plan.dump(planned, data, stream))
