"""The scenarios of fleet.py: what is asked of those who keep batch jobs."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from fleet_driver import BEGIN, END, SLOTS
from fleet_episode import (
    ALIVE,
    INTERVAL,
    Outcome,
    all_busy,
    all_done,
    episode,
    first_end,
    since,
    since_last,
    state_of,
)

OLD = 35.0
"""Seconds after which ours takes the loss of a job for no reason to be careful."""

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
        "old running job cancelled: pset in another": replaced_after(name, OLD),
    }


def replaced_after(name: str, seconds: float) -> Outcome:
    """Cancel a running job when all slots have been busy for so long."""
    with episode(name, [2.0] * 200) as running:
        busy = running.wait(partial(all_busy, running))
        if isinstance(busy, str):
            return f"{busy}: not all slots were busy"
        time.sleep(seconds)
        known = {one.job for one in running.events()}
        victim = running.jobs("RUNNING")[0]
        cancelled_at = time.time()
        subprocess.run(["scancel", victim], check=True)

        def begun() -> float | None:
            new = (one.at for one in running.events() if one.job not in known)
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
            time.sleep(INTERVAL)
        yield
    finally:
        subprocess.run(["scancel", job], check=True)
        while state_of(job) in ALIVE:
            time.sleep(INTERVAL)


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
        numbers = Counter(one.number for one in running.events() if one.what == BEGIN)
        ended = {one.number for one in running.events() if one.what == END}
        makespan = since(running.began(), done)
        if isinstance(makespan, str):
            makespan += f", {len(ended)} of {count} done"
        return {
            "1 min walltime: makespan (ideal 90)": makespan,
            "1 min walltime: psets begun twice": float(sum(one > 1 for one in numbers.values())),
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
        *_, last = ended = [one for one in running.events() if one.what == END]
        idle_since = max((one.at for one in ended if one.job != last.job), default=None)
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
