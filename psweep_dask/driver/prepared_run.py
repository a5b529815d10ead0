"""A run is prepared: input checked, numbers reserved, and the run written down in the study."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from psweep_dask._logging import show_log_lines
from psweep_dask.driver.execute import Execution
from psweep_dask.options import Options
from psweep_dask.params.pset import check_run_params
from psweep_dask.study import provenance
from psweep_dask.study.run import begin_run
from psweep_dask.worker import own_modules
from psweep_dask.worker.func import check_func, func_name, func_source, import_paths, pack_func
from psweep_dask.worker.own_modules import ModuleValues
from psweep_dask.worker.process_settings import log_settings, start_method
from psweep_dask.worker.work import Func, Work

log = logging.getLogger("psweep_dask")


class PreparedRun:
    """A run whose input is checked and whose numbers are reserved; `go` runs it.

    `attempts` has the number of attempts that earlier runs have made at each pset, `info` what else
    ``run.json`` is to hold, `module_values` what an earlier script had set in own modules if `func`
    comes from there. After a `PsweepError` nothing of the run is left on disk.
    """

    def __init__(
        self,
        func: Func,
        params: Iterable[Mapping[str, Any]],
        options: Options,
        attempts: list[int] | None = None,
        info: Mapping[str, Any] | None = None,
        module_values: ModuleValues | None = None,
    ) -> None:
        from psweep_dask.clusters import resolve  # distributed takes half a second to import

        show_log_lines()
        where = resolve.resolve("sync" if options.simulate else options.cluster)
        check_func(func)
        psets, digests = check_run_params(params)
        values = own_modules.reachable_values(func, *psets[:1])
        packed_func = pack_func(func, own_modules.references(values), needed=where != "sync")
        self._folder = Path.cwd()
        self._git = options.git
        if options.git:
            provenance.commit_local_changes(self._folder)
        run_info: dict[str, Any] = {"func": func_name(func), "source": func_source(func)}
        run_info |= {"cluster": resolve.describe(where), **(info or {})}
        self.run = begin_run(options, psets, digests, run_info, attempts or [])
        if len(self.run.plan) < len(psets):
            known = len(psets) - len(self.run.plan)
            log.info("%d of %d psets left out: the database has them", known, len(psets))
        shared_files = resolve.shares_files(where)
        work = Work(
            run_id=self.run.plan.run_id,
            run_seq=self.run.plan.run_seq,
            calc_dir=self.run.layout.calc_dir,
            func=packed_func,
            module_values=own_modules.packed(values) if module_values is None else module_values,
            log_settings=log_settings(),
            start_method=start_method(),
            cwd=str(self._folder) if shared_files else None,
            import_paths=import_paths(shared_files),
            simulate=options.simulate,
            tmpsave=options.tmpsave,
            capture_logs=options.capture_logs,
            stop_after=options.failure_limit,
            retries=options.retries,
            timeout=options.timeout,
            resources=dict(options.resources or {}),
        )
        own_func = func if module_values is None else None
        self.execution = Execution(self.run, work, where, options, own_func)

    def go(self) -> pd.DataFrame:
        """Run it to its end and return the whole database."""
        if not len(self.run.plan):
            log.info("nothing to run, the database stays as it is")
            return self.run.finish("done", {})
        try:
            return self.execution.go()
        finally:
            if self._git:
                provenance.commit_results(self._folder, self.run.plan.run_id)
