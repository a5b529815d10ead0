"""The faults of a driver, its workers and its journals. Each returns whether it has happened."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import psutil
from chaos.checks import check_saved, check_unsaved
from chaos.driver import OUTSIDE_RUN_EXIT_CODE
from chaos.processes import workers_of
from chaos.records import frames_of, journals, records_in, records_on_disk
from chaos.studies import Driver, Study
from chaos.violation import Violation, expect


def kill(study: Study) -> bool:
    resumes = study.driver.action == "resume"
    study.count_fault("kill a driver that resumes" if resumes else "kill driver")
    _kill_driver(study)
    return True


def damage(study: Study) -> bool:
    """Kill the driver, and damage its journal."""
    _kill_driver(study)
    left = [path for path in journals(study.calc) if path.stat().st_size]
    if not left:
        study.count_fault("kill driver")
        return True
    path = study.rng.choice(left)
    before = path.read_bytes()
    how = study.rng.choice([_cut, _append_garbage, _flip])
    study.count_fault(f"kill driver and {how.__name__.strip('_').replace('_', ' ')}")
    path.write_bytes(how(before, study.rng))
    cut_away = records_in(before).keys() - records_on_disk(study.calc).keys()
    for pset_id in cut_away & study.acknowledged.keys():
        del study.begun[study.acknowledged.pop(pset_id)]
    return True


def stop(study: Study) -> bool:
    """Stop the driver by SIGTERM, or by SIGINT to all its processes, as a terminal does."""
    driver, rng = study.driver, study.rng
    name = rng.choice(["SIGTERM", "SIGINT"])
    study.count_fault(name)
    twice = rng.random() < 0.3
    _send(name, driver)
    if twice:
        time.sleep(rng.uniform(0, 0.3))
        if driver.lives:
            _send(name, driver)
    code = study.wait_for_exit()
    late = code in (-signal.SIGINT, -signal.SIGTERM)
    if late and study.log.has("returned", driver.log_start):
        code = OUTSIDE_RUN_EXIT_CODE  # Python had removed the handlers of the driver by then
    if code not in (0, OUTSIDE_RUN_EXIT_CODE):
        raise Violation(f"the driver ended with status {code} on {name}")
    study.acknowledge()
    in_run = code == 0 or study.log.count("begin", driver.log_start)
    if in_run and (driver.action == "run" or len(study.sizes) == 1):
        check_saved(study, driver, twice)
    return True


def kill_worker(study: Study) -> bool:
    driver = study.driver
    if driver.where == "external":
        parents = [nanny.pid for nanny in study.external.nannies]
    else:
        parents = [driver.process.pid]
    workers = [worker for parent in parents for worker in workers_of(parent)]
    if not workers:
        return False
    with suppress(psutil.NoSuchProcess):
        study.rng.choice(workers).kill()
    study.count_fault(f"kill worker, {driver.where}")
    return True


def kill_nanny(study: Study) -> bool:
    """Kill a nanny, and start another. The worker of the first must end."""
    nannies = study.external.nannies
    nanny = nannies.pop(study.rng.randrange(len(nannies)))
    workers = workers_of(nanny.pid)
    nanny.kill()
    nanny.wait()
    study.count_fault("kill nanny")
    study.external.add_worker()
    expect(
        lambda: not any(worker.is_running() for worker in workers),
        "the worker of a killed nanny ends",
    )
    return True


FAULTS = {
    "sync": {kill: 4, damage: 3, stop: 3},
    "local": {kill_worker: 8, kill: 2, damage: 1, stop: 2},
    "external": {kill_nanny: 4, kill_worker: 3, kill: 1, stop: 1},
}
"""The weights of the faults, by where the driver runs its psets."""


def _kill_driver(study: Study) -> None:
    """Kill the driver, and count in which phase of its run that was."""
    driver, tally = study.driver, study.tally
    driver.process.kill()
    study.wait_for_exit()
    study.acknowledge()
    tally["killed while it replaced a file"] += bool(list(study.calc.rglob("*.tmp")))
    check_unsaved(study, driver)
    if not study.log.count("begin", driver.log_start):
        tally["killed before the first pset"] += 1
    elif not study.is_complete():
        tally["killed in the middle"] += 1
    elif journals(study.calc):
        tally["killed in the merge"] += 1
    else:
        tally["killed after the merge"] += 1


def _send(name: str, driver: Driver) -> None:
    with suppress(ProcessLookupError):
        if name == "SIGINT":
            os.killpg(driver.process.pid, signal.SIGINT)
        else:
            driver.process.terminate()


def _cut(journal: bytes, rng: random.Random) -> bytes:
    """Return a journal that ends at a random place within or behind the last frames."""
    ends = [0, *(end for end, _ in frames_of(journal))]
    return journal[: rng.randint(ends[max(0, len(ends) - 4)], len(journal))]


def _append_garbage(journal: bytes, rng: random.Random) -> bytes:
    return journal + rng.randbytes(rng.randint(1, 200))


def _flip(journal: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(journal))
    return journal[:place] + bytes([journal[place] ^ 1 << rng.randrange(8)]) + journal[place + 1 :]
