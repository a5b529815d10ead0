"""``prep_rest``: batch jobs are written for what runs have left."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import pandas as pd
from filelock import BaseFileLock

from psweep_dask._format import counted
from psweep_dask._logging import show_log_lines
from psweep_dask.hpc.machine import MACHINES_DIR
from psweep_dask.offline import collect
from psweep_dask.offline.collect import CollectResult
from psweep_dask.offline.job_files import JobTemplates
from psweep_dask.offline.submissions import clear_submissions
from psweep_dask.offline.template_options import TemplateOptions
from psweep_dask.offline.writer import JobWriter
from psweep_dask.options import Options
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.plan import Plan
from psweep_dask.study import revisit
from psweep_dask.study.load import load_from
from psweep_dask.study.revisit import load_func
from psweep_dask.study.run import reopen_run
from psweep_dask.study.runs import StoredRun, check_study, with_info
from psweep_dask.worker.func import own_modules_by_value, pack_func
from psweep_dask.worker.work import Work

log = logging.getLogger("psweep_dask")


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
    """Write batch jobs for what runs have left: jobs that were lost, and what a live run missed.

    The psets keep their ids and folders. What `collect` would find is collected before; psets
    whose job waits or runs are left to it.

    Parameters
    ----------
    calc_dir : str or PathLike, optional
        Folder of the study.
    run_id : str, optional
        Only this run, named by its UUID or the beginning of it; by default all that are not done.
    calc_templ_dir, machine_templ_dir, array
        As in `prep_batch`: the templates are read again, and may have been mended.
    template_mode : {'dollar', 'jinja'}, optional
        By default that of the run.
    database_dir, database_basename, verbose, progress
        As in `run`.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    PsweepError
        If there is no study or no such run, or as in `prep_batch`.

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
    layout = Layout(calc_dir, database_dir, database_basename)
    check_study(layout)
    layout.make_writable()
    templates = TemplateOptions(calc_templ_dir, machine_templ_dir, template_mode, array)
    collected = collect.collect_from(layout)
    with ExitStack() as stack:
        runs = revisit.choose_runs(layout, run_id)
        found = [_left_of(before, collected, templates, stack) for before in runs]
        left = [one for one in found if one is not None]
        if not left:
            _log_nothing_left(layout, sum(len(collected.busy_seqs(one.run_id)) for one in runs))
        submissions = templates.submissions(left[0].files) if left else {}
        for one in left:  # of which nothing was written before all were checked
            with own_modules_by_value():
                run = reopen_run(with_info(one.before, one.info), one.plan, one.lock)
                clear_submissions(layout, one.plan, bool(one.work.func))
                JobWriter(run, one.work, one.files, options).go(submissions)
    return load_from(layout)


class _RemainingJobs(NamedTuple):
    """What a run has left, ready to be written."""

    before: StoredRun
    lock: BaseFileLock
    plan: Plan
    work: Work
    files: JobTemplates
    templates: TemplateOptions

    @property
    def info(self) -> dict[str, Any]:
        mode = self.templates.template_mode
        return {"offline": {"func": bool(self.work.func), "template_mode": mode}}


def _left_of(
    before: StoredRun, collected: CollectResult, templates: TemplateOptions, stack: ExitStack
) -> _RemainingJobs | None:
    lock = stack.enter_context(before.try_lock())
    if lock is None:
        log.info("run %s is left alone: its driver lives", before.run_id)
        return None
    taken_up = revisit.recover_run(before)
    if taken_up is None:
        return None
    _, left, work = taken_up
    left = left.without(collected.busy_seqs(before.run_id))
    if not len(left):
        return None
    templates = templates.as_in(before)
    files = templates.read(with_func=bool(work.func))
    files.check(work, left.psets, templates.array)
    if work.func:  # packed for workers that see the same files
        func = load_func(work, before.run_id)
        with own_modules_by_value():
            work = work.with_func(pack_func(func))
    return _RemainingJobs(before, lock, left, work, files, templates)


def _log_nothing_left(layout: Layout, busy: int) -> None:
    text = f"nothing to prepare in {layout.calc_dir!r}"
    log.info("%s", text + (f": {counted(busy, 'pset')} left to jobs under way" if busy else ""))
