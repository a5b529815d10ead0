"""``resume``: finish the psets that a dead or stopped run has left, under the same ids."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from psweep_dask._logging import show_log_lines
from psweep_dask.driver.execute import Execution
from psweep_dask.offline import collect
from psweep_dask.options import Options, ResumeOptions, check_names, takes_options
from psweep_dask.storage import plan
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.pickling import as_in_this_script
from psweep_dask.study.load import load_from
from psweep_dask.study.revisit import RevisitError, choose_runs, load_func, recover_run
from psweep_dask.study.run import reopen_run
from psweep_dask.study.runs import StoredRun, open_study
from psweep_dask.study.sources import (
    current_source,
    differ,
    digest,
    resumed_message,
    sources_of,
    with_source,
)
from psweep_dask.study.stop import Stop
from psweep_dask.worker import own_modules
from psweep_dask.worker.func import func_source, import_paths, pack_func
from psweep_dask.worker.process_settings import log_settings, start_method
from psweep_dask.worker.work import Func, Work

log = logging.getLogger("psweep_dask")


@takes_options(ResumeOptions)
def resume(
    calc_dir: str | os.PathLike[str] = "calc",
    func: Func | None = None,
    *,
    run_id: str | None = None,
    retries: int | None = None,
    **options: Unpack[ResumeOptions],
) -> pd.DataFrame:
    """Finish the runs of a study that have died or were stopped.

    Only planned psets without a record are run, under the ids and numbers that they would have
    had. To call it twice is harmless.

    Parameters
    ----------
    func : callable, optional
        Replaces the func that was kept with the plan.
    run_id : str, optional
        Finish only this run: its ``_run_seq``, or the first characters of its ``_run_id``. By
        default all runs are finished.
    calc_dir, retries, **options
        As `psweep_dask.options.Options` describes them; ``help(ps.resume)`` shows them here.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    NoStudyError
        If there is no study.
    RunNotFoundError
        If no run, or more than one, has the id `run_id`.
    RevisitError
        If the driver of that run lives, or func cannot be loaded any more: then pass it.
    OptionError, FuncError, ClusterError, PsetFailedError, TypeError
        As in `run`.

    See Also
    --------
    retry : Run the psets again that have failed.
    load : All rows, also those of dead runs; nothing is run.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> _ = ps.run(lambda pset: {"b": 1}, ps.plist("a", [1, 2]), cluster="sync")
    >>> len(ps.resume("calc"))  # there is nothing left to run
    2
    """
    check_names(resume, options)
    checked = Options(calc_dir=calc_dir, retries=0 if retries is None else retries, **options)
    show_log_lines()
    values = {} if func is None else own_modules.reachable_values(func)
    new = {
        "func": None if func is None else pack_func(func, own_modules.references(values)),
        "module_values": None if func is None else own_modules.packed(values),
        "retries": None if retries is None else checked.retries,
        "timeout": checked.timeout,
        "resources": checked.resources and dict(checked.resources),
    }
    changes = {name: value for name, value in new.items() if value is not None}
    layout = open_study(calc_dir, checked.database_dir, checked.database_basename)
    layout.make_writable()
    collected = collect.collect_from(layout)
    runs = choose_runs(layout, run_id)
    if func is not None and len(runs) > 1:
        ids = ", ".join(run.run_id for run in runs)
        raise RevisitError(
            f"func is for one run, and there are several: choose by run_id= of {ids}"
        )
    for run in runs:
        busy = len(collected.busy_seqs(run.run_id))
        if busy:
            text = (
                f"run {run.run_id} is left to its batch jobs, of which {busy} wait, run, or may do "
                "so: ps.collect brings their results, and says which are lost; or cancel them "
                "before"
            )
            if run_id is not None:
                raise RevisitError(text)
            log.warning("%s", text)
        elif _resume_run(run, changes, checked, func) > Stop.NO:
            break
    if not runs:
        log.info("nothing to resume in %r", layout.calc_dir)
    return load_from(layout)


def _resume_run(
    stored: StoredRun, changes: Mapping[str, Any], options: Options, func: Func | None
) -> Stop:
    """Run the psets that a run has left; return whether the user has stopped it again."""
    from psweep_dask.clusters import resolve

    where = resolve.resolve(options.cluster)
    with stored.try_lock() as lock:
        if lock is None:
            log.info("run %s is left alone: its driver lives", stored.run_id)
            return Stop.NO
        recovered = recover_run(stored)
        if recovered is None:
            return Stop.NO
        planned, left, work = recovered
        work = _work_here(work, changes, resolve.shares_files(where))
        work = dataclasses.replace(work, stop_after=options.failure_limit)
        source = sources_of(stored.info)[-1]
        if "func" in changes:
            source = func_source(func)
            planned = dataclasses.replace(planned, psets=as_in_this_script(planned.psets))
            left = dataclasses.replace(left, psets=as_in_this_script(left.psets))
            data = work.pack()  # written with the plan again: a later call finds the new func
            replace_file(stored.folder.plan_path, lambda stream: plan.dump(planned, data, stream))
        elif len(left):
            # an error now, instead of one for each pset
            source = current_source(load_func(work, stored.run_id)) or source
        counts = len(planned) - len(left), len(planned), len(left)
        which = "the func that was passed" if "func" in changes else "the func of its plan"
        text = "run %s: %d of %d psets are done, %d to run, with %s"
        log.info(text, stored.run_id, *counts, which)
        if counts[0] and differ(stored.info, digest(source)):
            rows = Counter({int(stored.info["run_seq"]): counts[0]})
            log.warning("%s", resumed_message(str(stored.info.get("func", "func")), rows))
        if len(left):
            stored = dataclasses.replace(stored, info=with_source(stored.info, source))
        run = reopen_run(stored, left, lock)
        if not len(left):
            run.finish("done", {"left": 0})
            return Stop.NO
        execution = Execution(run, work, where, options, func)
        execution.go()
        return execution.stopper.level


def _work_here(work: Work, changes: Mapping[str, Any], shared_files: bool) -> Work:
    """Return the work with changes, and with the folders of this process."""
    if "func" in changes:
        work = work.with_func(changes["func"])
    work = dataclasses.replace(work, log_settings=log_settings(), start_method=start_method())
    work = dataclasses.replace(work, **changes)
    if not shared_files:
        return dataclasses.replace(work, cwd=None)
    paths = dict.fromkeys((*work.import_paths, *import_paths(shared_files)))
    cwd = work.cwd if work.cwd and Path(work.cwd).is_dir() else str(Path.cwd())
    return dataclasses.replace(work, cwd=cwd, import_paths=tuple(paths))
