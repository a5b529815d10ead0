"""When a fault happens: at the start, in the middle, in the merge at the end, or in between."""

from __future__ import annotations

import os
import time
from pathlib import Path

from chaos.studies import Study
from chaos.violation import expect, wait


def await_instant(study: Study) -> None:
    """Wait for a random moment in the life of the driver."""
    driver, log, rng = study.driver, study.log, study.rng
    phase = rng.choice(["pause", "middle", "middle", "end", "disk", "disk"])
    moment = rng.uniform(0, 0.03)
    if phase == "pause":
        longest = (1.2 if driver.where == "sync" else 3) if driver.fresh else 1
        wait(rng.uniform(0, longest), lambda: not driver.lives)
    elif phase == "middle":
        start = log.size()
        enough = rng.randint(1, max(1, _planned(study) - len(study.begun)))
        expect(
            lambda: log.count("begin", start).total() >= enough or study.is_over(),
            "the run gets into its middle",
        )
    elif phase == "end":
        expect(
            lambda: len(log.count("end")) >= _planned(study) or study.is_over(),
            "the run comes to its end",
        )
    else:
        _await_changes(study, rng.choice([1, 2, 3, 4, 6, 8]))
        moment /= 10
    time.sleep(moment)
    if phase in ("pause", "middle"):  # reading takes longer than the other moments
        study.acknowledge()


def _planned(study: Study) -> int:
    """Return the number of psets of all runs, also of the run that is about to begin."""
    return sum(study.sizes.values()) + (study.next_run[1] if study.next_run else 0)


def _await_changes(study: Study, count: int) -> None:
    """Wait for changes of files: numbers are reserved then, or rows are merged."""
    before = _names(study.calc)

    def changed() -> bool:
        nonlocal before, count
        now = _names(study.calc)
        count -= now != before
        before = now
        return count <= 0 or study.is_over()

    expect(changed, "files change")


def _names(folder: Path) -> frozenset[str]:
    """Return the paths of all files. os.walk passes over folders that are removed meanwhile."""
    walk = os.walk(folder)
    return frozenset(os.path.join(root, name) for root, _, files in walk for name in files)
