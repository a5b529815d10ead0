"""Studies in a storm: processes are killed at random, journals damaged, and nothing may go wrong.

A round is one fault that hits, and the checks after it, against what func itself has logged::

    python tests/chaos/storm.py --rounds 1000 --seed 0

What happens in a study follows from the seed and the number of the study; when exactly depends on
the machine. A violation is told with both, and its folder is kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pickle
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil

import psweep_dask as ps
from psweep_dask.pset import pset_id
from psweep_dask.recovery import NoStudyError

DRIVER = Path(__file__).with_name("driver.py")
OUTSIDE = 75  # as in there
MARK = "PSWEEP_DASK_STORM"
"""Environment variable by which the processes of a study are known."""

PATIENCE = 60.0
"""Seconds until something that should happen counts as never."""

LONGEST_SLICE = 0.55
"""Seconds: the budget of a slice, and the longest pset in which it may run out."""

REFUSALS = ("LocalClusterError", "in _check_workers")
"""What a traceback tells if a worker dies in its start, or is asked before anything has run."""

FAULTS = {
    "sync": {"kill": 4, "damage": 3, "stop": 3},
    "local": {"worker": 8, "kill": 2, "damage": 1, "stop": 2},
    "external": {"nanny": 4, "worker": 3, "kill": 1, "stop": 1},
}
"""How often which fault, by where the driver runs its psets."""

SMALL = {"sync": 9, "local": 2, "external": 1}
LARGE = {"sync": 2, "local": 3, "external": 2}
"""How often which place, where time is short and where it is not."""


class Violation(Exception):
    """Something that psweep_dask promises did not hold."""


class External:
    """A cluster that outlives drivers: a scheduler, and workers under nannies of their own."""

    def __init__(self, folder: Path) -> None:
        self.mark = f"{folder} cluster"
        self.file = folder / "scheduler.json"
        self._log = (folder / "cluster.log").open("ab")
        self._scheduler: subprocess.Popen | None = None
        self.nannies: list[subprocess.Popen] = []

    def address(self) -> str:
        if self._scheduler is None:
            self._scheduler = self._start("dask_scheduler", "--port", "0")
            self.add_worker()
            self.add_worker()
        return str(self.file)

    def add_worker(self) -> None:
        self.nannies.append(self._start("dask_worker", "--nthreads", "1", "--nworkers", "1"))

    def close(self) -> None:
        for process in [*self.nannies, self._scheduler]:
            if process is not None:
                process.terminate()
                process.wait(PATIENCE)
        self._log.close()
        await_end_of(self.mark)

    def _start(self, name: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.{name}", *options]
        command += ["--scheduler-file", str(self.file), "--host", "127.0.0.1", "--no-dashboard"]
        folder = self.file.parent
        return subprocess.Popen(
            command, cwd=folder, stdout=self._log, stderr=self._log, env=marked(self.mark)
        )


@dataclass
class Driver:
    """A driver that lives, or has just died."""

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
class Log:
    """What func has logged: each begin and end of an evaluation, in their order."""

    path: Path

    def lines(self, start: int = 0) -> list[tuple[int, int, str, float]]:
        """Give all from a line on but the last, if that is half written."""
        with suppress(FileNotFoundError):
            whole = self.path.read_text().split("\n")[start:-1]
            fields = map(str.split, whole)
            return [(int(seq), int(pid), phase, float(time)) for seq, pid, phase, time in fields]
        return []

    def size(self) -> int:
        return len(self.lines())

    def count(self, phase: str, start: int = 0) -> Counter[int]:
        return Counter(seq for seq, _, what, _ in self.lines(start) if what == phase and seq >= 0)

    def says(self, phase: str, start: int) -> bool:
        return any(what == phase for _, _, what, _ in self.lines(start))


@dataclass
class Study:
    """A study with all its runs, drivers and faults.

    Attributes
    ----------
    sizes : dict of int to int
        How many psets each run has whose plan is on disk.
    acknowledged : dict of str to int
        By ``_pset_id`` the ``_pset_seq`` of each record that was seen on disk.
    begun : dict of int to int
        How often a pset had been evaluated when its record was seen: never again after that.
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
    planned: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.calc = self.folder / "calc"
        self.database = self.calc / "database.pk"
        self.log = Log(self.folder / "log")

    # The course of events.

    def storm(self, rounds: int) -> None:
        """Let so many faults hit, then finish the study."""
        while len(self.faults) < rounds:
            if self.driver is None:
                self._start_some()
            kind = _chosen(self.rng, FAULTS[self.driver.where])
            self._await_instant()
            self.driver.fresh = False
            if not self.driver.lives or not getattr(self, f"_{kind}")():
                self.tally["missed"] += 1
            else:
                self.check()
            if self.driver is not None and not self.driver.lives:
                self._ended_by_itself()
        self._finish()

    def _start_some(self) -> None:
        """Resume what there is, or begin another run, which recovers dead ones on its way."""
        new = self._is_complete() or (len(self.sizes) < 3 and self.rng.random() < 0.2)
        self._start("run" if new else "resume", _chosen(self.rng, self.places))

    def _start(self, action: str, where: str) -> None:
        params_path = self.folder / f"params-{len(self.sizes)}.json"
        if action == "run":
            psets = self._params(where)
            params_path.write_text(json.dumps(psets))
            self.planned = len(self.sizes), len(psets)
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
        self._await(lambda: self.log.says("up", self.driver.log_start), "the driver starts")

    def _params(self, where: str) -> list[dict[str, object]]:
        count = self.rng.randint(40, 200)
        seconds = self.rng.uniform(0.4, 1.5) if where == "sync" else self.rng.uniform(1.5, 4)
        longest = max(0.002, min(0.05, 2 * seconds / count))
        common = {"run": len(self.sizes), "_log": str(self.log.path)}
        return [
            {"a": a, "seconds": self.rng.uniform(0.001, longest)} | common for a in range(count)
        ]

    def _is_complete(self) -> bool:
        return len(self.begun) == sum(self.sizes.values())

    def _await_instant(self) -> None:
        """Wait for a moment in the start, in the middle, in the merge at the end, or in between."""
        driver, log, rng = self.driver, self.log, self.rng
        phase = rng.choice(["pause", "middle", "middle", "end", "disk", "disk"])
        moment = rng.uniform(0, 0.03)
        if phase == "pause":
            longest = (1.2 if driver.where == "sync" else 3) if driver.fresh else 1
            _wait(rng.uniform(0, longest), lambda: not driver.lives)
        elif phase == "middle":
            start = log.size()
            enough = rng.randint(1, max(1, self._planned() - len(self.begun)))
            self._await(
                lambda: log.count("begin", start).total() >= enough or self._is_over(),
                "the run gets into its middle",
            )
        elif phase == "end":
            self._await(
                lambda: len(log.count("end")) >= self._planned() or self._is_over(),
                "the run comes to its end",
            )
        else:
            self._await_changes(rng.choice([1, 2, 3, 4, 6, 8]))
            moment /= 10
        time.sleep(moment)
        if phase in ("pause", "middle"):  # reading takes longer than the other moments
            self._look()

    def _await_changes(self, count: int) -> None:
        """Wait until files were made, renamed or removed: numbers reserved, rows merged."""
        before = _names(self.calc)

        def changed() -> bool:
            nonlocal before, count
            now = _names(self.calc)
            count -= now != before
            before = now
            return count <= 0 or self._is_over()

        self._await(changed, "files change")

    def _planned(self) -> int:
        """Count the psets of all runs, with that of the run that is just about to begin."""
        return sum(self.sizes.values()) + (self.planned[1] if self.planned else 0)

    def _is_over(self) -> bool:
        return not self.driver.lives or self.log.says("returned", self.driver.log_start)

    def _finish(self) -> None:
        """Let the driver that lives come to its end, and resume until nothing is left."""
        if self.driver is not None:
            self._ended_by_itself()
        if not self.sizes or not self._is_complete() or list(self.calc.glob("runs/*/journal")):
            self._start("resume" if self.sizes else "run", _chosen(self.rng, self.places))
            self._ended_by_itself()
        self.check_end()
        begins = sum(self.log.count("begin").values())
        self.tally["psets"] += len(self.begun)
        self.tally["recomputed"] += begins - len(self.begun)

    def _ended_by_itself(self) -> None:
        """Wait for a driver that no fault has ended."""
        driver = self.driver
        code = self._wait_for_exit()
        if code == 1 and any(name in driver.stderr.read_text() for name in REFUSALS):
            self.tally["refused to begin without a worker"] += 1
        elif code:
            raise Violation(f"the driver ended with status {code}")
        self._look()
        self.check()

    def _wait_for_exit(self) -> int:
        """Wait until the driver is gone, and with it all that it has started."""
        try:
            code = self.driver.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Violation("the driver does not end") from None
        await_end_of(str(self.folder))
        if self.planned is not None and len(self._plans()) > len(self.sizes):
            number, count = self.planned
            self.sizes[number] = count
        self.planned = None
        text = self.driver.stderr.read_text()
        if "Traceback" in text or "Exception" in text:
            self.tally["drivers with a traceback"] += 1
            keep = self.folder.parent / f"traceback-{self.folder.name}-{self.driver.stderr.name}"
            keep.write_text(f"{self.faults}, exit status {code}\n{text}")
        self.driver = None
        return code

    # The faults: each tells whether it hit.

    def _kill(self) -> bool:
        again = self.driver.action == "resume"
        self._hit("kill a driver that resumes" if again else "kill driver")
        self._kill_driver()
        return True

    def _damage(self) -> bool:
        """Kill the driver, and damage the journal that it leaves."""
        self._kill_driver()
        journals = [path for path in self.calc.glob("runs/*/journal") if path.stat().st_size]
        if not journals:
            self._hit("kill driver")
            return True
        path = self.rng.choice(journals)
        before = path.read_bytes()
        damage = self.rng.choice([_cut, _append_garbage, _flip])
        self._hit(f"kill driver and {damage.__name__.strip('_').replace('_', ' ')}")
        path.write_bytes(damage(before, self.rng))
        cut_away = records_in(before).keys() - records_on_disk(self.calc).keys()
        for one in cut_away & self.acknowledged.keys():
            del self.begun[self.acknowledged.pop(one)]
        return True

    def _stop(self) -> bool:
        """Stop in order: by SIGTERM, or by SIGINT to all processes, as a terminal does."""
        driver = self.driver
        self._hit(self.rng.choice(["SIGTERM", "SIGINT"]))
        twice = self.rng.random() < 0.3
        self._send_stop()
        if twice:
            self._hit_twice()
        code = self._wait_for_exit()
        if code in (-signal.SIGINT, -signal.SIGTERM) and self.log.says(
            "returned", driver.log_start
        ):
            code = OUTSIDE  # so late that Python had dropped the handlers of the driver
        if code not in (0, OUTSIDE):
            raise Violation(f"the driver ended with status {code} on {self.faults[-1]}")
        self._look()
        at_work = code == 0 or self.log.count("begin", driver.log_start)
        if at_work and (driver.action == "run" or len(self.sizes) == 1):
            in_database = records_in_database(self.database)
            lost = self.acknowledged.keys() - in_database.keys()
            if lost:
                raise Violation(f"after an orderly stop the database lacks {len(lost)} records")
            ended = self.log.count("end", driver.log_start).keys()
            unsaved = len(ended - set(in_database.values()))
            if unsaved and not twice:
                self.tally["psets finished in vain at an orderly stop"] += unsaved
        return True

    def _send_stop(self) -> None:
        with suppress(ProcessLookupError):
            if self.faults[-1] == "SIGINT":
                os.killpg(self.driver.process.pid, signal.SIGINT)
            else:
                self.driver.process.terminate()

    def _hit_twice(self) -> None:
        time.sleep(self.rng.uniform(0, 0.3))
        if self.driver.lives:
            self._send_stop()

    def _worker(self) -> bool:
        if self.driver.where == "external":
            parents = [nanny.pid for nanny in self.external.nannies]
        else:
            parents = [self.driver.process.pid]
        workers = [worker for parent in parents for worker in _workers_of(parent)]
        if not workers:
            return False
        with suppress(psutil.NoSuchProcess):
            self.rng.choice(workers).kill()
        self._hit(f"kill worker, {self.driver.where}")
        return True

    def _nanny(self) -> bool:
        """Kill a nanny, with which its worker must end, and start another."""
        nannies = self.external.nannies
        nanny = nannies.pop(self.rng.randrange(len(nannies)))
        workers = _workers_of(nanny.pid)
        nanny.kill()
        nanny.wait()
        self._hit("kill nanny")
        self.external.add_worker()
        self._await(
            lambda: not any(worker.is_running() for worker in workers),
            "the worker of a killed nanny ends",
        )
        return True

    def _kill_driver(self) -> None:
        """Kill it, and count in which part of its life that was."""
        driver = self.driver
        driver.process.kill()
        self._wait_for_exit()
        self._look()
        self.tally["killed while it replaced a file"] += bool(list(self.calc.rglob("*.tmp")))
        self._check_unsaved(driver)
        if not self.log.count("begin", driver.log_start):
            self.tally["killed before the first pset"] += 1
        elif not self._is_complete():
            self.tally["killed in the middle"] += 1
        elif list(self.calc.glob("runs/*/journal")):
            self.tally["killed in the merge"] += 1
        else:
            self.tally["killed after the merge"] += 1

    def _hit(self, fault: str) -> None:
        self.faults.append(fault)
        self.tally[fault] += 1

    # The checks.

    def _look(self) -> None:
        """Note what can be read on disk: from now on it must stay, and not be run again."""
        found = records_on_disk(self.calc)
        new = found.keys() - self.acknowledged.keys()
        begins = self.log.count("begin")  # after the records: none of them may begin again
        for one in new:
            self.acknowledged[one] = seq = found[one]
            self.begun[seq] = begins[seq]
        self.tally["acknowledged"] += len(new)

    def check(self) -> None:
        """Nothing that was acknowledged is lost, doubled, wrong, or evaluated again."""
        try:
            df = ps.load(self.calc)
        except NoStudyError:
            df = pd.DataFrame(columns=["_pset_id", "_pset_seq"])
        lost = self.acknowledged.keys() - set(df.get("_pset_id", ()))
        if lost:
            raise Violation(f"{len(lost)} acknowledged records are lost: {sorted(lost)}")
        for name, rows in (("ps.load", df), ("the database", _database(self.database))):
            _check_rows(name, rows)
        begins = self.log.count("begin")
        again = {seq: begins[seq] for seq, before in self.begun.items() if begins[seq] != before}
        if again:
            raise Violation(f"evaluated again in spite of a record: {again}, before {self.begun}")

    def _check_unsaved(self, driver: Driver) -> None:
        """A driver that runs psets itself loses those of one slice at most."""
        lines = self.log.lines(driver.log_start)
        seconds = sum(
            seconds
            for seq, pid, phase, seconds in lines
            if phase == "end" and pid == driver.process.pid and seq not in self.begun
        )
        if seconds > LONGEST_SLICE:
            raise Violation(f"{seconds} s of finished psets are not on disk")

    def check_end(self) -> None:
        """Every planned pset is there exactly once, and was evaluated as seldom as can be."""
        df = _database(self.database)
        if set(df["_pset_id"]) != set(ps.load(self.calc)["_pset_id"]):
            raise Violation("the database differs from ps.load")
        if sorted(df["run"].unique()) != sorted(self.sizes):
            raise Violation(f"runs {set(df['run'])} instead of {set(self.sizes)}")
        for number, rows in df.groupby("run"):
            if rows["_run_id"].nunique() != 1:
                raise Violation(f"run {number} has the ids {set(rows['_run_id'])}")
            if sorted(rows["a"]) != list(range(self.sizes[number])):
                raise Violation(f"run {number} has {len(rows)} of {self.sizes[number]} psets")
        often = {
            seq: times
            for seq, times in self.log.count("begin").items()
            if times > 1 + len(self.faults)
        }
        if often:
            raise Violation(f"evaluated too often for {len(self.faults)} faults: {often}")
        if list(self.calc.glob("runs/*/journal")):
            raise Violation("a journal is left")
        self.tally["temporary files left"] += len(list(self.calc.rglob("*.tmp")))

    def _plans(self) -> list[Path]:
        return list(self.calc.glob("runs/*/plan.pk"))

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        if not _wait(PATIENCE, condition):
            raise Violation(f"it did not happen that {what}")


