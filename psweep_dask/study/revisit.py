"""Plans of earlier runs, read back from disk with the func that they came with."""

from __future__ import annotations

import logging
import pickle
import sys

import pandas as pd

from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import Pset
from psweep_dask.storage import database, plan
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.plan import Plan
from psweep_dask.study import recovery
from psweep_dask.study.runs import StoredRun, stored_runs
from psweep_dask.worker.work import Func, Work

log = logging.getLogger("psweep_dask")


class RevisitError(PsweepError):
    """Psets that cannot be taken up again as asked."""


def read_plan(layout: Layout, run_id: str) -> tuple[Plan, Work]:
    """Read the plan of a run, and its work.

    Raises
    ------
    RevisitError
        If it is gone or damaged.
    """
    path = layout.plan_path(run_id)
    try:
        with path.open("rb") as stream:
            planned, work = plan.load(stream)
    except FileNotFoundError as err:
        raise RevisitError(f"the plan of run {run_id} is gone: {str(path)!r}") from err
    except plan.PlanError as err:
        raise RevisitError(f"{str(path)!r}: {err}") from err
    return planned, pickle.loads(work)


def planned_psets(
    layout: Layout, rows: pd.DataFrame
) -> tuple[list[Pset], dict[str, tuple[Plan, Work]]]:
    """Read the psets of rows as they were planned: a row mixes them with results."""
    plans = {run_id: read_plan(layout, run_id) for run_id in rows["_run_id"].unique()}
    places = {
        run_id: {seq: place for place, seq in enumerate(planned.seqs)}
        for run_id, (planned, _) in plans.items()
    }
    psets = []
    for run_id, seq in zip(rows["_run_id"], rows["_pset_seq"], strict=True):
        if int(seq) not in places[run_id]:
            raise RevisitError(
                f"the plan of run {run_id} has no pset {int(seq)}: the database and "
                f"{str(layout.plan_path(run_id))!r} do not fit together"
            )
        psets.append(plans[run_id][0].psets[places[run_id][int(seq)]])
    return psets, plans


def load_func(work: Work, run_id: str) -> Func:
    """Load the func that was kept with a run.

    Raises
    ------
    RevisitError
        If that is impossible here and now; the message says why.
    """
    if not work.func:
        raise RevisitError(
            f"run {run_id} was prepared from templates, without a func: pass one as func=; or "
            "leave it to its jobs, of which ps.prep_rest writes those of lost psets anew, and "
            "ps.prep_batch(params, skip_dups=True) those of failed ones"
        )
    sys.path.extend(path for path in work.import_paths if path not in sys.path)
    try:
        func = work.load_func()
    except Exception as err:  # whatever importing the user's modules raises
        raise RevisitError(
            f"the func that was kept with run {run_id} cannot be loaded any more ({err!r}); "
            "pass it as func=, or make its modules importable"
        ) from err
    return func


def to_resume(layout: Layout, run_id: str | None) -> list[StoredRun]:
    """Choose the runs that a call is meant for: all that are not done, or the one it names.

    Raises
    ------
    psweep_dask.study.revisit.RevisitError
        If not exactly one begins so, or its driver lives.
    """
    if not isinstance(run_id, str | None):
        raise RevisitError(f"run_id={run_id!r}; allowed are None, a str")
    runs = stored_runs(layout)
    if run_id is None:
        return [past for past in runs if past.ended_early]
    chosen = [past for past in runs if past.run_id.startswith(run_id)]
    if len(chosen) != 1:
        known = ", ".join(past.run_id for past in runs) or "none"
        raise RevisitError(f"{len(chosen)} runs begin with run_id={run_id!r}; there are: {known}")
    if chosen[0].is_alive():
        raise RevisitError(f"the driver of run {run_id} lives: it is at work, or stop it first")
    return chosen


def take_up(past: StoredRun) -> tuple[Plan, Plan, Work] | None:
    """Merge what a run has left, and read its plan. The caller holds the lock of its driver.

    Returns
    -------
    planned : Plan
    left : Plan
        The psets without a record.
    work : Work
        All of it is None if the run died before it had a plan.
    """
    layout = past.layout
    with layout.lock():
        recovery.remove_leftovers(layout)
        df = recovery.merge(past, database.read_or_empty(layout.database_path))
        done = recovery.recorded(df, past.run_id)
    if not done and not layout.plan_path(past.run_id).exists():
        log.warning("run %s has no plan and no row, there is nothing to resume", past.run_id)
        return None
    planned, work = read_plan(layout, past.run_id)
    if past.info["ended"] == "prepared":  # each pset had a row: one that is gone was deleted
        done |= set(planned.seqs) - recovery.recorded(df, past.run_id, waiting=True)
    return planned, planned.without(done), work
