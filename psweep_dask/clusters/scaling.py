"""The batch jobs of one run: submitted, replaced and cancelled as a `ScalingPolicy` decides."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from pathlib import Path

from distributed import Status
from distributed.scheduler import WorkerState

from psweep_dask.clusters.executor import ExecutorError, ExecutorRequest
from psweep_dask.clusters.jobqueue import JobQueue
from psweep_dask.clusters.scaling_policy import JobLoad, ScalingPolicy, WorkerJob
from psweep_dask.clusters.walltime import WalltimePool
from psweep_dask.clusters.walltime_policy import JobLifetime
from psweep_dask.hpc.slurm import JobState, remedy_for

log = logging.getLogger("psweep_dask")

QUEUE_POLL_SECONDS = 1.0
"""How often the queue is asked while jobs come or go."""

CALM_QUEUE_POLL_SECONDS = 5.0
"""How often otherwise: a queue that many people ask is slow for all of them."""

MIN_QUEUE_POLL_SECONDS = 0.3
"""The shortest time between two questions, whatever happens."""

CHANGE_SECONDS = 10.0
"""For so long after a change, jobs may come or go."""

TAKING_STATES = {Status.init, Status.running}
"""States of a worker that takes psets, or will in a moment."""

BLOCKING_REASONS = {
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
    """The workers of one run that come in batch jobs; a `WorkerPool`.

    A thread of its own asks the queue, and carries out what the policy decides.

    Parameters
    ----------
    queue : JobQueue
        Its cluster must have the scheduler of the workers in this process.
    policy : ScalingPolicy
    request : ExecutorRequest
    jobs_path : Path
        The file to which the ids of jobs are written, so that others can cancel them if this
        process is killed.
    """

    def __init__(
        self, queue: JobQueue, policy: ScalingPolicy, request: ExecutorRequest, jobs_path: Path
    ) -> None:
        super().__init__(request.resources, request.timeout)
        self.expected_slots = policy.max_jobs * policy.slots_per_job
        self._queue = queue
        self._policy = policy
        self._request = request
        self._jobs_path = jobs_path
        self._numbers = itertools.count()
        self._left: int | None = None
        self._changed_at = time.monotonic()
        self._look_soon = threading.Event()
        self._closing = False
        self._error: Exception | None = None
        self._warned_reasons: set[str] = set()
        self.plugin.attach(queue.cluster, self._on_worker_change)
        self._thread = threading.Thread(target=self._keep, name="psweep_dask-jobs", daemon=True)
        self._thread.start()

    def slots(self, left: int) -> int:
        """Return how many psets can run at the same time now; have the jobs that are needed come.

        Raises
        ------
        psweep_dask.clusters.executor.ExecutorError
            If no worker will come any more: with what the batch system or the last job has said.
        """
        before, self._left = self._left, left
        if before is None or self._policy.jobs_for(left) != self._policy.jobs_for(before):
            self._look_soon.set()
        if self._error is not None:
            raise ExecutorError(f"the jobs can no longer be looked after: {self._error!r}")
        if self._policy.given_up:
            raise ExecutorError(self._why_given_up())
        return self.usable_slots()

    def close(self) -> None:
        """Cancel all jobs."""
        self._closing = True
        self._look_soon.set()
        self._thread.join()
        self._request.show_wait("")
        error = self._queue.cancel_all()
        if error:
            log.warning(
                "jobs %s could not be cancelled (%s); they are in %s, and leave by themselves "
                "when they find no scheduler",
                " ".join(job.job_id for job in self._policy.jobs),
                error,
                self._jobs_path,
            )
        else:
            self._jobs_path.unlink(missing_ok=True)

    def _on_worker_change(self) -> None:
        self._changed_at = time.monotonic()
        self._look_soon.set()
        self._request.stopper.wake()

    def _keep(self) -> None:
        while not self._closing:
            try:
                if self._left is not None:
                    self._look(self._left)
            except Exception as err:  # `slots` raises it: without this thread no job would come
                log.debug("the thread of the jobs has failed", exc_info=True)
                self._error = err
                return
            changing = time.monotonic() - self._changed_at < CHANGE_SECONDS
            self._look_soon.wait(QUEUE_POLL_SECONDS if changing else CALM_QUEUE_POLL_SECONDS)
            self._look_soon.clear()
            if not self._closing:
                time.sleep(MIN_QUEUE_POLL_SECONDS)

    def _look(self, left: int) -> None:
        states = self._queue.states() if self._policy.jobs else {}
        loads = self._loads()
        now = time.monotonic()
        actions = self._policy.decide(now, left, states, loads)
        self._record_lifetimes(now, loads)
        for _ in range(actions.submit):
            if self._closing or not self._submit(now):
                break
        error = self._queue.cancel(actions.cancel)
        if error:
            log.warning("jobs could not be cancelled: %s", error)
        for job in actions.retire:
            self.walltimes.retire_job(job.name)
        useful = sum(not job.leaving for job in self._policy.jobs)
        too_many = useful > self._policy.jobs_for(left)  # these are busy, and may soon be idle
        if actions.submit or actions.cancel or actions.retire or too_many:
            self._changed_at = now
        self._request.show_wait(self._waits_for() if left and not loads else "")

    def _loads(self) -> dict[str, JobLoad]:
        """Return what the workers that are connected have to do, by the name of their job."""
        workers: dict[str, list[WorkerState]] = {}
        for worker in self.plugin.workers():
            workers.setdefault(self.walltimes.job_of(str(worker.name)), []).append(worker)
        return {
            job: JobLoad(
                idle=not any(worker.processing or worker.has_what for worker in of_job),
                leaving=all(worker.status not in TAKING_STATES for worker in of_job),
            )
            for job, of_job in workers.items()
        }

    def _submit(self, now: float) -> bool:
        """Submit a job; return whether the batch system has taken it."""
        name = f"{self._queue.job_name.removeprefix('psweep-')}-{next(self._numbers)}"
        try:
            job_id = self._queue.submit(name)
        except (OSError, RuntimeError) as err:
            self._policy.add_refused(now, _stderr_of(str(err)))
            return False
        with self._jobs_path.open("a") as stream:
            stream.write(f"{job_id} {self._queue.job_name}\n")
        self.walltimes.add_job(name)
        self._policy.add_submitted(WorkerJob(job_id, name, now, self._queue.state_at_first))
        return True

    def _record_lifetimes(self, now: float, loads: dict[str, JobLoad]) -> None:
        """Remember when the walltime of each job ends, as far as that is known."""
        for job in self._policy.jobs:
            if job.leaving:
                continue
            state, asked_for = job.state, self._queue.walltime
            if state is not None and state.runs and state.left is not None:
                walltime = state.left if state.limit is None else state.limit
                self.walltimes.jobs[job.name] = JobLifetime(now + state.left, walltime)
            elif state is None and asked_for is not None and job.name in loads:
                # no queue can be asked: the job has begun when its first worker came, or before
                end = job.first_seen + asked_for
                self.walltimes.jobs[job.name] = JobLifetime(end, asked_for)

    def _waits_for(self) -> str:
        """Return why there is no worker, in a few words for the progress bar."""
        jobs = self._policy.jobs
        pending = [job.state for job in jobs if job.state is not None and job.state.waits]
        self._warn_if_blocked(pending)
        parts = []
        if pending:
            reasons = Counter(state.reason for state in pending if state.reason)
            reason = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
            parts.append(f"{len(pending)} pending{reason}")
        if starting := sum(job.state is not None and job.state.runs for job in jobs):
            parts.append(f"{starting} starting")
        if unknown := sum(job.state is None for job in jobs):
            parts.append(f"{unknown} submitted")
        if failed := len(self._policy.without_worker):
            parts.append(f"{failed} failed")
        if self._policy.refusals:
            parts.append(f"refused: {self._policy.refusals[-1].splitlines()[-1]}")
        return f"waiting for jobs: {', '.join(parts)}" if parts else "waiting for jobs"

    def _warn_if_blocked(self, pending: list[JobState]) -> None:
        reasons = {state.reason for state in pending} & BLOCKING_REASONS
        for reason in reasons - self._warned_reasons:
            self._warned_reasons.add(reason)
            log.warning(
                "jobs wait with the reason %s, and will do so until somebody changes them: "
                "Ctrl-C ends the run, then %s",
                reason,
                remedy_for(reason),
            )

    def _why_given_up(self) -> str:
        if self._policy.refusals:
            refusal = self._policy.refusals[-1]
            return f"the batch system takes no job: {refusal}; {remedy_for(refusal)}"
        job = self._policy.without_worker[-1]
        failed = len(self._policy.without_worker)
        text = f"{failed} jobs in a row have ended without a worker of theirs"
        if job.state is not None:
            reason = f" ({job.state.reason})" if job.state.reason else ""
            text += f"; the last, job {job.job_id}, as {job.state.state}{reason}"
        text += f"; workers should reach the scheduler at {self._queue.address}"
        output = self._queue.output(job.job_id)
        if not output:
            return f"{text}; that job has printed nothing"
        indented = "\n".join("    " + line for line in output.splitlines())
        return f"{text}; the output of that job ends with\n{indented}"


def _stderr_of(error: str) -> str:
    """Take what the batch system itself has said out of dask-jobqueue's report."""
    return error.partition("stderr:\n")[2].strip() or error
