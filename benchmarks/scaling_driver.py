"""The driver of an episode of scaling.py: psets in batch jobs, by ours or by dask-jobqueue."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dask
from common import Pset
from distributed import Client, as_completed

import psweep_dask
from psweep_dask.clusters.jobqueue_options import cluster_class
from psweep_dask.hpc.machine import read_machine

if TYPE_CHECKING:
    from dask_jobqueue.core import JobQueueCluster

MACHINE = "bench"
JOBS, SLOTS = 2, 2
"""Jobs at most, and psets at the same time in each."""

START, BEGIN, END = "start", "begin", "end"
TUNED = {
    "distributed.scheduler.unknown-task-duration": "60s",
    "distributed.deploy.lost-worker-timeout": "2s",
}


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


if __name__ == "__main__":
    drive(sys.argv[1])
