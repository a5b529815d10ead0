"""A run is executed: its plan goes to disk, its psets to workers, their rows to the database."""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from psweep_dask._format import format_count
from psweep_dask.clusters.executor import ExecutorRequest
from psweep_dask.errors import PsweepError
from psweep_dask.monitoring import dashboard_runs
from psweep_dask.monitoring.dashboard_runs import DashboardRun
from psweep_dask.monitoring.progress import Progress
from psweep_dask.monitoring.stats import RunStats
from psweep_dask.options import Options
from psweep_dask.params.pset import pset_id
from psweep_dask.storage import pickling
from psweep_dask.storage.journal import JournalError
from psweep_dask.storage.record import seqs_in
from psweep_dask.study.provenance import now
from psweep_dask.study.run import Run, StudyError
from psweep_dask.study.runs import resume_call
from psweep_dask.study.stop import Stopper
from psweep_dask.worker import own_modules
from psweep_dask.worker.func import FuncError
from psweep_dask.worker.work import Func, Work

if TYPE_CHECKING:  # distributed takes half a second to import
    from psweep_dask.clusters.resolve import Where
    from psweep_dask.driver.engine import Engine

log = logging.getLogger("psweep_dask")


class PsetFailedError(PsweepError):
    """So many psets failed that the run gave up, as `on_error` asked.

    The message has the traceback of func; ``__cause__`` is the exception, if it could be pickled.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> try:
    ...     ps.run(lambda pset: 1 / 0, [{"a": 0}], cluster="sync", save=False, on_error="raise")
    ... except ps.PsetFailedError as err:
    ...     print(repr(err.__cause__))
    ZeroDivisionError('division by zero')
    """


