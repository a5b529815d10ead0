"""The scenarios of scaling.py: what happens to the batch jobs that are to be scaled."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from scaling_driver import BEGIN, END, SLOTS
from scaling_episode import (
    ALIVE,
    POLL_SECONDS,
    Outcome,
    all_busy,
    all_done,
    episode,
    first_end,
    since,
    since_last,
    state_of,
)

OLD_JOB_SECONDS = 35.0
"""A job of ours that is lost after so long is replaced without a pause."""

Measures = dict[str, Outcome]


def starts(name: str) -> Measures:
    with episode(name, [2.0] * 60) as running:
        busy = running.wait(partial(all_busy, running))
        first = running.wait(partial(first_end, running))
        return {
            "first 2 s pset done": since(running.began(), first),
            "all slots busy": since(running.began(), busy),
        }


def cancelled(name: str) -> Measures:
    return {
        "young running job cancelled: pset in another": replaced_after(name, seconds=3),
        "old running job cancelled: pset in another": replaced_after(name, OLD_JOB_SECONDS),
    }


def replaced_after(name: str, seconds: float) -> Outcome:
    """Cancel a running job when all slots have been busy for so long."""
    with episode(name, [2.0] * 200) as running:
        busy = running.wait(partial(all_busy, running))
        if isinstance(busy, str):
            return f"{busy}: not all slots were busy"
        time.sleep(seconds)
        known = {event.job for event in running.events()}
        victim = running.jobs("RUNNING")[0]
        cancelled_at = time.time()
        subprocess.run(["scancel", victim], check=True)

        def begun() -> float | None:
            new = (event.at for event in running.events() if event.job not in known)
            return next(new, None)

        return since(cancelled_at, running.wait(begun))


def cancelled_while_pending(name: str) -> Measures:
    measure = "pending job cancelled: another submitted"
    with foreign_job(), episode(name, [2.0] * 200) as running:

        def one_pends() -> float | None:
            works = first_end(running) is not None
            return time.time() if works and running.jobs("PENDING") else None

        pends = running.wait(one_pends)
        if isinstance(pends, str):
            return {measure: f"{pends}: no job was pending"}
        known = set(running.jobs())
        cancelled_at = time.time()
        subprocess.run(["scancel", *running.jobs("PENDING")], check=True)

        def submitted() -> float | None:
            return time.time() if set(running.jobs()) - known else None

        return {measure: since(cancelled_at, running.wait(submitted))}


@contextmanager
def foreign_job() -> Iterator[None]:
    """Let a job of somebody else fill one of the two nodes."""
    command = ["sbatch", "--parsable", f"--ntasks={SLOTS}", "--nodes=1", "--mem=2G", "--time=5"]
    command += ["--job-name=foreign", "--output=/dev/null", "--wrap=sleep 300"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    job = done.stdout.strip()
    try:
        while state_of(job) != "RUNNING":
            time.sleep(POLL_SECONDS)
        yield
    finally:
        subprocess.run(["scancel", job], check=True)
        while state_of(job) in ALIVE:
            time.sleep(POLL_SECONDS)


def bad_prologue(name: str) -> Measures:
    # The first job to come makes the folder and fails.
    prologue = ["mkdir failed-once 2>/dev/null && exit 1"]
    with episode(name, [2.0] * 200, job_script_prologue=prologue) as running:
        busy = running.wait(partial(all_busy, running))
        return {"first job's prologue fails: all slots busy": since(running.began(), busy)}


def short_walltime(name: str) -> Measures:
    count = 120
    with episode(name, [3.0] * count, walltime="00:01:00") as running:
        done = running.wait(partial(all_done, running, count), renewed=True)
        numbers = Counter(event.number for event in running.events() if event.what == BEGIN)
        ended = {event.number for event in running.events() if event.what == END}
        makespan = since(running.began(), done)
        if isinstance(makespan, str):
            makespan += f", {len(ended)} of {count} done"
        return {
            "1 min walltime: makespan (ideal 90)": makespan,
            "1 min walltime: psets begun twice": float(
                sum(times > 1 for times in numbers.values())
            ),
            "1 min walltime: jobs": float(len(running.jobs())),
        }


def ends(name: str) -> Measures:
    idle, all_jobs = "one job idle, the other works: idle one gone", "last pset done: no job left"
    seconds = [2.0] * 15 + [25.0]
    with episode(name, seconds) as running:
        gone_at: dict[str, float] = {}

        def gone() -> float | None:
            alive = running.jobs("PENDING", "RUNNING")
            for job in set(running.jobs()) - set(alive):
                gone_at.setdefault(job, time.time())
            return time.time() if all_done(running, len(seconds)) and not alive else None

        all_gone = since_last(running, running.wait(gone, renewed=True))
        if isinstance(all_gone, str):
            return {idle: all_gone, all_jobs: all_gone}
        *_, last = ended = [event for event in running.events() if event.what == END]
        idle_since = max((event.at for event in ended if event.job != last.job), default=None)
        idle_gone = min((at for job, at in gone_at.items() if job != last.job), default=None)
        if idle_since is None or idle_gone is None:
            return {idle: "one job alone", all_jobs: all_gone}
        if idle_gone > last.at:
            return {idle: f"kept ({last.at - idle_since:.0f} s)", all_jobs: all_gone}
        return {idle: idle_gone - idle_since, all_jobs: all_gone}


def little_work(name: str) -> Measures:
    allowed = 4
    with episode(name, [2.0] * 3, jobs=allowed) as running:
        running.wait(partial(all_done, running, 3), renewed=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(30)
        return {
            f"3 psets, {allowed} jobs allowed: submitted (needed 2)": float(len(running.jobs()))
        }


SCENARIOS: dict[str, Callable[[str], Measures]] = {
    "a": starts,
    "b": cancelled,
    "c": cancelled_while_pending,
    "d": bad_prologue,
    "e": short_walltime,
    "f": ends,
    "g": little_work,
}
