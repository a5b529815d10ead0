"""``prep_batch``: batch jobs are written down, to be submitted by hand."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask._format import counted
from psweep_dask._logging import show_log_lines
from psweep_dask.hpc.machine import MACHINES_DIR
from psweep_dask.offline import collect
from psweep_dask.offline.template_options import TemplateOptions
from psweep_dask.offline.writer import JobWriter
from psweep_dask.options import OptionError, Options
from psweep_dask.params.pset import check_params
from psweep_dask.storage.layout import Layout
from psweep_dask.study import provenance
from psweep_dask.study.run import Request, Run, begin_run, layout_of
from psweep_dask.worker.func import (
    func_name,
    func_source,
    import_paths,
    own_modules_by_value,
    pack_func,
)
from psweep_dask.worker.work import Func, Work

log = logging.getLogger("psweep_dask")


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

    Nothing runs. Each pset gets a row with ``_status="prepared"`` and a folder
    ``<calc_dir>/<_pset_id>`` with a copy of each template, in which ``$name`` is replaced by the
    value of that parameter. ``<calc_dir>/run_<machine>.sh`` submits the jobs; `collect` brings
    what they leave into the database.

    Parameters
    ----------
    params : iterable of dict
        The psets.
    calc_dir : str or PathLike, optional
        Folder of the study, relative to the working directory.
    calc_templ_dir : str or PathLike, optional
        Folder with the files that each job finds in its folder, ``templates/calc`` by default;
        with `func` there need not be any. Files that are no text are copied as they are.
    machine_templ_dir : str or PathLike, optional
        Folder with the machines; each has a job script, ``<machine>/jobscript``, and says in
        ``<machine>/info.yaml`` how it is submitted (``subcmd:``).
    git : bool, optional
        Commit everything in the working directory before and after, in a new repository if there
        is none. Have a ``.gitignore`` first, or all of `calc_dir` is tracked.
    backup : bool, optional
        First copy the study to ``<calc_dir>.bak_<timestamp>_run_id_<run_id>``.
    func : callable, optional
        What the jobs run: takes a pset and returns a dict, as for `run`. It is packed once, and
        the job script calls it by ``python -m psweep_dask.offline.job``; a machine without a job
        script gets one that is made of what it says for live runs.
    template_mode : {'dollar', 'jinja'}, optional
        The language of the templates: ``$name`` and ``${name}``, where ``$$`` is a dollar, or
        that of jinja2, with the filters ``quote`` (for shells) and ``repr`` (for Python) added.
    array : bool, optional
        One job array instead of many jobs, where `subcmd` is sbatch.
    simulate : bool, optional
        Do all that in ``<calc_dir>.simulate``, with a copy of the database.
    skip_dups : bool, optional
        Leave out psets that the database has a row for with the same ``_pset_sha1``, unless
        that one failed, or its job was lost.
    capture_logs, retries, timeout : optional
        As in `run`, for `func`.
    database_dir, database_basename, verbose, progress : optional
        As in `run`.

    Returns
    -------
    DataFrame
        The whole database.

    Raises
    ------
    PsweepError
        If the input is bad, a template or a machine is missing or has a mistake, or a placeholder
        has no value: before anything is written.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> for path, text in {
    ...     "templates/calc/run.sh": "echo $((2 * $a)) >output.txt",
    ...     "templates/machines/local/info.yaml": "subcmd: sh",
    ...     "templates/machines/local/jobscript": "#!/bin/sh\nsh run.sh\n",
    ... }.items():
    ...     Path(path).parent.mkdir(parents=True, exist_ok=True)
    ...     size = Path(path).write_text(text.replace("$((", "$$(("))
    >>> df = ps.prep_batch(ps.plist("a", [1, 2]))
    >>> ps.df_print(df[["a", "_status"]])
     a   _status
     1  prepared
     2  prepared
    >>> import subprocess
    >>> done = subprocess.run(["sh", "calc/run_local.sh"])
    >>> df = ps.collect("calc")
    >>> df._status.tolist()
    ['ok', 'ok']
    >>> [Path("calc", pset_id, "output.txt").read_text() for pset_id in df._pset_id]
    ['2\n', '4\n']
    """
    options = Options.of(locals())
    _check_options(options, func)
    show_log_lines()
    templates = TemplateOptions(calc_templ_dir, machine_templ_dir, template_mode, array)
    files = templates.read(with_func=func is not None)
    with own_modules_by_value():
        packed_func = b"" if func is None else pack_func(func)
        psets, digests = check_params(params)
        files.check(_preview(options, packed_func), psets, array)
        folder = Path.cwd()
        if options.git:
            provenance.commit_local_changes(folder, init=True)
        request = Request(
            psets=psets,
            digests=digests,
            skip_dups=options.skip_dups,
            backup=options.backup,
            info={
                "func": "templates" if func is None else func_name(func),
                "source": None if func is None else func_source(func),
                "cluster": {"kind": "offline"},
                "offline": {"func": func is not None, "template_mode": template_mode},
            },
        )
        run = begin_run(layout_of(options), request)
        if len(run.plan) < len(psets):
            known = len(psets) - len(run.plan)
            log.info("%d of %d psets left out: the database has them", known, len(psets))
        if not len(run.plan):
            log.info("nothing to prepare, the database stays as it is")
            return run.finish("done", {})
        _warn_of_unsubmitted_jobs(run.layout)
        try:
            work = _work(run, options, packed_func)
            return JobWriter(run, work, files, options).go(templates.submissions(files))
        finally:
            if options.git:
                provenance.commit_results(folder, run.plan.run_id)


def _warn_of_unsubmitted_jobs(layout: Layout) -> None:
    """Say that jobs of earlier calls, whose lines become comments, were not submitted yet."""
    number = collect.count_unsubmitted(layout)
    if number:
        log.warning(
            "%s of earlier calls %s not known to be submitted, and the new run scripts leave "
            "them out: ps.prep_rest(%r) puts all that is left into them",
            counted(number, "job"),
            "is" if number == 1 else "are",
            layout.calc_dir,
        )


def _check_options(options: Options, func: Func | None) -> None:
    if func is None:
        for name, default in (("capture_logs", None), ("retries", 0), ("timeout", None)):
            if getattr(options, name) != default:
                raise OptionError(
                    f"{name}={getattr(options, name)!r} is for func=; what is made of templates "
                    "has its job script for that"
                )


def _work(run: Run, options: Options, func: bytes) -> Work:
    return Work(
        run_id=run.plan.run_id,
        run_seq=run.plan.run_seq,
        calc_dir=run.layout.calc_dir,
        func=func,
        cwd=str(Path.cwd()),
        import_paths=import_paths(shared_files=False),
        capture_logs=options.capture_logs,
        retries=options.retries,
        timeout=options.timeout,
    )


def _preview(options: Options, func: bytes) -> Work:
    return Work("0", 0, os.fspath(options.calc_dir), func)
