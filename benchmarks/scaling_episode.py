"""Episodes of scaling.py: a driver in a folder of its own, and what its jobs do."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from common import study_folder
from scaling_driver import BEGIN, CONTESTANTS, END, JOBS, MACHINE, SLOTS, START

from psweep_dask.hpc.machine import MACHINES_DIR

DRIVER_PATH = Path(__file__).resolve().with_name("scaling_driver.py")
NEVER_SECONDS = 60.0
POLL_SECONDS = 0.2
ALIVE = ("PENDING", "RUNNING", "COMPLETING")
JOBQUEUE = {"cores": SLOTS, "processes": SLOTS, "memory": "2GiB", "walltime": "00:05:00"}

Outcome = float | str
"""Seconds or a number; a str says why there is none."""


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
    """Return id, state and comment of all jobs, those that ended in the last minutes too."""
    command = ["squeue", "--noheader", "--states=all", "--format=%A|%T|%k"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = (line.split("|", 2) for line in done.stdout.splitlines())
    return [(job, state, comment) for job, state, comment in lines]


def state_of(job: str) -> str | None:
    return next((state for job_id, state, _ in queue() if job_id == job), None)


class Episode:
    """A driver that runs in its folder, and its jobs."""

    def __init__(self, folder: Path, tag: str, process: subprocess.Popen[bytes]) -> None:
        self._events_path = folder / "events"
        self._log_path = folder / "driver.log"
        self._tag = tag
        self.process = process

    def events(self) -> list[Event]:
        """Return what was noted, in the order of time."""
        if not self._events_path.exists():
            return []
        lines = self._events_path.read_text().splitlines(keepends=True)
        events = [Event.of(line) for line in lines if line.endswith("\n")]
        return sorted(events, key=lambda event: event.at)

    def began(self) -> float:
        return next(event.at for event in self.events() if event.what == START)

    def jobs(self, *states: str) -> list[str]:
        """Return the ids of its jobs in these states, ended ones too; of all if none are named."""
        ours = [(job, state) for job, state, tag in queue() if tag == self._tag]
        return [job for job, state in ours if not states or state in states]

    def wait(self, look: Callable[[], float | None], renewed: bool = False) -> Outcome:
        """Look until there is a time, or until a minute has brought nothing.

        Parameters
        ----------
        renewed : bool
            The minute begins anew whenever a pset begins or ends.
        """
        seen, deadline = 0, time.time() + NEVER_SECONDS
        while time.time() < deadline:
            ended = self.process.poll()
            at = look()
            if at is not None:
                return at
            if ended is not None:
                last_line = (self._log_path.read_text().strip() or "-").splitlines()[-1]
                return f"never: {last_line.partition(':')[0].rpartition('.')[2]}"
            if renewed and len(self.events()) != seen:
                seen, deadline = len(self.events()), time.time() + NEVER_SECONDS
            time.sleep(POLL_SECONDS)
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
            time.sleep(POLL_SECONDS)


@contextmanager
def episode(
    name: str, seconds: list[float], jobs: int = JOBS, **jobqueue: Any
) -> Iterator[Episode]:
    """Start a driver with psets that take so long, on a machine of so many jobs."""
    tag = f"benchmark-{uuid.uuid4().hex}"
    with study_folder() as folder:
        events = str(folder / "events")
        psets = [
            {"number": number, "seconds": duration, "events": events}
            for number, duration in enumerate(seconds)
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
        (machine_dir / "info.yaml").write_text(json.dumps(info))  # JSON is YAML
        with Path("driver.log").open("wb") as log:
            command = [sys.executable, str(DRIVER_PATH), name]
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
    return next((event.at for event in running.events() if event.what == END), None)


def all_busy(running: Episode) -> float | None:
    """Return when a pset first ran in each slot at the same time."""
    busy: dict[str, set[str]] = {}
    for event in running.events():
        if event.what == BEGIN:
            busy.setdefault(event.job, set()).add(event.worker)
        elif event.what == END:
            busy[event.job].discard(event.worker)
        if sum(map(len, busy.values())) == JOBS * SLOTS:
            return event.at
    return None


def all_done(running: Episode, count: int) -> float | None:
    """Return when so many psets had ended at least once."""
    done: set[int] = set()
    for event in running.events():
        if event.what == END:
            done.add(event.number)
            if len(done) == count:
                return event.at
    return None


def since(start: float, end: Outcome) -> Outcome:
    return end if isinstance(end, str) else end - start


def since_last(running: Episode, end: Outcome) -> Outcome:
    ended = [event.at for event in running.events() if event.what == END]
    return since(ended[-1], end) if ended else "never"
