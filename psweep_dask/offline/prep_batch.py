"""`prep_batch`: write batch jobs, to be submitted by hand."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask._format import format_count
from psweep_dask._logging import show_log_lines
from psweep_dask.hpc.machine import MACHINES_DIR
from psweep_dask.offline import collect
from psweep_dask.offline.job_files import TemplateOptions
from psweep_dask.offline.writer import JobWriter
from psweep_dask.options import OptionError, Options, takes_old_names, takes_options
from psweep_dask.params.pset import check_run_params
from psweep_dask.storage.layout import Layout
from psweep_dask.study import provenance
from psweep_dask.study.run import begin_run
from psweep_dask.worker.func import (
    func_name,
    func_source,
    import_paths,
    own_modules_by_value,
    pack_func,
)
from psweep_dask.worker.process_settings import log_settings, start_method
from psweep_dask.worker.work import Func, Work

log = logging.getLogger("psweep_dask")


@takes_old_names()
@takes_options()
def prep_batch(
    params: Iterable[Mapping[str, Any]],
    calc_dir: str | os.PathLike[str] = "calc",
    calc_templ_dir: str | os.PathLike[str] | None = None,
    machine_templ_dir: str | os.PathLike[str] = MACHINES_DIR,
    git: bool = False,
    backup: bool = False,
    *,
    func: Func | None = None,
    template_mode: str = "dollar",
    array: bool = False,
    simulate: bool = False,
    skip_dups: bool = False,
    capture_logs: str | None = None,
    retries: int = 0,
    timeout: float | None = None,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
    verbose: bool | Sequence[str] = False,
    progress: bool | None = None,
) -> pd.DataFrame:
    r"""Write a folder with a batch job for each pset, to be submitted by hand, here or elsewhere.

    Nothing runs. Each pset gets a row with ``_status="prepared"``, and a folder
    ``<calc_dir>/<_pset_id>`` with a copy of each template, in which ``$name`` is replaced by the
    value of that parameter. The script ``<calc_dir>/run_<machine>.sh`` submits the jobs. When they
    have ended, `collect` puts their results into the database.

    Parameters
    ----------
    params : iterable of dict
        The psets.
    calc_templ_dir : str or PathLike, optional
        Folder with the templates of the files that each job finds in its folder; by default
        ``templates/calc``. With `func` it may be missing. It may be empty if job scripts are all
        that is needed. Files that are not text are copied as they are.
    machine_templ_dir : str or PathLike, optional
        Folder with a subfolder for each machine. Its ``info.yaml`` says how jobs are submitted
        (``subcmd:``), and its ``jobscript`` is the template of the job script. Without `func`, it
        may be empty: then files are written, and no script submits them.
    git : bool, optional
        Commit everything in the working directory before and after, in a new repository if there
        is none. Write a ``.gitignore`` first, or all of `calc_dir` is committed.
    func : callable, optional
        What the jobs run: it takes a pset and returns a dict, as in `run`. The job script calls it
        by ``python -m psweep_dask.offline.job``. A machine without a job script gets one that is
        made of its settings for live runs. Only with `func` may there be `capture_logs`,
        `retries` and `timeout`.
    template_mode : {'dollar', 'jinja'}, optional
        The language of the templates: ``$name`` and ``${name}``, where ``$$`` is a dollar; or that
        of jinja2, with the additional filters ``quote`` (for shells) and ``repr`` (for Python).
    array : bool, optional
        Submit one job array instead of many jobs, where ``subcmd`` is sbatch.
    simulate : bool, optional
        Write everything to ``<calc_dir>.simulate``, with a copy of the database.
    skip_dups : bool, optional
        Leave out psets for which the database has a row with the same ``_pset_sha1``, unless
        that row is a failure, or its job was lost.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    OptionError
        If an option has a value that is not allowed.
    PsetError
        If a pset has a reserved field, or a value that cannot be hashed.
    FuncError
        If `func` cannot be packed.
    TemplateError
        If a template is missing or has a mistake, or a placeholder has no value.
    MachineError
        If a machine is missing or has a mistake.
    JobscriptError
        If `array`, and a job script cannot be an element of a job array.
    JobWriteError
        If a file cannot be written. All other errors come before anything is written.

    See Also
    --------
    collect : Put the results of the jobs into the database.
    prep_rest : Prepare lost jobs again.
    push : Copy the study to another machine, and submit the jobs there.
    run : Run the psets now.

    Examples
    --------
    >>> import subprocess
    >>> import psweep_dask as ps
    >>> for path, text in {
    ...     "templates/calc/run.sh": "echo $$((2 * $a)) >output.txt",
    ...     "templates/machines/local/info.yaml": "subcmd: sh",
    ...     "templates/machines/local/jobscript": "#!/bin/sh\nsh run.sh\n",
    ... }.items():
    ...     Path(path).parent.mkdir(parents=True, exist_ok=True)
    ...     size = Path(path).write_text(text)
    >>> df = ps.prep_batch(ps.plist("a", [1, 2]))
    >>> df._status.tolist()
    ['prepared', 'prepared']
    >>> done = subprocess.run(["sh", "calc/run_local.sh"])
    >>> ps.collect("calc")._status.tolist()
    ['ok', 'ok']
    >>> [Path("calc", pset_id, "output.txt").read_text() for pset_id in df._pset_id]
    ['2\n', '4\n']
    """
    options = Options.of(locals())
    for name in ("capture_logs", "retries", "timeout"):
        if func is None and getattr(options, name):
            raise OptionError(
                f"{name}={getattr(options, name)!r} is for func=; without a func, the job script "
                "does that"
            )
    show_log_lines()
    template_options = TemplateOptions(calc_templ_dir, machine_templ_dir, template_mode, array)
    templates = template_options.read(with_func=func is not None)
    with own_modules_by_value():
        packed_func = b"" if func is None else pack_func(func)
        psets, digests = check_run_params(params)
        work = Work(
            run_id="0",
            run_seq=0,
            calc_dir=os.fspath(options.calc_dir),
            func=packed_func,
            cwd=str(Path.cwd()),
            import_paths=import_paths(shared_files=False),
            log_settings=log_settings(),
            start_method=start_method(),
            capture_logs=options.capture_logs,
            retries=options.retries,
            timeout=options.timeout,
        )
        templates.check(work, psets)
        folder = Path.cwd()
        if options.git:
            provenance.commit_local_changes(folder, init=True)
        info = {
            "func": "templates" if func is None else func_name(func),
            "source": None if func is None else func_source(func),
            "cluster": {"kind": "offline"},
            "offline": {"func": func is not None, "template_mode": template_mode},
        }
        run = begin_run(options, psets, digests, info)
        plan, calc_dir = run.plan, run.layout.calc_dir
        if duplicates := len(psets) - len(plan):
            log.info("%d of %d psets left out: the database has them", duplicates, len(psets))
        if not len(plan):
            log.info("nothing to prepare, the database stays as it is")
            return run.finish("done", {})
        _warn_of_unsubmitted_jobs(run.layout)
        try:
            work = replace(work, run_id=plan.run_id, run_seq=plan.run_seq, calc_dir=calc_dir)
            return JobWriter(run, work, templates, options).write(templates.run_scripts())
        finally:
            if options.git:
                provenance.commit_results(folder, plan.run_id)


def _warn_of_unsubmitted_jobs(layout: Layout) -> None:
    """Warn of jobs of earlier calls whose lines in the run scripts become comments."""
    if number := collect.count_unsubmitted(layout):
        log.warning(
            "%s of earlier calls %s not known to be submitted, and the new run scripts leave "
            "them out: ps.prep_rest(%r) puts all that is left into them",
            format_count(number, "job"),
            "is" if number == 1 else "are",
            layout.calc_dir,
        )
