"""``submit``: a run that goes on in the background, in a script, a notebook or a REPL."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from psweep_dask.driver.prepared_run import PreparedRun
from psweep_dask.monitoring import notebook
from psweep_dask.options import Options
from psweep_dask.storage import frame
from psweep_dask.study.load import load_from
from psweep_dask.study.stop import Stop
from psweep_dask.worker.work import Func

if TYPE_CHECKING:  # distributed takes half a second to import
    from distributed import Client
    from distributed.deploy import Cluster


def submit(
    func: Func,
    params: Iterable[Mapping[str, Any]],
    *,
    cluster: str | Client | Cluster | None = None,
    df: pd.DataFrame | None = None,
    save: bool = True,
    tmpsave: bool = False,
    verbose: bool | Sequence[str] = False,
    calc_dir: str | os.PathLike[str] = "calc",
    simulate: bool = False,
    database_dir: str | os.PathLike[str] | None = None,
    database_basename: str = "database.pk",
    backup: bool = False,
    git: bool = False,
    skip_dups: bool = False,
    capture_logs: str | None = None,
    on_error: str | int = "record",
    retries: int = 0,
    timeout: float | None = None,
    resources: Mapping[str, float] | None = None,
    progress: bool | None = None,
) -> Sweep:
    """Do what `run` does, but in the background.

    Bad input is an error here and now. When Python ends before the run does, what runs is
    dropped and the rows there are go to the database; `resume` does the rest.

    Parameters
    ----------
    func, params
        As in `run`.
    cluster, df, save, tmpsave, verbose, calc_dir, simulate, database_dir, database_basename
        As in `run`.
    backup, git, skip_dups, capture_logs, on_error, retries, timeout, resources, progress
        As in `run`.

    Returns
    -------
    Sweep
        Shows how far it is, in a notebook live, and gives the result.

    Raises
    ------
    PsweepError
        If the input is bad.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> sweep = ps.submit(lambda pset: {"b": 2 * pset["a"]}, ps.plist("a", [1, 2]), save=False)
    >>> sweep.result().b.tolist()
    [2, 4]
    >>> sweep.progress
    {'ok': 2, 'left': 0}
    """
    options = Options.of(locals())
    return Sweep(PreparedRun(func, params, cluster, options))


class Sweep:
    """A run in the background, as `submit` gives it.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> sweep = ps.submit(lambda pset: {"b": 1}, ps.plist("a", [1, 2]), cluster="sync", save=False)
    >>> len(sweep.result()), sweep.done, sweep.df.b.tolist()
    (2, True, [1, 1])
    """

    def __init__(self, sweeping: PreparedRun) -> None:
        self._sweeping = sweeping
        self._rows = pd.DataFrame()
        self._seen = 0
        self._reading = threading.Lock()
        self._result: pd.DataFrame | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._go, name="psweep_dask", daemon=True)
        self._thread.start()
        _sweeps.add(self)
        _stop_all_at_exit()

    @property
    def run_id(self) -> str:
        """UUID of the run."""
        return self._sweeping.run.plan.run_id

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    @property
    def progress(self) -> dict[str, int]:
        """Number of psets by ``_status``, and under "left" how many have none yet."""
        return self._sweeping.conduct.progress.overview.counts()

    @property
    def df(self) -> pd.DataFrame:
        """The rows of this run that have finished so far; asking often is cheap."""
        with self._reading:
            try:
                blocks, self._seen = self._sweeping.run.journal.since(self._seen)
                self._rows = frame.append(self._rows, frame.from_blocks(blocks))
            except FileNotFoundError:  # merged and dropped
                df = load_from(self._sweeping.run.layout)
                self._rows = df[df["_run_id"] == self.run_id] if len(df) else df
            return self._rows

    @property
    def dashboard_link(self) -> str | None:
        """Address of the dashboard of the cluster, None before there is one."""
        return self._sweeping.conduct.dashboard_link

    def stop(self, now: bool = False) -> None:
        """Stop in order: hand out nothing new; `result` gives what there is.

        Parameters
        ----------
        now : bool, optional
            Drop what runs, instead of letting it finish.
        """
        self._sweeping.conduct.stopper.request(Stop.NOW if now else Stop.SOON)

    def result(self, timeout: float | None = None) -> pd.DataFrame:
        """Wait for the end and give the whole database, as `run` does.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Raises
        ------
        TimeoutError
            If it has not ended by then. It goes on.
        PsweepError
            What `run` would have raised.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._thread.is_alive():  # in steps, so that Ctrl-C ends the wait
            left = 1.0 if deadline is None else min(1.0, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"the run goes on after {timeout} s: {self!r}")
            self._thread.join(left)
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise RuntimeError(f"the thread of {self!r} has ended without a result")
        return self._result

    def _repr_html_(self) -> str:
        overview = self._sweeping.conduct.progress.overview
        return notebook.run_html(
            repr(self).partition(":")[0][1:], overview.numbers(), self.dashboard_link
        )

    def _ipython_display_(self) -> None:
        notebook.show(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{number} {status}" for status, number in self.progress.items())
        state = "ended" if self.done else "running"
        return f"<Sweep {self.run_id} {state}: {counts}>"

    def _go(self) -> None:
        try:
            self._result = self._sweeping.go()
        except BaseException as err:  # `result` raises it where somebody waits for it
            self._error = err


@cache
def _stop_all_at_exit() -> None:
    """End runs nobody waits for while dask can still work.

    At `atexit` that is too late: its thread pools take nothing new by then. The standard library
    has but a private hook for the time before, the one which its own thread pools use.
    """
    getattr(threading, "_register_atexit", atexit.register)(_stop_all)


_sweeps: weakref.WeakSet[Sweep] = weakref.WeakSet()


def _stop_all() -> None:
    """End the runs that are not waited for, while their workers are still there."""
    running = [sweep for sweep in _sweeps if not sweep.done]
    for sweep in running:
        sweep.stop(now=True)
    for sweep in running:
        sweep._thread.join()
