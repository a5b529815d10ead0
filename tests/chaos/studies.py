"""A study and its drivers: how they start and end, and which records were seen on disk so far."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from chaos.external import External
from chaos.func_log import FuncLog
from chaos.processes import await_end_of, marked
from chaos.records import records_on_disk
from chaos.violation import MAX_WAIT_SECONDS, Violation, expect

DRIVER = Path(__file__).with_name("driver.py")

T = TypeVar("T")


@dataclass
class Driver:
    """A driver that is running, or has just ended."""

    process: subprocess.Popen
    action: str
    where: str
    log_start: int
    stderr: Path
    fresh: bool = True

    @property
    def lives(self) -> bool:
        return self.process.poll() is None


@dataclass
class Study:
    """A study with all its runs, drivers and faults.

    Attributes
    ----------
    sizes : dict of int to int
        Number of psets of each run whose plan is on disk.
    acknowledged : dict of str to int
        By ``_pset_id``, the ``_pset_seq`` of each record that was seen on disk.
    begun : dict of int to int
        How often a pset had been evaluated when its record was seen: this must not increase.
    next_run : tuple of int, optional
        Number and size of the run whose plan the driver may be about to write.
    """

    folder: Path
    rng: random.Random
    external: External
    places: dict[str, int]
    tally: Counter[str]
    sizes: dict[int, int] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    driver: Driver | None = None
    next_run: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.calc = self.folder / "calc"
        self.log = FuncLog(self.folder / "log")

    def start_run_or_resume(self) -> None:
        """Start a driver: it resumes runs, or begins another run, which recovers dead ones."""
        new = self.is_complete() or (len(self.sizes) < 3 and self.rng.random() < 0.2)
        self.start("run" if new else "resume")

    def start(self, action: str) -> None:
        """Start a driver that runs its psets at a random place, and wait until it is up."""
        where = self.choose(self.places)
        params_path = self.folder / f"params-{len(self.sizes)}.json"
        if action == "run":
            psets = self._params(where)
            params_path.write_text(json.dumps(psets))
            self.next_run = len(self.sizes), len(psets)
        address = self.external.address() if where == "external" else where
        self.tally["drivers"] += 1
        stderr = self.folder / f"stderr-{self.tally['drivers']}"
        log_start = self.log.size()
        with stderr.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, DRIVER, action, address, self.log.path, params_path],
                cwd=self.folder,
                stderr=stream,
                env=marked(str(self.folder)),
                start_new_session=True,
            )
        self.driver = Driver(process, action, where, log_start, stderr)
        expect(lambda: self.log.has("up", log_start), "the driver starts")

    def wait_for_exit(self) -> int:
        """Wait until the driver and all that it has started have ended; return its exit code."""
        try:
            code = self.driver.process.wait(MAX_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise Violation("the driver does not end") from None
        await_end_of(str(self.folder))
        if self.next_run is not None and self._count_plans() > len(self.sizes):
            number, count = self.next_run
            self.sizes[number] = count
        self.next_run = None
        self._keep_traceback(code)
        self.driver = None
        return code

    def acknowledge(self) -> None:
        """Note the records on disk: from now on they must stay, and their psets not run again."""
        seqs = records_on_disk(self.calc)
        new = seqs.keys() - self.acknowledged.keys()
        begins = self.log.count("begin")  # read after the records: none of them may begin again
        for pset_id in new:
            self.acknowledged[pset_id] = seq = seqs[pset_id]
            self.begun[seq] = begins[seq]
        self.tally["acknowledged"] += len(new)

    def count_fault(self, fault: str) -> None:
        """Count a fault that has happened: a round."""
        self.faults.append(fault)
        self.tally[fault] += 1

    def is_complete(self) -> bool:
        return len(self.begun) == sum(self.sizes.values())

    def is_over(self) -> bool:
        return not self.driver.lives or self.log.has("returned", self.driver.log_start)

    def choose(self, weights: dict[T, int]) -> T:
        return self.rng.choices(list(weights), list(weights.values()))[0]

    def _params(self, where: str) -> list[dict[str, object]]:
        count = self.rng.randint(40, 200)
        seconds = self.rng.uniform(0.4, 1.5) if where == "sync" else self.rng.uniform(1.5, 4)
        longest = max(0.002, min(0.05, 2 * seconds / count))
        common = {"run": len(self.sizes), "_log": str(self.log.path)}
        return [
            {"a": a, "seconds": self.rng.uniform(0.001, longest)} | common for a in range(count)
        ]

    def _count_plans(self) -> int:
        return len(list(self.calc.glob("runs/*/plan.pk")))

    def _keep_traceback(self, code: int) -> None:
        text = self.driver.stderr.read_text()
        if "Traceback" in text or "Exception" in text:
            self.tally["drivers with a traceback"] += 1
            keep = self.folder.parent / f"traceback-{self.folder.name}-{self.driver.stderr.name}"
            keep.write_text(f"{self.faults}, exit status {code}\n{text}")
