"""What a killed driver leaves outside of its study: batch jobs and credentials."""

from __future__ import annotations

import logging
import shutil

from psweep_dask import slurm
from psweep_dask.layout import PRIVATE_PREFIX
from psweep_dask.past import PastRun

log = logging.getLogger("psweep_dask")


def clear(past: PastRun) -> None:
    """Cancel the jobs of a dead run, and remove its credentials. The caller holds its lock.

    The jobs would end by themselves when they find no scheduler.
    """
    for folder in past.layout.run_dir(past.run_id).glob(f"{PRIVATE_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    path = past.jobs_path
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return
    names = {line.split()[1] for line in lines if len(line.split()) == 2}
    if not slurm.is_here():
        log.warning(
            "run %s has left jobs that cannot be cancelled from here, see %s", past.run_id, path
        )
        return
    for name in names:
        trouble = slurm.cancel_by_name(name)
        if trouble:
            log.warning("the jobs %s that run %s has left stay: %s", name, past.run_id, trouble)
            return
    log.info("cancelled what was left of the jobs of run %s", past.run_id)
    path.unlink()