def storm(
    rounds: int,
    seed: int,
    folder: Path,
    places: dict[str, int] = SMALL,
    first: int = 0,
    minutes: float = float("inf"),
) -> Counter[str]:
    """Weather so many rounds, and count what happened.

    Parameters
    ----------
    rounds, seed : int
    folder : Path
        For the studies, each of which is removed when nothing was wrong with it.
    places : dict, optional
        Weights of where drivers run their psets.
    first : int, optional
        Number of the first study.
    minutes : float, optional
        Begin no study after these.

    Raises
    ------
    Violation
        At the first, with all that it takes to look into it.
    """
    tally: Counter[str] = Counter()
    deadline = time.monotonic() + 60 * minutes
    external = External(folder)
    study = None
    try:
        for number in itertools.count(first):
            if tally["rounds"] >= rounds or time.monotonic() > deadline:
                return tally
            rng = random.Random(f"{seed} {number}")
            study = Study(folder / str(number), rng, external, places, tally)
            study.storm(min(rng.randint(4, 9), rounds - tally["rounds"]))
            tally["studies"] += 1
            tally["rounds"] += len(study.faults)
            shutil.rmtree(study.folder)
    except Exception as err:
        raise Violation(_description(seed, number, study, err)) from err
    finally:
        if study is not None and study.driver is not None and study.driver.lives:
            study.driver.process.kill()
            study.driver.process.wait()
        external.close()
    return tally


