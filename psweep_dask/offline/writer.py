"""Write the jobs of a run: a folder and a row for each pset, and the scripts that submit them."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from psweep_dask._format import format_commands
from psweep_dask.errors import PsweepError
from psweep_dask.monitoring.progress import Progress
from psweep_dask.offline.job_files import JobTemplates, fill_values
from psweep_dask.offline.submissions import RunScriptBuilder
from psweep_dask.options import Options
from psweep_dask.storage import record
from psweep_dask.storage.atomic import replace_file
from psweep_dask.storage.record import Record
from psweep_dask.study.run import Run
from psweep_dask.study.stop import Stop, Stopper
from psweep_dask.worker.work import SliceResult, Work, WorkerProcess, fields_at_end

log = logging.getLogger("psweep_dask")

PSETS_PER_FRAME = 100  # as many psets are written again after a kill, at most
FRAME_INTERVAL_SECONDS = 1.0  # then a frame is written with fewer rows, so that the bar moves


class JobWriteError(PsweepError):
    """A file of a job that cannot be written. The rows of the jobs before it are kept."""


class JobWriter:
    """Writes the jobs of one run, and their rows. Its work has func, if the jobs call one."""

    def __init__(self, run: Run, work: Work, templates: JobTemplates, options: Options) -> None:
        self._run = run
        self._work = work
        self._templates = templates
        self._status = "simulated" if options.simulate else "prepared"
        self._stopper = Stopper(run.folder.stop_path)
        self._progress = Progress(
            len(run.plan), options.progress, options.verbose, ok_status=self._status
        )

    def write(self, run_scripts: Mapping[str, RunScriptBuilder]) -> pd.DataFrame:
        """Write the plan, the folders, the rows and the run scripts; return the whole database.

        The jobs are added to `run_scripts`, which are those of all machines by their names.
        """
        run, stats = self._run, self._progress.stats
        try:
            packed = self._work.pack()
            run.write_plan(packed)
            if self._work.func:
                replace_file(run.folder.work_path, lambda stream: stream.write(packed))
        except BaseException:
            run.discard()
            raise
        ended = "broken off"
        try:
            with self._stopper.catch_signals():
                self._write_folders(run_scripts)
                with run.layout.lock():
                    paths = [script.write(run.layout) for script in run_scripts.values()]
            ended = "stopped" if stats.left else self._status
        except OSError as err:
            raise JobWriteError(
                f"cannot write {err.filename!r}: {err.strerror}; correct that, and go on with "
                "ps.prep_rest"
            ) from err
        finally:
            rest = f"{ended}, ps.prep_rest({run.layout.calc_dir!r}) prepares the {stats.left} left"
            self._progress.close(remarks=[rest] if stats.left else [])
            df = run.finish(ended, stats.counts())
        if paths:
            log.info("to submit the jobs: %s", format_commands(paths))
        else:
            log.info("there is no machine, so no script that submits the jobs")
        return df

    def _write_folders(self, run_scripts: Mapping[str, RunScriptBuilder]) -> None:
        plan, layout = self._run.plan, self._run.layout
        at_end = fields_at_end(self._status, None, WorkerProcess(), math.nan, 1)
        records: list[Record] = []
        flushed = time.monotonic()
        for place, (seq, pset) in enumerate(zip(plan.seqs, plan.psets, strict=True)):
            values = fill_values(self._work, pset, seq, plan.digest(place).hex())
            job_scripts = self._templates.write(layout.pset_folder(values["_pset_id"]), values)
            for machine, job_script in job_scripts.items():
                run_scripts[machine].add(plan, seq, job_script)
            records.append({**values, "_time_utc": values["_time_utc"].value, **at_end})
            due = time.monotonic() - flushed > FRAME_INTERVAL_SECONDS
            if len(records) == PSETS_PER_FRAME or due:
                self._flush(records)
                flushed = time.monotonic()
            if self._stopper.poll() > Stop.NO:
                break
        self._flush(records)

    def _flush(self, records: list[Record]) -> None:
        """Append records to the journal, and clear the list."""
        if records:
            counts = Counter({self._status: len(records)})
            result = SliceResult(record.pack(records), len(records), statuses=counts)
            self._run.append(result.frame, result.rows)
            self._progress.update(result)
            records.clear()
