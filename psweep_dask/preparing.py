"""The writing of batch jobs: a folder for each pset, its row, and the scripts that submit them."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from psweep_dask import record
from psweep_dask.errors import PsweepError
from psweep_dask.job_files import JobFiles, values_for
from psweep_dask.layout import Layout, replace_file
from psweep_dask.options import Options
from psweep_dask.progress import Progress
from psweep_dask.record import Record
from psweep_dask.stopping import Stop, Stopper
from psweep_dask.study import Run
from psweep_dask.submissions import Submissions, shown_commands
from psweep_dask.work import SliceResult, Work, our_fields, ship

log = logging.getLogger("psweep_dask")

BLOCK = 100
"""Psets between two frames of the journal: what a kill can cost, to be written again."""


class PreparationError(PsweepError):
    """Jobs that cannot be written."""


class Preparation:
    """Writes the jobs of one run, and its rows.

    Parameters
    ----------
    run : Run
    work : Work
        With func, where jobs call one.
    files : JobFiles
    options : Options
    array : bool
        One job array instead of many jobs, where that is possible.
    """

    def __init__(
        self, run: Run, work: Work, files: JobFiles, options: Options, array: bool
    ) -> None:
        self._run = run
        self._work = work
        self._files = files
        self._good = "simulated" if options.simulate else "prepared"
        self._stopper = Stopper(run.layout.stop_path(run.plan.run_id))
        self._progress = Progress(len(run.plan), options.progress, options.verbose, good=self._good)
        run_id, run_seq = run.plan.run_id, run.plan.run_seq
        self._submissions = {
            one.name: Submissions(one, run_id, run_seq, array and one.is_slurm)
            for one in files.machines
        }

    def go(self) -> pd.DataFrame:
        """Write all of it, and give the whole database.

        Raises
        ------
        PreparationError
            If something cannot be written; what is there is in the database.
        """
        run, layout = self._run, self._run.layout
        try:
            packed = record.dumps(self._work)
            run.write_plan(packed)
            if self._work.func:
                path = layout.work_path(run.plan.run_id)
                replace_file(path, lambda stream: stream.write(ship(packed)))
        except BaseException:
            run.discard()
            raise
        ended = "broken off"
        try:
            with self._stopper.listening():
                self._write_folders()
                paths = self._write_scripts(layout)
            complete = self._progress.done == self._progress.total
            ended = self._good if complete else "stopped"
        except OSError as err:
            raise PreparationError(
                f"cannot write {err.filename!r}: {err.strerror}; ps.prep_rest goes on when that is "
                "mended"
            ) from err
        finally:
            self._progress.close(remarks=self._remarks(ended))
            df = run.finish(ended, self._progress.counts())
        log.info("to submit the jobs: %s", shown_commands(paths))
        return df

    def _write_folders(self) -> None:
        plan, layout = self._run.plan, self._run.layout
        records: list[Record] = []
        told = time.monotonic()
        for place, (seq, pset) in enumerate(zip(plan.seqs, plan.psets, strict=True)):
            values, stamp = values_for(self._work, pset, seq, plan.digest(place).hex())
            scripts = self._files.write(layout.pset_folder(values["_pset_id"]), values)
            for name, script in scripts.items():
                self._submissions[name].add(values["_pset_id"], seq, script)
            ours = our_fields(self._good, None, None, math.nan, 1)
            records.append({**values, "_time_utc": stamp, **ours})
            if len(records) == BLOCK or time.monotonic() - told > 1.0:
                self._keep(records)
                told = time.monotonic()
            if self._stopper.look() > Stop.NO:
                break
        self._keep(records)

    def _keep(self, records: list[Record]) -> None:
        if records:
            counts = Counter({self._good: len(records)})
            result = SliceResult(record.pack(records), len(records), statuses=counts)
            self._run.journal.append(result.frame)
            self._progress.update(result)
            records.clear()

    def _write_scripts(self, layout: Layout) -> list[Path]:
        with layout.lock():
            return [one.write(layout) for one in self._submissions.values()]

    def _remarks(self, ended: str) -> list[str]:
        left = self._progress.total - self._progress.done
        call = f"ps.prep_rest({self._run.layout.calc_dir!r})"
        return [f"{ended}, {call} prepares the {left} left"] if left else []
