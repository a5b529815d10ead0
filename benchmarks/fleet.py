"""Measure how three ways to keep batch jobs get on: ours, and dask-jobqueue's adapt and scale.

Run it by hand on an idle SLURM of two nodes with two CPUs each, which SLURM_CONF points to:

    python benchmarks/fleet.py [--quick] [--json] [--only SCENARIO]

It takes an hour, with --quick half of that. All have the same machine folder: jobs that fill
a node, with a worker process for each CPU. Ours writes its journal and database and speaks TLS.
The others are what a competent user would write: client.submit and as_completed with a rolling
window of two psets a slot, three retries, no TLS, nothing written. "adapt, tuned" has settings that
make dask ask for all jobs at once and take a lost worker for lost after 2 s; "adapt, threads" also
has one process of two threads in each job.

A driver is a process of its own. Its psets note when they begin and end, and in which job; this
process reads that, asks squeue five times a second, and takes nothing new in a minute for never.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import dask
import yaml
from common import Pset, Report, options, study_folder
from distributed import Client, as_completed

import psweep_dask
from psweep_dask.job_options import cluster_class
from psweep_dask.machines import MACHINES_DIR, read_machine

if TYPE_CHECKING:
    from dask_jobqueue.core import JobQueueCluster

SCRIPT_PATH = Path(__file__).resolve()
MACHINE = "bench"
JOBS, SLOTS = 2, 2
"""Jobs at most, and psets at the same time in each."""

OLD = 35.0
"""Seconds after which ours takes the loss of a job for no reason to be careful."""

NEVER = 60.0
INTERVAL = 0.2
START, BEGIN, END = "start", "begin", "end"
PRESSURE_PATH = Path("/proc/pressure/cpu")
PATIENCE = 30.0
"""Seconds that are waited for the machine to be quiet."""

ALIVE = ("PENDING", "RUNNING", "COMPLETING")
JOBQUEUE = {"cores": SLOTS, "processes": SLOTS, "memory": "2GiB", "walltime": "00:05:00"}
TUNED = {
    "distributed.scheduler.unknown-task-duration": "60s",
    "distributed.deploy.lost-worker-timeout": "2s",
}

Outcome = float | str
"""Seconds or a number; a str says why there is none."""

Measures = dict[str, Outcome]


# What runs in the workers and the drivers.


def note(events: str, what: str, number: int = -1) -> None:
    worker = f"{os.getpid()}-{threading.get_native_id()}"
    line = f"{what} {number} {os.environ.get('SLURM_JOB_ID', '-')} {worker} {time.time()}\n"
    with Path(events).open("a") as stream:  # one short write, which no other cuts in two
        stream.write(line)


def work(pset: Pset) -> dict[str, object]:
    note(pset["events"], BEGIN, pset["number"])
    time.sleep(pset["seconds"])
    note(pset["events"], END, pset["number"])
    return {}


def drive_ours(psets: list[Pset]) -> None:
    psweep_dask.run(work, psets, cluster=MACHINE, progress=False)


def drive_dask(
    bring: Callable[[JobQueueCluster, int], object],
    settings: Mapping[str, object],
    psets: list[Pset],
) -> None:
    machine = read_machine(MACHINE)
    with (
        dask.config.set(settings),
        cluster_class(machine)(
            **machine.jobqueue, scheduler_options={"dashboard_address": "127.0.0.1:0"}
        ) as cluster,
        Client(cluster) as client,
    ):
        bring(cluster, machine.jobs)
        submit = partial(client.submit, work, pure=False, retries=3)
        left = iter(psets)
        window = itertools.islice(left, 2 * SLOTS * machine.jobs)
        completed = as_completed([submit(pset) for pset in window], with_results=True)
        for future, _ in completed:
            future.release()
            for pset in itertools.islice(left, 1):
                completed.add(submit(pset))


def adapt(cluster: JobQueueCluster, jobs: int) -> None:
    cluster.adapt(maximum_jobs=jobs)


def scale(cluster: JobQueueCluster, jobs: int) -> None:
    cluster.scale(jobs=jobs)


@dataclass(frozen=True)
class Contestant:
    drive: Callable[[list[Pset]], None]
    processes: int = SLOTS


OURS = "ours"
CONTESTANTS = {
    OURS: Contestant(drive_ours),
    "adapt": Contestant(partial(drive_dask, adapt, {})),
    "adapt, tuned": Contestant(partial(drive_dask, adapt, TUNED)),
    "adapt, threads": Contestant(partial(drive_dask, adapt, TUNED), processes=1),
    "scale": Contestant(partial(drive_dask, scale, {})),
}


def drive(name: str) -> None:
    """Be the driver of an episode, in its folder."""
    # As psweep_dask does for its runs: an orderly end, in which clusters cancel their jobs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    psets = json.loads(Path("psets.json").read_text())
    note("events", START)
    CONTESTANTS[name].drive(psets)


# What watches them.


@dataclass(frozen=True)
class Event:
    """Something that a pset, or the driver, has noted."""

    what: str
    number: int
    job: str
    worker: str
    at: float

    @classmethod
    def of(cls, line: str) -> Event:
        what, number, job, worker, at = line.split()
        return cls(what, int(number), job, worker, float(at))


def queue() -> list[tuple[str, str, str]]:
    """Give id, state and comment of all jobs, those that ended in the last minutes too."""
    command = ["squeue", "--noheader", "--states=all", "--format=%A|%T|%k"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = (line.split("|", 2) for line in done.stdout.splitlines())
    return [(job, state, comment) for job, state, comment in lines]


def state_of(job: str) -> str | None:
    return next((state for one, state, _ in queue() if one == job), None)


class Episode:
    """A driver that runs in its folder, and its jobs."""

    def __init__(self, folder: Path, tag: str, process: subprocess.Popen[bytes]) -> None:
        self._events_path = folder / "events"
        self._log_path = folder / "driver.log"
        self._tag = tag
        self.process = process

    def events(self) -> list[Event]:
        """Give what was noted, in the order of time."""
        if not self._events_path.exists():
            return []
        lines = self._events_path.read_text().splitlines(keepends=True)
        events = [Event.of(line) for line in lines if line.endswith("\n")]
        return sorted(events, key=lambda one: one.at)

    def began(self) -> float:
        return next(one.at for one in self.events() if one.what == START)

    def jobs(self, *states: str) -> list[str]:
        """Give the ids of its jobs in these states, ended ones too; of all if none are named."""
        ours = [(job, state) for job, state, tag in queue() if tag == self._tag]
        return [job for job, state in ours if not states or state in states]

    def wait(self, look: Callable[[], float | None], renewed: bool = False) -> Outcome:
        """Look until there is a time, or until a minute has brought nothing.

        Parameters
        ----------
        renewed : bool
            The minute begins anew whenever a pset begins or ends.
        """
        seen, deadline = 0, time.time() + NEVER
        while time.time() < deadline:
            ended = self.process.poll()
            found = look()
            if found is not None:
                return found
            if ended is not None:
                last_line = (self._log_path.read_text().strip() or "-").splitlines()[-1]
                return f"never: {last_line.partition(':')[0].rpartition('.')[2]}"
            if renewed and len(self.events()) != seen:
                seen, deadline = len(self.events()), time.time() + NEVER
            time.sleep(INTERVAL)
        return "never"

    def end(self) -> None:
        """End the driver, and whatever jobs it leaves."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        self.process.wait()
        while left := self.jobs(*ALIVE):
            subprocess.run(["scancel", "--quiet", *left], check=False)
            time.sleep(INTERVAL)


