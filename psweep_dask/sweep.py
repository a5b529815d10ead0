"""``run`` and ``run_local``: the one place where the parts are put together."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import pickle
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from psweep_dask import git, record, study
from psweep_dask.errors import PsweepError
from psweep_dask.layout import Layout
from psweep_dask.options import OptionError, Options
from psweep_dask.progress import Progress, show_log_lines
from psweep_dask.pset import Pset, check_params
from psweep_dask.study import Request, Run
from psweep_dask.task import Failure, Func, Work

if TYPE_CHECKING:  # distributed takes half a second to import
    from distributed import Client
    from distributed.deploy import Cluster

    from psweep_dask.clusters import Where
    from psweep_dask.engine import Engine

log = logging.getLogger("psweep_dask")


class FuncError(PsweepError):
    """A func that cannot be called or cannot travel to a worker."""


class PsetFailedError(PsweepError):
    """So many psets failed that the run gave up, as `on_error` asked.

    The message has the traceback of func; ``__cause__`` is the exception itself where it could
    travel.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> def func(pset):
    ...     return {"y": 1 / pset["a"]}
    >>> try:
    ...     ps.run(func, [{"a": 0}], cluster="sync", save=False, on_error="raise")
    ... except ps.PsetFailedError as err:
    ...     print(repr(err.__cause__))
    ZeroDivisionError('division by zero')
    """


def run(
    func: Func,
    params: Iterable[Mapping[str, Any]],
    *,
    cluster: str | Client | Cluster | None = None,
    df: pd.DataFrame | None = None,
    save: bool = True,
    tmpsave: bool = False,
    verbose: bool | Sequence[str] = False,
    calc_dir: str | os.PathLike[str] = "calc",
    simulate: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
    backup: bool = False,
    git: bool = False,
    skip_dups: bool = False,
    capture_logs: str | None = None,
    on_error: str | int = "record",
    progress: bool | None = None,
) -> pd.DataFrame:
    """Call `func` for each pset, in parallel, and append the results to the database.

    Every finished pset is on disk as it finishes; a pset that fails is a row that says why.

    Parameters
    ----------
    func : callable
        Takes one pset, a dict with the book-keeping fields added, and returns a dict, which is
        merged over the pset.
    params : iterable of dict
        The psets.
    cluster : None, str, Client or Cluster, optional
        Where to run: "local" (a LocalCluster with one single-threaded worker a core, kept for
        the next call), "sync" (in this process, for the debugger), or a dask Client or Cluster.
        None means the default dask Client if the script made one, else "local".
    df : DataFrame, optional
        Append to this instead of the database on disk. When saved, it replaces that.
    save : bool, optional
        False leaves nothing on disk. A database that is there is read all the same: the rows
        are appended to it in what is returned.
    tmpsave : bool, optional
        Also write each row to ``<calc_dir>/tmpsave/<run_id>/<pset_id>.pk`` at once.
    verbose : bool or sequence of str, optional
        Print finished rows, or these columns of them.
    calc_dir : str or PathLike, optional
        Folder of the study, relative to the working directory.
    simulate : bool, optional
        Do all but call `func`, in ``<calc_dir>.simulate`` with a copy of the database.
    database_dir : str or PathLike, optional
        Folder of the database, `calc_dir` by default.
    database_basename : str, optional
        Name of the database.
    backup : bool, optional
        First copy the study to ``<calc_dir>.bak_<timestamp>_run_id_<run_id>``.
    git : bool, optional
        Commit everything in the working directory before and after the run.
    skip_dups : bool, optional
        Leave out psets that the database has a row for with the same ``_pset_sha1``, unless
        that one failed.
    capture_logs : {None, 'db', 'file', 'db+file'}, optional
        Redirect what each pset prints, subprocesses included, to the column ``_logs``, to
        ``<calc_dir>/<pset_id>/logs.txt``, or to both.
    on_error : {'record', 'raise'} or int, optional
        What a failing pset does: "record" makes it a row and goes on, "raise" ends the run at
        the first, a number ends it after so many. What has finished is saved in any case.
    progress : bool, optional
        Show a bar on stderr. None means: if that is a terminal or a notebook.

    Returns
    -------
    DataFrame
        The whole database, in the order of ``_pset_seq``; the index holds ``_time_utc``.

    Raises
    ------
    PsweepError
        If the input is bad: before anything runs, naming the value, the reason and the remedy.
    PsetFailedError
        If `on_error` says so.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> def func(pset):
    ...     return {"result": pset["a"] ** 2}
    >>> df = ps.run(func, ps.plist("a", [1, 2, 3]), cluster="sync", save=False)
    >>> ps.df_print(df[["a", "result", "_status"]])
     a  result _status
     1       1      ok
     2       4      ok
     3       9      ok
    """
    options = Options.of(locals())
    return _sweep(func, params, cluster, None, options)


def run_local(
    func: Func,
    params: Iterable[Mapping[str, Any]],
    df: pd.DataFrame | None = None,
    poolsize: int | None = None,
    save: bool = True,
    tmpsave: bool = False,
    verbose: bool | Sequence[str] = False,
    calc_dir: str | os.PathLike[str] = "calc",
    simulate: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
    backup: bool = False,
    *,
    git: bool = False,
    skip_dups: bool = False,
    capture_logs: str | None = None,
    on_error: str | int = "record",
    progress: bool | None = None,
) -> pd.DataFrame:
    """Run on a LocalCluster, with the arguments in the order that psweep has them.

    Parameters
    ----------
    func, params
        As in `run`.
    df : DataFrame, optional
        As in `run`.
    poolsize : int, optional
        Number of worker processes; by default one for each core that this process may use.
    save, tmpsave, verbose, calc_dir, simulate, database_dir, database_basename, backup
        As in `run`.
    git, skip_dups, capture_logs, on_error, progress
        As in `run`.

    Returns
    -------
    DataFrame
        As from `run`.

    Raises
    ------
    PsweepError
        As in `run`; also if `poolsize` is no int from 1 on.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> df = ps.run_local(lambda pset: {"b": 2 * pset["a"]}, ps.plist("a", [1, 2]), save=False)
    >>> df.b.tolist()
    [2, 4]
    """
    options = Options.of(locals())
    if poolsize is not None and (type(poolsize) is not int or poolsize < 1):
        raise OptionError(f"poolsize={poolsize!r}; allowed are None, an int from 1")
    return _sweep(func, params, "local", poolsize, options)


@dataclass(frozen=True)
class _Job:
    """A run as it was asked for, with everything checked that can be checked beforehand."""

    func: bytes
    name: str
    psets: list[Pset]
    digests: bytes
    where: Where
    kind: str
    poolsize: int | None


def _sweep(
    func: Func,
    params: Iterable[Mapping[str, Any]],
    cluster: object,
    poolsize: int | None,
    options: Options,
) -> pd.DataFrame:
    show_log_lines()
    job = _check(func, params, cluster, poolsize, options)
    folder = Path.cwd()
    if options.git:
        git.commit_before(folder)
    run = _begin(job, options)
    if len(run.plan) < len(job.psets):
        known = len(job.psets) - len(run.plan)
        log.info("%d of %d psets left out: the database has them", known, len(job.psets))
    if not len(run.plan):
        log.info("nothing to run, the database stays as it is")
        return run.finish("done", {})
    try:
        return _execute(run, job, options)
    finally:
        if options.git:
            git.commit_after(folder, run.plan.run_id)


def _check(
    func: Func,
    params: Iterable[Mapping[str, Any]],
    cluster: object,
    poolsize: int | None,
    options: Options,
) -> _Job:
    # Imported here and below, since distributed takes half a second.
    from psweep_dask import clusters, local_cluster

    local_cluster.stop_if_imported_by_worker()
    packed_func = _pack_func(func)
    psets, digests = check_params(params)
    where = clusters.resolve("sync" if options.simulate else cluster)
    kind = clusters.describe(where)
    return _Job(packed_func, _name(func), psets, digests, where, kind, poolsize)


def _begin(job: _Job, options: Options) -> Run:
    layout = Layout(options.calc_dir, options.database_dir, options.database_basename)
    if options.simulate:
        layout = study.simulation(layout)
    elif options.needs_folder:
        layout.make_writable()
    request = Request(
        psets=job.psets,
        digests=job.digests,
        df=options.df,
        save=options.save,
        skip_dups=options.skip_dups,
        backup=options.backup,
        info={"func": job.name, "cluster": {"kind": job.kind}},
    )
    return study.begin(layout, request)


def _execute(run: Run, job: _Job, options: Options) -> pd.DataFrame:
    from psweep_dask import clusters
    from psweep_dask.engine import Engine

    work = _work(run, job, options, clusters.shares_this_machine(job.where))
    needs = clusters.Needs(job.name, job.poolsize, single_threaded=options.capture_logs is not None)
    with ExitStack() as stack:
        try:
            pset_bytes = run.write_plan(work)
            executor = stack.enter_context(clusters.executor(job.where, work, needs))
        except BaseException:
            run.discard()
            raise
        run.info["cluster"]["slots"] = executor.slots
        good = "simulated" if options.simulate else "ok"
        progress = Progress(len(run.plan), options.progress, options.verbose, good)
        engine = Engine(run.plan, executor, pset_bytes)
        ended = "broken off"
        try:
            _collect(engine, run, progress, options.failure_limit)
            ended = "given up" if progress.failed_often(options.failure_limit) else "done"
        finally:
            progress.close(with_example=ended == "done")
            df = run.finish(ended, progress.counts())
    if ended == "given up":
        raise _gave_up(progress)
    return df


def _collect(engine: Engine, run: Run, progress: Progress, failure_limit: int | None) -> None:
    for result in engine.results():
        run.journal.append(result.frame)
        progress.update(result)
        if progress.failed_often(failure_limit):
            engine.stop()


def _work(run: Run, job: _Job, options: Options, same_machine: bool) -> bytes:
    work = Work(
        run_id=run.plan.run_id,
        run_seq=run.plan.run_seq,
        calc_dir=run.layout.calc_dir,
        func=job.func,
        cwd=str(Path.cwd()) if same_machine else None,
        import_paths=_import_paths(same_machine),
        simulate=options.simulate,
        tmpsave=options.tmpsave,
        capture_logs=options.capture_logs,
        stop_after=options.failure_limit,
    )
    return record.dumps(work)


def _import_paths(same_machine: bool) -> tuple[str, ...]:
    """Tell workers where func's modules are: beside the script, and all we have on this machine."""
    paths = [str(Path(path).absolute()) for path in sys.path]
    return tuple(dict.fromkeys(paths if same_machine else paths[:1]))


