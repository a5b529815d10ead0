"""`prep_rest`: write batch jobs for the psets of earlier runs that have no result."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import pandas as pd
from filelock import BaseFileLock

from psweep_dask._format import format_count
from psweep_dask._logging import show_log_lines
from psweep_dask.hpc.machine import MACHINES_DIR
from psweep_dask.offline import collect
from psweep_dask.offline.collect import CollectResult
from psweep_dask.offline.job_files import JobTemplates, TemplateOptions
from psweep_dask.offline.submissions import clear_submissions
from psweep_dask.offline.writer import JobWriter
from psweep_dask.options import Options, takes_options
from psweep_dask.storage.plan import Plan
from psweep_dask.study import revisit
from psweep_dask.study.load import load_from
from psweep_dask.study.run import reopen_run
from psweep_dask.study.runs import StoredRun, open_study, with_info
from psweep_dask.worker.func import own_modules_by_value, pack_func
from psweep_dask.worker.work import Work

log = logging.getLogger("psweep_dask")


@takes_options()
def prep_rest(
    calc_dir: str | os.PathLike[str] = "calc",
    *,
    run_id: str | None = None,
    calc_templ_dir: str | os.PathLike[str] | None = None,
    machine_templ_dir: str | os.PathLike[str] = MACHINES_DIR,
    template_mode: str | None = None,
    array: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
    verbose: bool | Sequence[str] = False,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Write batch jobs for psets without a result: of lost jobs, and of live runs that ended early.

    The psets keep their ids and folders. First, what jobs have left is collected, as by `collect`.
    Psets whose job may still run are left out.

    Parameters
    ----------
    run_id : str, optional
        Only this run, named by its ``_run_seq``, its ``_run_id`` or the first characters of that;
        by default all runs that are not done.
    calc_templ_dir : str or PathLike, optional
        As in `prep_batch`. Templates are read again, so you may correct them before.
    machine_templ_dir : str or PathLike, optional
        Folder with a subfolder for each machine.
    template_mode : {'dollar', 'jinja'}, optional
        The language of the templates; by default that of the run.
    array : bool, optional
        Submit one job array instead of many jobs, where ``subcmd`` is sbatch.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    NoStudyError
        If there is no study.
    RunNotFoundError
        If no run is named so, or more than one.
    RevisitError
        If the plan or the func of a run cannot be read.
    TemplateError, MachineError, JobscriptError, JobWriteError
        As in `prep_batch`.

    See Also
    --------
    collect : Put the results of the jobs into the database.
    resume : Run these psets now instead.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> from pathlib import Path
    >>> info = Path("templates/machines/local/info.yaml")
    >>> info.parent.mkdir(parents=True)
    >>> size = info.write_text("subcmd: sh")
    >>> df = ps.prep_batch(ps.plist("a", [1, 2]), func=lambda pset: {"b": 2 * pset["a"]})
    >>> df = ps.prep_rest("calc")  # nothing was submitted yet: all is written again
    >>> df[["a", "_status"]].to_dict("list")
    {'a': [1, 2], '_status': ['prepared', 'prepared']}
    """
    options = Options.of(locals())
    show_log_lines()
    layout = open_study(calc_dir, database_dir, database_basename)
    layout.make_writable()
    template_options = TemplateOptions(calc_templ_dir, machine_templ_dir, template_mode, array)
    collected = collect.collect_from(layout)
    runs = revisit.choose_runs(layout, run_id)
    with ExitStack() as stack:
        candidates = [_remaining_jobs(run, collected, template_options, stack) for run in runs]
        remaining = [jobs for jobs in candidates if jobs is not None]
        if not remaining:
            busy = sum(len(collected.busy_seqs(run.run_id)) for run in runs)
            remark = f": {format_count(busy, 'pset')} left to jobs under way" if busy else ""
            log.info("nothing to prepare in %r%s", layout.calc_dir, remark)
            return load_from(layout)
        run_scripts = remaining[0].templates.run_scripts()
        for jobs in remaining:  # nothing is written before the jobs of all runs are checked
            with own_modules_by_value():
                run = reopen_run(jobs.run, jobs.plan, jobs.lock)
                clear_submissions(layout, jobs.plan, bool(jobs.work.func))
                JobWriter(run, jobs.work, jobs.templates, options).write(run_scripts)
    return load_from(layout)


class _RemainingJobs(NamedTuple):
    """The psets of a run without a result, and all that their jobs need."""

    run: StoredRun
    lock: BaseFileLock
    plan: Plan
    work: Work
    templates: JobTemplates


def _remaining_jobs(
    run: StoredRun, collected: CollectResult, options: TemplateOptions, stack: ExitStack
) -> _RemainingJobs | None:
    lock = stack.enter_context(run.try_lock())
    if lock is None:
        log.info("run %s is left alone: its driver lives", run.run_id)
        return None
    recovered = revisit.recover_run(run)
    if recovered is None:
        return None
    _, left, work = recovered
    left = left.without(collected.busy_seqs(run.run_id))
    if not len(left):
        return None
    options = options.for_run(run)
    templates = options.read(with_func=bool(work.func))
    templates.check(work, left.psets)
    if work.func:  # a live run may have packed it for workers that see the files of the driver
        func = revisit.load_func(work, run.run_id)
        with own_modules_by_value():
            work = work.with_func(pack_func(func))
    offline = {"func": bool(work.func), "template_mode": options.template_mode}
    return _RemainingJobs(with_info(run, {"offline": offline}), lock, left, work, templates)
