"""The storm: processes are killed at random times, journals are damaged, and nothing may be lost.

A round is one fault and the checks after it. They compare with what func itself has logged::

    python tests/chaos/storm.py --rounds 1000 --seed 0

The faults of a study follow from the seed and the number of the study; their times depend on the
machine. The message of a violation has both numbers, and the folder of its study is kept.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":  # as pytest does it
    sys.path.append(str(Path(__file__).parents[1]))

from chaos.checks import check, check_end
from chaos.external import External
from chaos.faults import FAULTS
from chaos.instants import await_instant
from chaos.records import journals
from chaos.studies import Study
from chaos.violation import Violation

SMALL = {"sync": 9, "local": 2, "external": 1}
LARGE = {"sync": 2, "local": 3, "external": 2}
"""The weights of the places where drivers run psets: with few clusters, and with many."""

START_ERRORS = ("LocalClusterError",)
"""Errors of a driver whose worker was killed while it started."""


def storm(
    rounds: int,
    seed: int,
    folder: Path,
    places: dict[str, int] = SMALL,
    first: int = 0,
    minutes: float = float("inf"),
) -> Counter[str]:
    """Run so many rounds, and return how often each thing has happened.

    Parameters
    ----------
    rounds : int
    seed : int
    folder : Path
        For the studies. The folder of a study without a violation is removed.
    places : dict, optional
        The weights of the places where drivers run their psets.
    first : int, optional
        Number of the first study.
    minutes : float, optional
        No study begins after this time.

    Raises
    ------
    Violation
        At the first violation, with what is needed to examine it.
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
            _run_rounds(study, min(rng.randint(4, 9), rounds - tally["rounds"]))
            _finish(study)
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


def _run_rounds(study: Study, rounds: int) -> None:
    """Cause so many faults, and check after each."""
    while len(study.faults) < rounds:
        if study.driver is None:
            study.start_run_or_resume()
        fault = study.choose(FAULTS[study.driver.where])
        await_instant(study)
        study.driver.fresh = False
        if not study.driver.lives or not fault(study):
            study.tally["missed"] += 1
        else:
            check(study)
        if study.driver is not None and not study.driver.lives:
            _end_by_itself(study)


def _finish(study: Study) -> None:
    """Wait until the driver has ended, and resume until nothing is left."""
    if study.driver is not None:
        _end_by_itself(study)
    if not study.sizes or not study.is_complete() or journals(study.calc):
        study.start("resume" if study.sizes else "run")
        _end_by_itself(study)
    check_end(study)
    begins = study.log.count("begin").total()
    study.tally["psets"] += len(study.begun)
    study.tally["recomputed"] += begins - len(study.begun)


def _end_by_itself(study: Study) -> None:
    """Wait for a driver that no fault has ended."""
    driver = study.driver
    code = study.wait_for_exit()
    if code == 1 and any(name in driver.stderr.read_text() for name in START_ERRORS):
        study.tally["drivers that did not start without a worker"] += 1
    elif code:
        raise Violation(f"the driver ended with status {code}")
    study.acknowledge()
    check(study)


def _description(seed: int, number: int, study: Study | None, err: Exception) -> str:
    if study is None:
        return repr(err)
    latest = max(study.folder.glob("stderr-*"), key=lambda path: path.stat().st_mtime, default=None)
    stderr = latest.read_text()[-3000:] if latest is not None else ""
    driver = study.driver and (study.driver.action, study.driver.where)
    return (
        f"{err!r}\n--seed {seed} --first {number} --rounds {len(study.faults)}\n"
        f"faults: {study.faults}\ndriver: {driver}, kept in {study.folder}\n"
        f"stderr of the latest driver:\n{stderr}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first study")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--small", action="store_true", help="few clusters, as in the tests")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    started = time.monotonic()
    places = SMALL if options.small else LARGE
    try:
        tally = storm(options.rounds, options.seed, folder, places, options.first, options.minutes)
    except Violation as err:
        sys.exit(str(err))
    for name, count in sorted(tally.items()):
        print(f"{count:8d} {name}")
    print(f"{time.monotonic() - started:8.0f} seconds")
    with suppress(OSError):  # the folder is kept if there are tracebacks in it
        (folder / "cluster.log").unlink()
        folder.rmdir()


if __name__ == "__main__":
    main()
