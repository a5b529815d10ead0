"""What a person sees while a run goes on: the bar, the log lines, the summary."""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

from tqdm.std import tqdm

from psweep_dask._format import short_text
from psweep_dask._logging import show_log_lines
from psweep_dask.monitoring.stats import RunStats
from psweep_dask.storage import frame, record
from psweep_dask.worker.work import SliceResult

log = logging.getLogger("psweep_dask")

QUIET = 60.0
"""Seconds between two log lines about how far a run is, or what it waits for, without a bar."""

SETTLED = 3.0
"""The same if it waits for something else meanwhile."""

FIRST, LAST, WIDTH = 15, 45, 500
"""Lines of a traceback that the summary shows, and characters of each; all of it is in the row."""

Verbose = bool | Sequence[str]


class Progress:
    """Counts what is done, shows it, and sums it up.

    Parameters
    ----------
    total : int
        Psets of the run.
    show : bool or None
        Show a bar on stderr. None: if it is a terminal or a notebook.
    verbose : bool or sequence of str, optional
        Print finished rows, or these columns of them.
    good : {'ok', 'simulated'}, optional
        What psets are that did not fail.
    """

    def __init__(
        self, total: int, show: bool | None = None, verbose: Verbose = False, good: str = "ok"
    ) -> None:
        show_log_lines()
        self.overview = RunStats(total, good)
        self._verbose = verbose
        self._bar = _bar(total, _watched() if show is None else show)
        self._told = ""
        self._told_at = -QUIET
        self._counted_at = time.monotonic()

    def begin(self) -> None:
        """Start the clock: the workers are there."""
        self.overview.begin()
        self._bar.reset()
        self._counted_at = time.monotonic()

    def wait_for(self, text: str) -> None:
        """Show what keeps the run from going on, in the bar or else in the log now and then.

        Parameters
        ----------
        text : str
            Empty when it goes on.
        """
        if not self._bar.disable:
            if text != (self._bar.desc or ""):
                self._bar.set_description_str(text)
        elif text:
            now = time.monotonic()
            pause = QUIET if text == self._told else SETTLED
            if now - self._told_at >= pause:
                self._told, self._told_at = text, now
                log.info("%s", text)

    def update(self, result: SliceResult) -> None:
        """Take in a slice that is on disk now."""
        for failure in self.overview.add(result):
            log.warning("pset %d failed: %s", failure.pset_seq, failure.headline)
        self._bar.update(result.rows)
        if self.overview.failed:
            self._bar.set_postfix_str(f"{self.overview.failed.total()} failed", refresh=False)
        if self._bar.disable and time.monotonic() - self._counted_at >= QUIET:
            self._counted_at = time.monotonic()
            log.info("%s", self.overview.line())
        if self._verbose is not False and result.rows:
            self._print_rows(result)

    def close(self, with_example: bool = True, remarks: Sequence[str] = ()) -> None:
        """Take the bar away and log the summary.

        Parameters
        ----------
        with_example : bool, optional
            Show the traceback of a failure.
        remarks : sequence of str, optional
            What else is to be told.
        """
        self.overview.end()
        self._bar.close()
        level = logging.WARNING if self.overview.failed or remarks else logging.INFO
        log.log(level, "%s", self.summary(with_example, remarks))

    def failed_often(self, limit: int | None) -> bool:
        """Tell whether as many psets have failed as the user wants to bear."""
        return limit is not None and self.overview.failed.total() >= limit

    def summary(self, with_example: bool = True, remarks: Sequence[str] = ()) -> str:
        """Tell how the run went: counts, failures by kind, and one example of them."""
        seen = self.overview
        good = f"{seen.statuses[seen.good]} {seen.good}"
        text = f"{seen.done} of {seen.total} psets in {seen.seconds():.1f} s: {good}"
        if seen.failed:
            kinds = ", ".join(f"{number} {kind}" for kind, number in seen.failed.most_common())
            text = f"{text}, {seen.failed.total()} failed ({kinds})"
        text = "; ".join([text, *remarks])
        if not seen.failed or not with_example:
            return text
        example = seen.failures()[0]
        return (
            f"{text}\nfor example pset {example.pset_seq}, {example.pset}:\n"
            f"{_indented(example.exc_txt)}\n"
            'all tracebacks: print(*df._exc_txt.dropna(), sep="\\n")'
        )

    def _print_rows(self, result: SliceResult) -> None:
        rows = frame.from_blocks(record.unpack(result.frame[record.HEADER.size :]))
        if not isinstance(self._verbose, bool):
            rows = rows.reindex(columns=list(self._verbose))
        try:
            text = rows.to_string(index=False)
        except Exception as err:  # a foreign __repr__ must not cost the run
            text = f"{len(rows)} rows that cannot be printed: {err!r}"
        tqdm.write(text.encode(errors="backslashreplace").decode(), file=sys.stdout)


def _bar(total: int, show: bool) -> Any:
    kind: Any = tqdm
    if show and _in_notebook() and importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm as kind
    hidden = not show or sys.stderr is None
    return kind(total=total, unit="pset", disable=hidden, file=sys.stderr, dynamic_ncols=True)


def _watched() -> bool:
    is_terminal = getattr(sys.stderr, "isatty", lambda: False)  # None where it is closed
    return is_terminal() or _in_notebook()


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def _indented(text: str) -> str:
    """Indent a traceback; of a very long one the middle is left out, and the ends of lines."""
    lines = text.rstrip().splitlines()
    if len(lines) > FIRST + LAST:
        left_out = f"... {len(lines) - FIRST - LAST} lines are left out ..."
        lines = [*lines[:FIRST], left_out, *lines[-LAST:]]
    return "\n".join("    " + short_text(line, WIDTH) for line in lines)
