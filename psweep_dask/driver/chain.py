"""A script that runs as a chain of batch jobs: each job goes on where the one before has ended.

The jobs of a chain run the same script. A call of `run` that an earlier job has finished returns
the database at once. The call in which that job was stopped is resumed. The others run as usual.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from psweep_dask._logging import show_log_lines
from psweep_dask.driver.prepared_run import PreparedRun
from psweep_dask.driver.resume import resume
from psweep_dask.options import Options
from psweep_dask.params.pset import check_params
from psweep_dask.study.load import load_from
from psweep_dask.study.run import layout_of
from psweep_dask.study.runs import StoredRun, stored_runs
from psweep_dask.study.stop import was_terminated
from psweep_dask.worker.work import Func

log = logging.getLogger("psweep_dask")

STOPPED = os.EX_TEMPFAIL  # exit code of a script that was stopped before its end


class Chain:
    """The calls of `run` in one job of a chain. All its jobs have the same id."""

    def __init__(self, chain_id: str) -> None:
        self._id = chain_id
        self._calls: Counter[str] = Counter()

    def start(
        self, func: Func, params: Iterable[Mapping[str, Any]], options: Options
    ) -> pd.DataFrame:
        """Take the place of `psweep_dask.driver.run.start`.

        If the batch system has asked this job to stop, SystemExit leaves the rest to the next job.
        """
        psets, digests = check_params(params)
        params_sha1 = hashlib.sha1(digests, usedforsecurity=False).hexdigest()
        call = {"chain": self._id, "params": params_sha1}
        stored = self._stored_run(call, options)
        if stored is None:
            df = PreparedRun(func, psets, options, info=call).go()
        elif stored.ended_early:
            names = inspect.signature(resume).parameters.keys() & vars(options).keys()
            same = {name: getattr(options, name) for name in names}
            df = resume(func=func, run_id=stored.run_id, **same)
        else:
            show_log_lines()
            log.info("run %s is done already, by an earlier job", stored.run_id)
            df = load_from(stored.layout)
        if was_terminated():
            raise SystemExit(STOPPED)
        return df

    def _stored_run(self, call: dict[str, str], options: Options) -> StoredRun | None:
        """Return the run that this call began in an earlier job. Equal calls have their order."""
        if not options.save or options.simulate:
            return None
        runs = [run for run in stored_runs(layout_of(options)) if call.items() <= run.info.items()]
        number = self._calls[call["params"]]
        self._calls[call["params"]] += 1
        return runs[number] if number < len(runs) else None