def _pack_func(func: Func) -> bytes:
    if not callable(func):
        raise FuncError(f"func must be callable with one pset, not {func!r}")
    if inspect.iscoroutinefunction(func):
        raise FuncError(f"func {_name(func)!r} is async; call asyncio.run inside a plain func")
    try:
        inspect.signature(func).bind({})
    except ValueError:  # some functions written in C tell no signature
        pass
    except TypeError as err:
        raise FuncError(
            f"func {_name(func)!r} must be callable with one argument, the pset: {err}; "
            "bind the others with functools.partial"
        ) from err
    try:
        packed = record.dumps(func)
        pickle.loads(packed)
        return packed
    except Exception as err:  # __reduce__ of whatever func refers to may raise anything
        raise FuncError(
            f"func {_name(func)!r} cannot be pickled ({err}), so it cannot travel to a worker; "
            "open files, connections and locks inside func instead of outside"
        ) from err


def _name(func: Any) -> str:
    while isinstance(func, functools.partial):
        func = func.func
    return str(getattr(func, "__name__", type(func).__name__)).strip("<>")


def _gave_up(progress: Progress) -> PsetFailedError:
    failure = next(iter(progress.examples.values()))
    count = progress.failed.total()
    error = PsetFailedError(
        f"stopped, as on_error asks, with {count} failed pset{'s' * (count > 1)}; "
        f"pset {failure.pset_seq}, {failure.pset}:\n{failure.exc_txt.rstrip()}\n"
        f"{progress.done} of {progress.total} psets have finished; save=True keeps their rows"
    )
    error.__cause__ = _original(failure)
    return error


def _original(failure: Failure) -> BaseException | None:
    if not failure.exception:
        return None
    try:
        exception: BaseException = pickle.loads(failure.exception)
    except Exception:  # its class is known on the worker only: the message tells it all
        return None
    return exception
