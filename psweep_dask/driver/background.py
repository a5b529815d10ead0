"""``submit``: a run that goes on in the background, in a script, a notebook or a REPL."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Unpack

import pandas as pd

from psweep_dask._logging import silenced
from psweep_dask.driver.prepared_run import PreparedRun
from psweep_dask.monitoring import notebook
from psweep_dask.options import Options, RunOptions, check_names, takes_options
from psweep_dask.storage import frame
from psweep_dask.study.load import load_from
from psweep_dask.study.stop import Stop
from psweep_dask.worker.work import Func

log = logging.getLogger("psweep_dask")


@takes_options(RunOptions)
def submit(func: Func, params: Iterable[Mapping[str, Any]], **options: Unpack[RunOptions]) -> Sweep:
    """Start a run in the background, and return at once.

    When Python ends before the run does, the psets that run are dropped, and the finished rows
    go to the database; `resume` does the rest.

    Parameters
    ----------
    func : callable
        Takes one pset, a dict to which the book-keeping fields were added, and returns a dict,
        which is merged over the pset.
    params : iterable of dict
        The psets.
    **options
        As `psweep_dask.options.Options` describes them; ``help(ps.submit)`` shows them here.

    Returns
    -------
    Sweep
        Shows how far the run is, in a notebook live, and has its result.

    Raises
    ------
    OptionError, FuncError, PsetError, ClusterError, PsweepError, TypeError
        As in `run`: before anything runs. What fails later is raised by `Sweep.result`.

    See Also
    --------
    run : The same in the foreground.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> sweep = ps.submit(lambda pset: {"b": 2 * pset["a"]}, ps.plist("a", [1, 2]), save=False)
    >>> sweep.result().b.tolist()
    [2, 4]
    >>> sweep.progress
    {'ok': 2, 'left': 0}
    """
    check_names(submit, options)
    return Sweep(PreparedRun(func, params, Options(**options)))


class Sweep:
    """A run in the background, as `submit` returns it.

    Examples
    --------
    >>> import psweep_dask as ps
    >>> sweep = ps.submit(lambda pset: {"b": 1}, ps.plist("a", [1, 2]), cluster="sync", save=False)
    >>> len(sweep.result()), sweep.done, sweep.df.b.tolist()
    (2, True, [1, 1])
    """

    def __init__(self, prepared: PreparedRun) -> None:
        self._prepared = prepared
        self._rows = pd.DataFrame()
        self._seen = 0
        self._reading = threading.Lock()
        self._result = pd.DataFrame()
        self._error: BaseException | None = None
        self._ended = threading.Event()  # Thread.is_alive is wrong after a Ctrl-C in Thread.join
        threading.Thread(target=self._go, name="psweep_dask", daemon=True).start()
        _sweeps.add(self)
        _stop_all_at_exit()

    @property
    def run_id(self) -> str:
        """UUID of the run."""
        return self._prepared.run.plan.run_id

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._ended.is_set()

    @property
    def progress(self) -> dict[str, int]:
        """Number of psets by ``_status``; "left" is the number of those that have no row yet."""
        return self._prepared.execution.progress.stats.counts()

    @property
    def df(self) -> pd.DataFrame:
        """The rows of this run so far. Only those that are new since the last call are read."""
        with self._reading:
            try:
                blocks, self._seen = self._prepared.run.journal.since(self._seen)
                self._rows = frame.append(self._rows, frame.from_blocks(blocks))
            except FileNotFoundError:  # merged and dropped
                df = load_from(self._prepared.run.layout)
                self._rows = df[df["_run_id"] == self.run_id] if len(df) else df
            return self._rows

    @property
    def dashboard_link(self) -> str | None:
        """Address of the dashboard of the cluster; None before there is one."""
        return self._prepared.execution.dashboard_link

    def stop(self, now: bool = False) -> None:
        """Stop the run: no pset starts any more, and `result` returns the rows there are.

        Parameters
        ----------
        now : bool, optional
            Drop the psets that run, instead of letting them finish.
        """
        self._prepared.execution.stopper.request(Stop.NOW if now else Stop.SOON)

    def result(self, timeout: float | None = None) -> pd.DataFrame:
        """Wait for the end of the run and return the whole database.

        Parameters
        ----------
        timeout : float, optional
            Longest time to wait, in seconds; by default there is no limit.

        Returns
        -------
        DataFrame
            The whole database, as `run` returns it.

        Raises
        ------
        TimeoutError
            If the run has not ended by then. It goes on.
        PsetFailedError, PsweepError
            As in `run`.
        """
        if not self._ended.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX)):
            raise TimeoutError(f"the run goes on after {timeout} s: {self!r}")
        if self._error is not None:
            raise self._error
        return self._result

    def _repr_html_(self) -> str:
        title = repr(self).partition(":")[0][1:]
        stats = self._prepared.execution.progress.stats.as_dict()
        return notebook.run_html(title, stats, self.dashboard_link)

    def _ipython_display_(self) -> None:
        notebook.show(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{number} {status}" for status, number in self.progress.items())
        state = "ended" if self.done else "running"
        return f"<Sweep {self.run_id} {state}: {counts}>"

    def _go(self) -> None:
        try:
            self._result = self._prepared.go()
        except BaseException as err:  # `result` raises it where somebody waits for it
            self._error = err
        finally:
            self._ended.set()


@cache
def _stop_all_at_exit() -> None:
    """Have the runs that go on stopped at the end of Python, while dask can still work."""
    # `atexit` is too late: dask's thread pools take no work then. They use this private hook.
    getattr(threading, "_register_atexit", atexit.register)(_stop_all)


_sweeps: weakref.WeakSet[Sweep] = weakref.WeakSet()


def _stop_all() -> None:
    from psweep_dask.clusters import local  # distributed takes half a second to import

    local.note_end_of_python()
    running = [sweep for sweep in _sweeps if not sweep.done]
    with silenced("tornado.application"):  # Python 3.12 starts no thread for dask's callbacks then
        for sweep in running:
            sweep.stop(now=True)
        for sweep in running:
            sweep._ended.wait()
    for sweep in running:
        if sweep._error is not None:
            log.warning("run %s did not come to its end: %s", sweep.run_id, sweep._error)