def _description(seed: int, number: int, study: Study | None, err: Exception) -> str:
    if study is None:
        return repr(err)
    latest = max(study.folder.glob("stderr-*"), key=lambda path: path.stat().st_mtime, default=None)
    told = latest.read_text()[-3000:] if latest is not None else ""
    driver = study.driver and (study.driver.action, study.driver.where)
    return (
        f"{err!r}\n--seed {seed} --first {number} --rounds {len(study.faults)}\n"
        f"faults: {study.faults}\ndriver: {driver}, kept in {study.folder}\n"
        f"stderr of the latest driver:\n{told}"
    )


def records_on_disk(calc: Path) -> dict[str, int]:
    """Find by ``_pset_id`` the ``_pset_seq`` of all that is in journals or the database."""
    found: dict[str, int] = {}
    for path in calc.glob("runs/*/journal"):
        with suppress(FileNotFoundError):  # merged meanwhile
            found |= records_in(path.read_bytes())
    return found | records_in_database(calc / "database.pk")


def records_in_database(path: Path) -> dict[str, int]:
    df = _database(path)
    return dict(zip(df["_pset_id"], df["_pset_seq"], strict=True))


def records_in(journal: bytes) -> dict[str, int]:
    return {one: seq for _, records in frames_of(journal) for one, seq in records.items()}