class Execution:
    """Runs the psets of one run.

    `where` is what `psweep_dask.clusters.resolve.resolve` returns. `func` is the script's own
    function, or None if it comes from an earlier run.
    """

    def __init__(
        self, run: Run, work: Work, where: Where, options: Options, func: Func | None = None
    ) -> None:
        self.run = run
        self.stopper = Stopper(run.folder.stop_path if run.saved else None)
        good = "simulated" if work.simulate else "ok"
        self.progress = Progress(len(run.plan), options.progress, options.verbose, good)
        self.dashboard_link: str | None = None  # before there is a cluster
        self._work = work
        self._where = where
        self._options = options
        self._func = func
        self._file_times = own_modules.file_times()

    def go(self) -> pd.DataFrame:
        """Run the psets of the plan, merge their rows, and return the whole database."""
        from psweep_dask.clusters import resolve
        from psweep_dask.driver.engine import Engine

        packed = self._work.pack()
        with self.stopper.catch_signals(), ExitStack() as stack:
            try:
                pset_bytes = self.run.write_plan(packed)
                self._remove_earlier_rows()
                opened = resolve.open_executor(self._where, self._request())
                executor = stack.enter_context(opened)
            except BaseException:
                self.run.discard()
                raise
            self.dashboard_link = executor.dashboard_link
            stack.enter_context(dashboard_runs.show_run(executor.client, self._dashboard_run()))
            self.run.info.setdefault("cluster", {})["slots"] = executor.expected_slots
            engine = Engine(self.run.plan, self._work, executor, self.stopper, pset_bytes)
            return self._run_psets(engine)

    def _remove_earlier_rows(self) -> None:
        """Remove the files by tmpsave=True of psets that run again: the user has deleted the rows.

        From now on such a file is a row of this run, which stays if its worker is lost.
        """
        run_id, layout = self.run.plan.run_id, self.run.layout
        if self._work.tmpsave and layout.tmpsave_path(run_id, "").parent.exists():
            for seq in self.run.plan.seqs:
                layout.tmpsave_path(run_id, pset_id(run_id, seq)).unlink(missing_ok=True)

    def _dashboard_run(self) -> DashboardRun:
        run, info = self.run, self.run.info
        func, start = info.get("func", "func"), info.get("start", now())
        return DashboardRun(run.plan.run_id, run.layout.calc_dir, func, start, self.progress.stats)

    def _request(self) -> ExecutorRequest:
        folder = self.run.folder if self.run.saved else None
        return ExecutorRequest(
            work=self._work,
            func_name=self.run.info.get("func", "func"),
            run_id=self.run.plan.run_id,
            stopper=self.stopper,
            show_wait=self.progress.wait_for,
            shared_dir=Path.cwd() if folder is None else folder.path,
            jobs_path=None if folder is None else folder.jobs_path,
            log_dir=None if folder is None else folder.job_logs_dir,
            poolsize=self._options.poolsize,
            single_threaded=self._work.capture_logs is not None,
            timeout=self._work.timeout,
            resources=self._work.resources,
            func=self._func,
        )

    def _run_psets(self, engine: Engine) -> pd.DataFrame:
        limit = self._options.failure_limit
        self.progress.begin()
        try:
            for result in engine.results():
                if result.frame:
                    self.run.append(result.frame, result.rows)
                self.progress.update(result)
                if self.progress.too_many_failed(limit):
                    engine.give_up()
        except (KeyboardInterrupt, SystemExit):  # the third Ctrl-C: no time to merge
            self.progress.close(with_example=False, remarks=["left at once, without a merge"])
            self.run.release()
            raise
        except FuncError:  # a worker cannot load it
            self._discard(engine)
            raise
        except JournalError:
            try:
                self._finish("broken off", engine)
            except StudyError as err:  # the error of the journal is the one to raise
                log.warning("%s", err)
            raise
        except BaseException:
            self._finish("broken off", engine)
            raise
        if self.progress.too_many_failed(limit):
            self._finish("given up", engine)
            raise _failed_error(self.progress.stats)
        return self._finish("stopped" if self.progress.stats.left else "done", engine)

    def _discard(self, engine: Engine) -> None:
        """Leave nothing of the run on disk, unless some psets have finished."""
        if self.progress.stats.done:
            self._finish("broken off", engine)
        else:
            self.progress.clear()
            self.run.discard()

    def _finish(self, ended: str, engine: Engine) -> pd.DataFrame:
        if ended in ("stopped", "given up"):
            self._save_early_rows(engine)
        self.progress.close(with_example=ended == "done", remarks=self._remarks(ended, engine))
        self.run.info["psets_per_second"] = self.progress.stats.rate()
        return self.run.finish(ended, self.progress.stats.counts())

    def _save_early_rows(self, engine: Engine) -> None:
        """Add rows to journal and summary that workers have kept of slices that were dropped."""
        for result in engine.early_rows():
            known = seqs_in(self.run.journal.replay())
            if known.isdisjoint(result.seqs()):  # else that slice was run again since
                self.run.append(result.frame, result.rows)
                self.progress.update(result)

    def _remarks(self, ended: str, engine: Engine) -> list[str]:
        remarks = []
        if engine.attempts_repeated:
            remarks.append(f"{format_count(engine.attempts_repeated, 'failed attempt')} repeated")
        if engine.workers_lost:
            were = "was" if engine.workers_lost == 1 else "were"
            remarks.append(f"{format_count(engine.workers_lost, 'worker')} {were} lost")
        now = own_modules.file_times()
        edited = [name for name, time in self._file_times.items() if now.get(name, time) != time]
        if edited and self._where != "sync":
            which = ", ".join(edited)
            remarks.append(
                f"{which} was edited meanwhile: workers that came later have the new code"
            )
        left = self.progress.stats.left
        if left and self.run.saved:
            how = "stopped" if ended == "stopped" else "broken off"
            call = resume_call(self.run.layout, self.run.info)
            remarks.append(f"{how}, {call} runs the {left} left")
        return remarks


def _failed_error(stats: RunStats) -> PsetFailedError:
    failure = stats.failures()[0]
    count = stats.failed.total()
    error = PsetFailedError(
        f"stopped, as on_error asks, with {count} failed pset{'s' * (count > 1)}; "
        f"pset {failure.pset_seq}, {failure.pset}:\n{failure.exc_txt.rstrip()}\n"
        f"{stats.done} of {stats.total} psets have finished; save=True keeps their rows"
    )
    if failure.exception:
        with suppress(Exception):  # only the worker has its class; the message has the traceback
            error.__cause__ = pickling.loads(failure.exception)
    return error
