"""The conduct of one run: from a plan on disk, over the workers, to the rows in the database."""

from __future__ import annotations

import logging
import pickle
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from psweep_dask._format import counted
from psweep_dask.errors import PsweepError
from psweep_dask.monitoring import register
from psweep_dask.monitoring.progress import Progress
from psweep_dask.monitoring.registry import RegisteredRun
from psweep_dask.options import Options
from psweep_dask.storage import pickling
from psweep_dask.storage.journal import JournalError
from psweep_dask.study.provenance import now
from psweep_dask.study.run import Run, StudyError
from psweep_dask.study.runs import resume_call
from psweep_dask.study.stop import Stopper
from psweep_dask.worker.partial import seqs_in, seqs_of
from psweep_dask.worker.work import Failure, Work

if TYPE_CHECKING:  # distributed takes half a second to import
    from psweep_dask.clusters.remote import RunContext
    from psweep_dask.clusters.resolve import Where
    from psweep_dask.driver.engine import Engine

log = logging.getLogger("psweep_dask")


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


@dataclass(frozen=True)
class Destination:
    """Where a run goes, and what it is called there.

    Parameters
    ----------
    where : Where
        As `psweep_dask.clusters.resolve.resolve` gives it.
    name : str
        Name of func.
    poolsize : int, optional
        Number of workers of a LocalCluster.
    """

    where: Where
    name: str
    poolsize: int | None = None


class Execution:
    """Conducts one run.

    Parameters
    ----------
    run : Run
    work : Work
    destination : Destination
    options : Options
    """

    def __init__(self, run: Run, work: Work, destination: Destination, options: Options) -> None:
        self.run = run
        self.stopper = Stopper(run.layout.stop_path(run.plan.run_id) if run.saved else None)
        good = "simulated" if work.simulate else "ok"
        self.progress = Progress(len(run.plan), options.progress, options.verbose, good)
        self.dashboard_link: str | None = None
        self._work = work
        self._destination = destination
        self._options = options

    def go(self) -> pd.DataFrame:
        """Run the psets of the plan and merge what they gave.

        Returns
        -------
        DataFrame
            The whole database.

        Raises
        ------
        PsetFailedError
            If as many psets have failed as `on_error` allows.
        PsweepError
            If the cluster, the journal or the database fail; what has finished is on disk.
        """
        from psweep_dask.clusters import resolve
        from psweep_dask.driver.engine import Engine

        needs = resolve.Needs(
            self._destination.name,
            self._destination.poolsize,
            single_threaded=self._work.capture_logs is not None,
            timeout=self._work.timeout,
            resources=self._work.resources,
        )
        packed = pickling.dumps(self._work)
        with ExitStack() as stack:
            try:
                pset_bytes = self.run.write_plan(packed)
                executor = stack.enter_context(
                    resolve.executor(self._destination.where, packed, needs, self._context())
                )
            except BaseException:
                self.run.discard()
                raise
            self.dashboard_link = executor.dashboard_link
            stack.enter_context(register.telling(executor.client, self._watched()))
            self.run.info.setdefault("cluster", {})["slots"] = executor.slots_hoped
            engine = Engine(self.run.plan, self._work, executor, self.stopper, pset_bytes)
            return self._conduct(engine)

    def _watched(self) -> RegisteredRun:
        about = self.run.info.get("func", self._destination.name)
        begun = self.run.info.get("start", now())
        calc_dir = self.run.layout.calc_dir
        overview = self.progress.overview
        return RegisteredRun(self.run.plan.run_id, calc_dir, about, begun, overview)

    def _context(self) -> RunContext:
        from psweep_dask.clusters.remote import RunContext

        layout, run_id = self.run.layout, self.run.plan.run_id
        saved = self.run.saved
        return RunContext(
            run_id=run_id,
            folder=layout.run_dir(run_id) if saved else Path.cwd(),
            jobs_path=layout.jobs_path(run_id) if saved else None,
            log_dir=layout.job_logs_dir(run_id) if saved else None,
            stopper=self.stopper,
            tell=self.progress.wait_for,
        )

    def _conduct(self, engine: Engine) -> pd.DataFrame:
        self.progress.begin()
        try:
            self._collect(engine)
        except (KeyboardInterrupt, SystemExit):  # the third Ctrl-C: no time to merge
            self.progress.close(with_example=False, remarks=["left in a hurry"])
            self.run.release()
            raise
        except JournalError:
            self._finish_after_error(engine)
            raise
        except BaseException:
            self._finish("broken off", engine)
            raise
        ended = self._how_it_ended()
        df = self._finish(ended, engine)
        if ended == "given up":
            raise _gave_up(self.progress)
        return df

    def _collect(self, engine: Engine) -> None:
        limit = self._options.failure_limit
        for result in engine.results():
            if result.frame:
                self.run.journal.append(result.frame)
            self.progress.update(result)
            if self.progress.failed_often(limit):
                engine.give_up()

    def _how_it_ended(self) -> str:
        if self.progress.failed_often(self._options.failure_limit):
            return "given up"
        return "stopped" if self.progress.overview.left else "done"

    def _finish(self, ended: str, engine: Engine) -> pd.DataFrame:
        if ended in ("stopped", "given up"):
            self._take_what_was_kept(engine)
        self.progress.close(with_example=ended == "done", remarks=self._remarks(ended, engine))
        self.run.info["psets_per_second"] = self.progress.overview.rate()
        return self.run.finish(ended, self.progress.overview.counts())

    def _take_what_was_kept(self, engine: Engine) -> None:
        """Put on disk what workers had kept of slices that were dropped."""
        for result in engine.kept_by_workers():
            known = seqs_in(self.run.journal.replay())
            if known.isdisjoint(seqs_of(result)):  # else that slice was run again since
                self.run.journal.append(result.frame)
                self.progress.update(result)

    def _finish_after_error(self, engine: Engine) -> None:
        """Merge what the journal has, if that still works: its own error is the one to tell."""
        try:
            self._finish("broken off", engine)
        except StudyError as err:
            log.warning("%s", err)

    def _remarks(self, ended: str, engine: Engine) -> list[str]:
        remarks = []
        if engine.attempts_repeated:
            remarks.append(f"{counted(engine.attempts_repeated, 'failed attempt')} repeated")
        if engine.workers_lost:
            were = "was" if engine.workers_lost == 1 else "were"
            remarks.append(f"{counted(engine.workers_lost, 'worker')} {were} lost")
        left = self.progress.overview.left
        if left and self.run.saved:
            how = "stopped" if ended == "stopped" else "broken off"
            call = resume_call(self.run.layout, self.run.info)
            remarks.append(f"{how}, {call} runs the {left} left")
        return remarks


def _gave_up(progress: Progress) -> PsetFailedError:
    seen = progress.overview
    failure = seen.failures()[0]
    count = seen.failed.total()
    error = PsetFailedError(
        f"stopped, as on_error asks, with {count} failed pset{'s' * (count > 1)}; "
        f"pset {failure.pset_seq}, {failure.pset}:\n{failure.exc_txt.rstrip()}\n"
        f"{seen.done} of {seen.total} psets have finished; save=True keeps their rows"
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