def frames_of(journal: bytes) -> list[tuple[int, dict[str, int]]]:
    """Read the whole frames, and where each ends: on purpose not by the code that is tested."""
    frames = []
    start = 0
    while len(header := journal[start : start + 12]) == 12:
        magic, length, crc = struct.unpack("<4sII", header)
        payload = journal[start + 12 : start + 12 + length]
        if magic != b"PSW1" or not length or len(payload) < length or zlib.crc32(payload) != crc:
            break
        start += 12 + length
        records: dict[str, int] = {}
        for names, columns in pickle.loads(payload):
            block = dict(zip(names, columns, strict=True))
            records |= dict(zip(block["_pset_id"], block["_pset_seq"], strict=True))
        frames.append((start, records))
    return frames


def _names(folder: Path) -> frozenset[Path]:
    return frozenset(folder.rglob("*"))


def _database(path: Path) -> pd.DataFrame:
    with suppress(FileNotFoundError):
        df = pd.read_pickle(path)
        if len(df):
            return df
    return pd.DataFrame(columns=["_pset_id", "_pset_seq"])


def _check_rows(name: str, df: pd.DataFrame) -> None:
    """Whatever is there is there once, and right."""
    for column in ("_pset_id", "_pset_seq"):
        if column in df and not df[column].is_unique:
            raise Violation(f"{name}: {column} has doubles: {df[column][df[column].duplicated()]}")
    for row in df.to_dict("records"):
        right = pset_id(row["_run_id"], int(row["_pset_seq"]))
        draw = ps.rng({"_pset_id": right}).random()
        told = row["_status"], row["_pset_id"], row["square"], row["draw"]
        if told != ("ok", right, row["a"] ** 2, draw):
            raise Violation(f"{name}: a row is wrong: {row}")


