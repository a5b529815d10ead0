"""The writing of batch jobs: a folder for each pset, its row, and the scripts that submit them."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from psweep_dask._format import shown_commands
from psweep_dask.errors import PsweepError
from psweep_dask.monitoring.progress import Progress
from psweep_dask.offline.job_files import JobTemplates, values_for
from psweep_dask.offline.submissions import RunScriptBuilder
from psweep_dask.options import Options
from psweep_dask.storage import record
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.record import Record
from psweep_dask.study.run import Run
from psweep_dask.study.stop import Stop, Stopper
from psweep_dask.worker.work import SliceResult, Work, fields_at_end

log = logging.getLogger("psweep_dask")

PSETS_PER_FRAME = 100
"""Psets between two frames of the journal: what a kill can cost, to be written again."""


class JobWriteError(PsweepError):
    """Jobs that cannot be written."""


class JobWriter:
    """Writes the jobs of one run, and its rows.

    Parameters
    ----------
    run : Run
    work : Work
        With func, where jobs call one.
    files : JobFiles
    options : Options
    """

    def __init__(self, run: Run, work: Work, files: JobTemplates, options: Options) -> None:
        self._run = run
        self._work = work
        self._files = files
        self._good = "simulated" if options.simulate else "prepared"
        self._stopper = Stopper(run.folder.stop_path)
        self._progress = Progress(
            len(run.plan), options.progress, options.verbose, ok_status=self._good
        )

    def go(self, submissions: Mapping[str, RunScriptBuilder]) -> pd.DataFrame:
        """Write all of it, and give the whole database.

        Parameters
        ----------
        submissions : Mapping
            What is to be submitted, by machine; it gets the jobs, and is written as well.

        Raises
        ------
        PreparationError
            If something cannot be written; what is there is in the database.
        """
        run = self._run
        try:
            packed = self._work.pack()
            run.write_plan(packed)
            if self._work.func:
                path = run.folder.work_path
                replace_file(path, lambda stream: stream.write(packed))
        except BaseException:
            run.discard()
            raise
        ended = "broken off"
        try:
            with self._stopper.catch_signals():
                self._write_folders(submissions)
                with run.layout.lock():
                    paths = [one.write(run.layout) for one in submissions.values()]
            ended = "stopped" if self._progress.stats.left else self._good
        except OSError as err:
            raise JobWriteError(
                f"cannot write {err.filename!r}: {err.strerror}; ps.prep_rest goes on when that is "
                "mended"
            ) from err
        finally:
            self._progress.close(remarks=self._remarks(ended))
            df = run.finish(ended, self._progress.stats.counts())
        log.info("to submit the jobs: %s", shown_commands(paths))
        return df

    def _write_folders(self, submissions: Mapping[str, RunScriptBuilder]) -> None:
        plan, layout = self._run.plan, self._run.layout
        records: list[Record] = []
        told = time.monotonic()
        for place, (seq, pset) in enumerate(zip(plan.seqs, plan.psets, strict=True)):
            values, stamp = values_for(self._work, pset, seq, plan.digest(place).hex())
            scripts = self._files.write(layout.pset_folder(values["_pset_id"]), values)
            for name, script in scripts.items():
                submissions[name].add(plan, seq, script)
            ours = fields_at_end(self._good, None, None, math.nan, 1)
            records.append({**values, "_time_utc": stamp, **ours})
            if len(records) == PSETS_PER_FRAME or time.monotonic() - told > 1.0:
                self._keep(records)
                told = time.monotonic()
            if self._stopper.poll() > Stop.NO:
                break
        self._keep(records)

    def _keep(self, records: list[Record]) -> None:
        if records:
            counts = Counter({self._good: len(records)})
            result = SliceResult(record.pack(records), len(records), statuses=counts)
            self._run.journal.append(result.frame)
            self._progress.update(result)
            records.clear()

    def _remarks(self, ended: str) -> list[str]:
        left = self._progress.stats.left
        call = f"ps.prep_rest({self._run.layout.calc_dir!r})"
        return [f"{ended}, {call} prepares the {left} left"] if left else []
