"""Studies in a storm: processes are killed at random, journals damaged, and nothing may go wrong.

A round is one fault that hits, and the checks after it, against what func itself has logged::

    python tests/chaos/storm.py --rounds 1000 --seed 0

What happens in a study follows from the seed and the number of the study; when exactly depends on
the machine. A violation is told with both, and its folder is kept.
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
"""How often which place, where time is short and where it is not."""

REFUSALS = ("LocalClusterError",)
"""What a traceback tells if a worker dies in its start."""


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
            _strike(study, min(rng.randint(4, 9), rounds - tally["rounds"]))
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


def _strike(study: Study, rounds: int) -> None:
    """Let so many faults hit."""
    while len(study.faults) < rounds:
        if study.driver is None:
            study.start_some()
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
    """Let the driver that lives come to its end, and resume until nothing is left."""
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
    if code == 1 and any(name in driver.stderr.read_text() for name in REFUSALS):
        study.tally["refused to begin without a worker"] += 1
    elif code:
        raise Violation(f"the driver ended with status {code}")
    study.acknowledge()
    check(study)


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