def _cut(journal: bytes, rng: random.Random) -> bytes:
    """Cut at a random place of the last frames, or behind them."""
    ends = [0, *(end for end, _ in frames_of(journal))]
    return journal[: rng.randint(ends[max(0, len(ends) - 4)], len(journal))]


def _append_garbage(journal: bytes, rng: random.Random) -> bytes:
    return journal + rng.randbytes(rng.randint(1, 200))


def _flip(journal: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(journal))
    return journal[:place] + bytes([journal[place] ^ 1 << rng.randrange(8)]) + journal[place + 1 :]


def _workers_of(pid: int) -> list[psutil.Process]:
    """Find the worker processes of a nanny, or of a driver with nannies in it."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children()
        return [one for one in children if "spawn_main" in " ".join(_command(one))]
    return []


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def marked(mark: str) -> dict[str, str]:
    """Give an environment by which processes and their children are found again."""
    return os.environ | {MARK: mark}


def await_end_of(mark: str) -> None:
    """Make sure that all processes of a mark end by themselves."""
    if not _wait(10.0, lambda: not _with_mark(mark)):
        left = [(one.pid, _command(one)) for one in _with_mark(mark)]
        raise Violation(f"processes are left: {left}")


def _with_mark(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def _wait(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _chosen(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first study")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--small", action="store_true", help="few clusters, as in the tests")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    started = time.monotonic()
    places = SMALL if asked.small else LARGE
    try:
        tally = storm(asked.rounds, asked.seed, folder, places, asked.first, asked.minutes)
    except Violation as err:
        sys.exit(str(err))
    for name, count in sorted(tally.items()):
        print(f"{count:8d} {name}")
    print(f"{time.monotonic() - started:8.0f} seconds")
    with suppress(OSError):  # it stays if there is something to look at
        (folder / "cluster.log").unlink()
        folder.rmdir()


if __name__ == "__main__":
    main()
