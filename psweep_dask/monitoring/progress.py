"""What a person sees in the terminal while a run goes on: the bar, log lines, the summary."""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tqdm.std import tqdm

from psweep_dask._format import short_repr, short_text
from psweep_dask._logging import show_log_lines, write_line
from psweep_dask.monitoring.stats import RunStats
from psweep_dask.storage import frame, record
from psweep_dask.worker.work import SliceResult

log = logging.getLogger("psweep_dask")

# Without a bar: time between log lines, the shorter one if the run waits for something else now.
LOG_INTERVAL_SECONDS = 60.0
CHANGE_LOG_INTERVAL_SECONDS = 3.0

Verbose = bool | Sequence[str]


class Progress:
    """Counts the psets that are done, and shows the counts.

    Parameters
    ----------
    show : bool or None
        Whether to show a bar on stderr. None: if stderr is a terminal, or in a notebook.
    verbose : bool or sequence of str, optional
        Whether to print finished rows, or the columns of them to print.
    ok_status : {'ok', 'simulated'}, optional
        The ``_status`` of psets that have not failed.
    """

    def __init__(
        self, total: int, show: bool | None = None, verbose: Verbose = False, ok_status: str = "ok"
    ) -> None:
        show_log_lines()
        self.stats = RunStats(total, ok_status)
        self._verbose = verbose
        self._bar: Any = tqdm(total=total, disable=True)
        self._draw(lambda _: self._show_bar(total, _is_watched() if show is None else show))
        self._wait_text = ""
        self._wait_logged_at = -LOG_INTERVAL_SECONDS
        self._counts_logged_at = time.monotonic()

    def begin(self) -> None:
        """Start the clock, now that there are workers."""
        self.stats.begin()
        self._draw(lambda bar: bar.reset())
        self._counts_logged_at = time.monotonic()

    def wait_for(self, text: str) -> None:
        """Show what a run waits for, in the bar or now and then in the log; "" when it goes on."""
        if not self._bar.disable:
            if text != (self._bar.desc or ""):
                self._draw(lambda bar: bar.set_description_str(text))
        elif text:
            now = time.monotonic()
            is_new = text != self._wait_text
            interval = CHANGE_LOG_INTERVAL_SECONDS if is_new else LOG_INTERVAL_SECONDS
            if now - self._wait_logged_at >= interval:
                self._wait_text, self._wait_logged_at = text, now
                log.info("%s", text)

    def update(self, result: SliceResult) -> None:
        """Count a slice whose rows are on disk now, and show what is new."""
        for failure in self.stats.add(result):
            log.warning("pset %d failed: %s", failure.pset_seq, failure.headline)
        self._draw(lambda bar: bar.update(result.rows))
        if self.stats.failed:
            self._bar.set_postfix_str(f"{self.stats.failed.total()} failed", refresh=False)
        now = time.monotonic()
        if self._bar.disable and now - self._counts_logged_at >= LOG_INTERVAL_SECONDS:
            self._counts_logged_at = now
            log.info("%s", self.stats.line())
        if self._verbose is not False and result.rows:
            self._print_rows(result)

    def clear(self) -> None:
        """Remove the bar, and say nothing."""
        self._draw(lambda bar: bar.close())

    def close(self, with_example: bool = True, remarks: Sequence[str] = ()) -> None:
        """Remove the bar and log the summary."""
        self.stats.end()
        self._draw(lambda bar: bar.close())
        level = logging.WARNING if self.stats.failed or remarks else logging.INFO
        log.log(level, "%s", self.summary(with_example, remarks))

    def too_many_failed(self, limit: int | None) -> bool:
        """Return whether as many psets have failed as `on_error` allows; None is no limit."""
        return limit is not None and self.stats.failed.total() >= limit

    def summary(self, with_example: bool = True, remarks: Sequence[str] = ()) -> str:
        """Return the text that ends a run: counts, failures by kind, one of them as an example."""
        stats = self.stats
        ok = f"{stats.statuses[stats.ok_status]} {stats.ok_status}"
        text = f"{stats.done} of {stats.total} psets in {stats.seconds():.1f} s: {ok}"
        if stats.failed:
            kinds = ", ".join(f"{number} {kind}" for kind, number in stats.failed.most_common())
            text = f"{text}, {stats.failed.total()} failed ({kinds})"
        text = "; ".join([text, *remarks])
        if not stats.failed or not with_example:
            return text
        example = stats.failures()[0]
        return (
            f"{text}\nfor example pset {example.pset_seq}, {example.pset}:\n"
            f"{_indented(example.exc_txt)}\n"
            'all tracebacks: print(*df._exc_txt.dropna(), sep="\\n")'
        )

    def _show_bar(self, total: int, show: bool) -> None:
        self._bar = _make_bar(total, show)

    def _draw(self, change: Callable[[Any], object]) -> None:
        """Change the bar. If that cannot be drawn, the run goes on without a bar."""
        try:
            change(self._bar)
        except Exception as err:  # stderr is closed, on a full disk, or anything at all
            self._bar.disable = True
            log.warning("there is no progress bar any more, since it cannot be drawn: %r", err)

    def _print_rows(self, result: SliceResult) -> None:
        if sys.stdout is None:
            return
        try:
            write_line(self._text_of(result), sys.stdout)
        except Exception as err:  # as above
            self._verbose = False
            log.warning("rows are not printed any more, since stdout cannot be written: %r", err)

    def _text_of(self, result: SliceResult) -> str:
        try:
            rows = frame.from_blocks(record.unpack(result.frame[record.HEADER.size :]))
            if not isinstance(self._verbose, bool):
                rows = rows.reindex(columns=list(self._verbose))
            return rows.to_string(index=False)
        except KeyboardInterrupt:
            raise
        except BaseException as err:  # a foreign __repr__ must not cost the run
            return f"{result.rows} rows that cannot be printed: {short_repr(err)}"


def _make_bar(total: int, show: bool) -> Any:
    bar_class: Any = tqdm
    if show and _in_notebook() and importlib.util.find_spec("ipywidgets"):
        from tqdm.notebook import tqdm as bar_class
    hidden = not show or sys.stderr is None
    return bar_class(total=total, unit="pset", disable=hidden, file=sys.stderr, dynamic_ncols=True)


def _is_watched() -> bool:
    is_terminal = getattr(sys.stderr, "isatty", lambda: False)  # None where it is closed
    return is_terminal() or _in_notebook()


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def _indented(traceback: str) -> str:
    """Indent a traceback; leave out the middle of a very long one, and the ends of long lines."""
    lines = traceback.rstrip().splitlines()
    if len(lines) > 60:
        lines[15:-45] = [f"... {len(lines) - 60} lines are left out ..."]
    return "\n".join("    " + short_text(line, 500) for line in lines)
