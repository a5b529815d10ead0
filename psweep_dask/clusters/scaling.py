"""The jobs of one run, kept as the policy orders, in a thread of their own."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from distributed import Status
from distributed.scheduler import WorkerState

from psweep_dask.clusters.executor import ExecutorError
from psweep_dask.clusters.jobqueue import JobQueue
from psweep_dask.clusters.scaling_policy import Present, ScalingPolicy, WorkerJob
from psweep_dask.clusters.walltime import JobLifetime, WalltimePlugin, WalltimePool
from psweep_dask.hpc.slurm import JobState, remedy_for

log = logging.getLogger("psweep_dask")

RESTLESS = 1.0
"""Seconds between two looks at the queue while jobs come or go."""

CALM = 5.0
"""The same while all is well: a queue that many people ask is slow for everybody."""

SPACING = 0.3
"""Seconds between two looks at least, however much news there is."""

RESTLESS_FOR = 10.0
"""Seconds for which a change makes restless."""

TAKING = {Status.init, Status.running}
"""States of a worker that takes psets, or will in a moment."""

STUCK = {
    "BadConstraints",
    "DependencyNeverSatisfied",
    "InvalidAccount",
    "InvalidQOS",
    "JobHeldAdmin",
    "JobHeldUser",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
}
"""Reasons of SLURM for which a job waits until somebody changes it."""


class JobPool(WalltimePool):
    """Brings the workers of one run in batch jobs; a `psweep_dask.clusters.workers.WorkerPool`.

    Parameters
    ----------
    batch : Batch
    policy : FleetPolicy
    lifetimes : Lifetimes
        In the scheduler that the workers connect to.
    slots_hoped : int
        Psets that run at the same time when all jobs are there.
    jobs_path : Path
        Where the ids of the jobs are noted, to cancel them if this process cannot.
    tell : callable
        Is told again and again what the run waits for, or an empty str.
    """

    def __init__(
        self,
        batch: JobQueue,
        policy: ScalingPolicy,
        lifetimes: WalltimePlugin,
        slots_hoped: int,
        jobs_path: Path,
        tell: Callable[[str], object],
    ) -> None:
        super().__init__(lifetimes)
        self._batch = batch
        self._policy = policy
        self.slots_hoped = slots_hoped
        self._jobs_path = jobs_path
        self._tell = tell
        self._numbers = itertools.count()
        self._left: int | None = None
        self._changed = time.monotonic()
        self._news = threading.Event()
        self._closing = False
        self._error: Exception | None = None
        self._stuck: set[str] = set()
        self._thread = threading.Thread(target=self._keep, name="psweep_dask-fleet", daemon=True)
        self._thread.start()

    def slots(self, left: int) -> int:
        """Count the workers, and have as many jobs as `left` psets need."""
        before, self._left = self._left, left
        if before is None or self._policy.needed(left) != self._policy.needed(before):
            self._news.set()
        if self._error is not None:
            raise ExecutorError(f"the jobs can no longer be looked after: {self._error!r}")
        if self._policy.given_up:
            raise ExecutorError(self._why_given_up())
        return self._lifetimes.slots()

    def look_again(self) -> None:
        """Look at the jobs soon: a worker has come or gone."""
        self._changed = time.monotonic()
        self._news.set()

    def close(self) -> None:
        """Cancel all jobs."""
        self._closing = True
        self._news.set()
        self._thread.join()
        self._tell("")
        trouble = self._batch.cancel_all()
        if trouble:
            ids = " ".join(job.job_id for job in self._policy.jobs)
            log.warning(
                "jobs %s could not be cancelled (%s); they are in %s, and leave by themselves "
                "when they find no scheduler",
                ids,
                trouble,
                self._jobs_path,
            )
        else:
            self._jobs_path.unlink(missing_ok=True)

    def _keep(self) -> None:
        while not self._closing:
            try:
                if self._left is not None:
                    self._look()
            except Exception as err:  # told by `slots`: without us the run would wait for ever
                log.debug("the fleet has failed", exc_info=True)
                self._error = err
                return
            restless = time.monotonic() - self._changed < RESTLESS_FOR
            self._news.wait(RESTLESS if restless else CALM)
            self._news.clear()
            if not self._closing:
                time.sleep(SPACING)

    def _look(self) -> None:
        states = self._batch.states() if self._policy.jobs else {}
        workers = self._lifetimes.workers_by_job()
        now = time.monotonic()
        present = {name: _present(ones) for name, ones in workers.items()}
        orders = self._policy.orders(now, self._left or 0, states, present)
        self._note_lives(now, present)
        for _ in range(orders.submit):
            if self._closing or not self._submit(now):
                break
        trouble = self._batch.cancel(orders.cancel)
        if trouble:
            log.warning("jobs could not be cancelled: %s", trouble)
        for job in orders.retire:
            self._lifetimes.retire(job.name)
        useful = sum(not job.leaving for job in self._policy.jobs)
        too_many = useful > self._policy.needed(self._left or 0)  # busy ones may be idle soon
        if orders.submit or orders.cancel or orders.retire or too_many:
            self._changed = now
        self._tell(self._waits_for() if self._left and not present else "")

    def _submit(self, now: float) -> bool:
        name = f"{self._batch.job_name.removeprefix('psweep-')}-{next(self._numbers)}"
        try:
            job_id = self._batch.submit(name)
        except (OSError, RuntimeError) as err:
            self._policy.refused(now, _stderr_of(str(err)))
            return False
        with self._jobs_path.open("a") as stream:
            stream.write(f"{job_id} {self._batch.job_name}\n")
        self._lifetimes.expect(name)
        self._policy.submitted(WorkerJob(job_id, name, now, self._batch.state_at_first))
        return True

    def _note_lives(self, now: float, present: dict[str, Present]) -> None:
        """Tell when the walltime of each job is over, as far as anybody knows."""
        for job in self._policy.jobs:
            if job.leaving:
                continue
            state = job.state
            if state is not None and state.runs and state.left is not None:
                walltime = state.left if state.limit is None else state.limit
                self._lifetimes.jobs[job.name] = JobLifetime(now + state.left, walltime)
            elif state is None and self._batch.walltime is not None and job.name in present:
                life = JobLifetime(job.first_seen + self._batch.walltime, self._batch.walltime)
                self._lifetimes.jobs[job.name] = life

    def _waits_for(self) -> str:
        """Say what keeps the run from having workers."""
        jobs = self._policy.jobs
        pending = [job.state for job in jobs if job.state is not None and job.state.waits]
        self._warn_of_stuck(pending)
        parts = []
        if pending:
            reasons = Counter(state.reason for state in pending if state.reason)
            reason = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
            parts.append(f"{len(pending)} pending{reason}")
        if starting := sum(job.state is not None and job.state.runs for job in jobs):
            parts.append(f"{starting} starting")
        if unknown := sum(job.state is None for job in jobs):
            parts.append(f"{unknown} submitted")
        if failed := len(self._policy.without_workers):
            parts.append(f"{failed} failed")
        if self._policy.refusals:
            parts.append(f"refused: {self._policy.refusals[-1].splitlines()[-1]}")
        return f"waiting for jobs: {', '.join(parts)}" if parts else "waiting for jobs"

    def _warn_of_stuck(self, pending: list[JobState]) -> None:
        for reason in {state.reason for state in pending} & STUCK - self._stuck:
            self._stuck.add(reason)
            log.warning(
                "jobs wait with the reason %s, and will do so until somebody changes them: "
                "Ctrl-C ends the run, then %s",
                reason,
                remedy_for(reason),
            )

    def _why_given_up(self) -> str:
        if self._policy.refusals:
            said = self._policy.refusals[-1]
            return f"the batch system takes no job: {said}; {remedy_for(said)}"
        job = self._policy.without_workers[-1]
        failed = len(self._policy.without_workers)
        text = f"{failed} jobs in a row have ended without a worker of theirs"
        if job.state is not None:
            reason = f" ({job.state.reason})" if job.state.reason else ""
            text += f"; the last, job {job.job_id}, as {job.state.state}{reason}"
        text += f"; workers should reach the scheduler at {self._batch.address}"
        output = self._batch.output(job.job_id)
        if not output:
            return f"{text}; that job has printed nothing"
        indented = "\n".join("    " + line for line in output.splitlines())
        return f"{text}; the output of that job ends with\n{indented}"


def _present(workers: list[WorkerState]) -> Present:
    return Present(
        idle=not any(one.processing or one.has_what for one in workers),
        leaving=all(one.status not in TAKING for one in workers),
    )


def _stderr_of(error: str) -> str:
    """Take out of dask-jobqueue's report what the batch system itself has said."""
    said = error.partition("stderr:\n")[2].strip()
    return said or error