@contextmanager
def episode(
    name: str, seconds: list[float], jobs: int = JOBS, **jobqueue: Any
) -> Iterator[Episode]:
    """Start a driver with psets that take so long, on a machine of so many jobs."""
    tag = f"benchmark-{uuid.uuid4().hex}"
    with study_folder() as folder:
        events = str(folder / "events")
        psets = [
            {"number": number, "seconds": one, "events": events}
            for number, one in enumerate(seconds)
        ]
        Path("psets.json").write_text(json.dumps(psets))
        machine_dir = Path(MACHINES_DIR, MACHINE)
        machine_dir.mkdir(parents=True)
        settings = {
            **JOBQUEUE,
            "processes": CONTESTANTS[name].processes,
            "job_extra_directives": [f"--comment={tag}"],
            **jobqueue,
        }
        info = {"cluster": "slurm", "jobs": jobs, "jobqueue": settings}
        (machine_dir / "info.yaml").write_text(yaml.safe_dump(info))
        with Path("driver.log").open("wb") as log:
            command = [sys.executable, str(SCRIPT_PATH), "--drive", name]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        running = Episode(folder, tag, process)
        try:
            while not running.events():
                if process.poll() is not None:
                    raise click.ClickException(f"{name}: {Path('driver.log').read_text()}")
                time.sleep(0.05)
            yield running
        finally:
            running.end()


def first_end(running: Episode) -> float | None:
    return next((one.at for one in running.events() if one.what == END), None)


def all_busy(running: Episode) -> float | None:
    """Tell when a pset first ran in each slot at the same time."""
    busy: dict[str, set[str]] = {}
    for one in running.events():
        if one.what == BEGIN:
            busy.setdefault(one.job, set()).add(one.worker)
        elif one.what == END:
            busy[one.job].discard(one.worker)
        if sum(map(len, busy.values())) == JOBS * SLOTS:
            return one.at
    return None


