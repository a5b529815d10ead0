"""Earlier runs: their plans and funcs are read back, and the psets without a row are found."""

from __future__ import annotations

import logging
import sys

import pandas as pd

from psweep_dask.errors import PsweepError
from psweep_dask.params.pset import Pset
from psweep_dask.storage import plan
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.plan import Plan
from psweep_dask.study import recovery
from psweep_dask.study.runs import StoredRun, find_run, stored_runs
from psweep_dask.worker.work import Func, Work

log = logging.getLogger("psweep_dask")


class RevisitError(PsweepError):
    """An earlier run whose psets cannot be run again as asked."""


def read_plan(layout: Layout, run_id: str) -> tuple[Plan, Work]:
    """Read the plan of a run, and its work; a `RevisitError` says that it is gone or damaged."""
    path = layout.run_folder(run_id).plan_path
    try:
        with path.open("rb") as stream:
            planned, work = plan.load(stream)
    except FileNotFoundError as err:
        raise RevisitError(f"the plan of run {run_id} is gone: {str(path)!r}") from err
    except plan.PlanError as err:
        raise RevisitError(f"{str(path)!r}: {err}") from err
    return planned, Work.unpack(work)


def read_psets(
    layout: Layout, rows: pd.DataFrame
) -> tuple[list[Pset], dict[str, tuple[Plan, Work]]]:
    """Read the psets of some rows from the plans: in a row, results may have replaced parameters.

    Also return the plan and the work of each run, by its ``_run_id``.
    """
    plans = {run_id: read_plan(layout, run_id) for run_id in rows["_run_id"].unique()}
    planned = {
        (run_id, seq): pset
        for run_id, (run_plan, _) in plans.items()
        for seq, pset in zip(run_plan.seqs, run_plan.psets, strict=True)
    }
    psets = []
    for run_id, seq in zip(rows["_run_id"], rows["_pset_seq"].astype(int), strict=True):
        if (run_id, seq) not in planned:
            raise RevisitError(
                f"the plan of run {run_id} has no pset {seq}: the database and "
                f"{str(layout.run_folder(run_id).plan_path)!r} do not fit together"
            )
        psets.append(planned[run_id, seq])
    return psets, plans


def load_func(work: Work, run_id: str) -> Func:
    """Load the func that was kept with a run; a `RevisitError` says why that is not possible."""
    if not work.func:
        raise RevisitError(
            f"there is no func in the plan of run {run_id}, since it was prepared from templates, "
            "or its func could not be pickled: pass one as func=; or leave a prepared run to its "
            "jobs, of which ps.prep_rest writes those of lost psets anew, and "
            "ps.prep_batch(params, skip_dups=True) those of failed ones"
        )
    sys.path.extend(path for path in work.import_paths if path not in sys.path)
    try:
        return work.load_func()
    except Exception as err:  # whatever importing the user's modules raises
        raise RevisitError(
            f"the func that was kept with run {run_id} cannot be loaded any more ({err!r}); "
            "pass it as func=, or make its modules importable"
        ) from err


def choose_runs(layout: Layout, run_id: str | None) -> list[StoredRun]:
    """Return the runs to be resumed: all that are not finished, or the one that is named."""
    if not isinstance(run_id, str | None):
        raise RevisitError(f"run_id={run_id!r}; allowed are None, a str")
    runs = stored_runs(layout)
    if run_id is None:
        return [run for run in runs if run.ended_early]
    run = find_run(runs, run_id)
    if run.is_alive():
        raise RevisitError(f"the driver of run {run.run_id} lives: it is at work, or stop it first")
    return [run]


def recover_run(run: StoredRun) -> tuple[Plan, Plan, Work] | None:
    """Merge the rows of a run; return its plan, the plan of the psets without a row, and its work.

    The result is None if the run died before it had a plan. The caller holds its driver's lock.
    """
    layout = run.layout
    with layout.lock():
        recovery.remove_partial_databases(layout)
        df = recovery.read_to_change(layout, stored_runs(layout))
        df = recovery.merge_run(run, df)
        done = recovery.recorded_seqs(df, run.run_id)
    if not done and not run.folder.plan_path.exists():
        log.warning("run %s has no plan and no row, there is nothing to resume", run.run_id)
        return None
    planned, work = read_plan(layout, run.run_id)
    if run.info["ended"] == "prepared":
        # Each pset had a row, pending or not: the user has deleted those that are missing.
        done |= set(planned.seqs) - recovery.recorded_seqs(df, run.run_id, pending=True)
    return planned, planned.without(done), work