def all_done(running: Episode, count: int) -> float | None:
    """Tell when so many psets had ended at least once."""
    done: set[int] = set()
    for one in running.events():
        if one.what == END:
            done.add(one.number)
            if len(done) == count:
                return one.at
    return None


def since(start: float, end: Outcome) -> Outcome:
    return end if isinstance(end, str) else end - start


def since_last(running: Episode, end: Outcome) -> Outcome:
    ended = [one.at for one in running.events() if one.what == END]
    return since(ended[-1], end) if ended else "never"


# The scenarios.


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


@options
@click.option("--only", help="Letters of the scenarios, of all by default.", default="abcdefg")
@click.option("--drive", "driver", hidden=True)
def main(as_json: bool, quick: bool, only: str, driver: str | None) -> None:
    if driver is not None:
        drive(driver)
        return
    check_slurm()
    report = Report("fleet", as_json)
    report.facts()
    repeats = 1 if quick else 3
    rows = []
    for letter in only:
        outcomes = outcomes_of(SCENARIOS[letter], repeats, report)
        for measure in outcomes[OURS]:
            medians = {name: median(outcomes[name][measure]) for name in CONTESTANTS}
            rows.append({"": letter, "s": measure} | with_ratios(medians))
            for name in CONTESTANTS:
                report.measurement(
                    scenario=letter,
                    measure=measure,
                    contestant=name,
                    outcomes=outcomes[name][measure],
                    ratio_to_ours=ratio(medians[name], medians[OURS]),
                )
    slurm = subprocess.run(["sinfo", "--version"], capture_output=True, text=True, check=True)
    report.table(
        rows,
        f"Seconds or numbers, median of {repeats} (what never came is waited for once), and in "
        f"parentheses the ratio to ours. {slurm.stdout.strip()}, "
        f"dask-jobqueue {version('dask-jobqueue')}.",
    )


def check_slurm() -> None:
    """End if figures made here would mean nothing."""
    command = ["sinfo", "--noheader", "--Node", "--format=%N %c %T"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    nodes = {tuple(line.split()) for line in done.stdout.splitlines()}
    if sorted(rest for _, *rest in nodes) != [[str(SLOTS), "idle"]] * JOBS:
        raise click.ClickException(
            f"an idle SLURM of {JOBS} nodes with {SLOTS} CPUs each is needed; "
            f"sinfo tells {sorted(nodes)} {done.stderr}"
        )


def outcomes_of(
    scenario: Callable[[str], Measures], repeats: int, report: Report
) -> dict[str, dict[str, list[Outcome]]]:
    """Let all contestants take turns."""
    outcomes: dict[str, dict[str, list[Outcome]]] = {name: {} for name in CONTESTANTS}
    for turn in range(repeats):
        for name in CONTESTANTS:
            before = outcomes[name].values()
            if any(str(one).startswith("never") for values in before for one in values):
                continue
            await_quiet()
            start, waited = time.time(), waited_for_cpu()
            measures = scenario(name)
            report.measurement(
                scenario=scenario.__name__,
                contestant=name,
                turn=turn,
                waited_for_cpu=(waited_for_cpu() - waited) / (time.time() - start),
                measures=measures,
            )
            for measure, outcome in measures.items():
                outcomes[name].setdefault(measure, []).append(outcome)
    return outcomes


def waited_for_cpu() -> float:
    """Count the seconds in which something on this machine had to wait for a CPU."""
    if not PRESSURE_PATH.exists():
        return 0.0
    return int(PRESSURE_PATH.read_text().splitlines()[0].rpartition("total=")[2]) / 1e6


def await_quiet() -> None:
    """Let others who use the machine finish, if that does not take too long."""
    deadline = time.time() + PATIENCE
    while time.time() < deadline:
        before = waited_for_cpu()
        time.sleep(3)
        if waited_for_cpu() - before < 0.3:
            return


def median(outcomes: list[Outcome]) -> Outcome:
    numbers = [one for one in outcomes if isinstance(one, float)]
    if len(numbers) == len(outcomes):
        return statistics.median(numbers)
    words = [one for one in outcomes if isinstance(one, str)]
    return words[0] if not numbers else f"{words[0]} ({len(words)} of {len(outcomes)} times)"


def ratio(outcome: Outcome, ours: Outcome) -> float | None:
    if isinstance(outcome, str) or isinstance(ours, str) or not ours:
        return None
    return outcome / ours


def with_ratios(medians: Mapping[str, Outcome]) -> dict[str, str]:
    row = {}
    for name, outcome in medians.items():
        times = ratio(outcome, medians[OURS])
        text = outcome if isinstance(outcome, str) else f"{outcome:.3g}"
        row[name] = text if times is None or name == OURS else f"{text} ({times:.1f})"
    return row


if __name__ == "__main__":
    main()
