"""The log: our lines on stderr, and which lines of dask are hidden."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from psweep_dask._logging import hide_worker_exit_lines, silenced


@pytest.fixture(autouse=True)
def _worker_exits_hidden():
    hide_worker_exit_lines()


# Lines of distributed 2026.8.
@pytest.mark.parametrize(
    ("logger", "line"),
    [
        ("nanny", "Restarting worker (status=running)"),
        ("nanny.memory", "Worker tcp://127.0.0.1:1 (pid=7) exceeded 95% memory budget. Restarting"),
        ("scheduler", "Task ('f', 1) marked as failed because 1 workers died while trying to run"),
        (
            "scheduler",
            "Removing worker 'tcp://127.0.0.1:1' caused the cluster to lose already computed task",
        ),
        ("nanny", "Worker process still alive after 4.0 seconds, killing"),
        ("scheduler", "Couldn't gather keys: {('func-9', 1, 'psweep'): 'queued'}"),
        ("client", "Couldn't gather 1 keys, rescheduling (('func-9', 1, 'psweep'),)"),
    ],
)
def test_log_of_dask_is_without_exits_of_workers(caplog, logger, line):
    logging.getLogger(f"distributed.{logger}").warning(line)
    assert caplog.messages == []


def test_log_of_dask_has_other_lines(caplog):
    logging.getLogger("distributed.nanny").warning("Closing Nanny at %s", "tcp://127.0.0.1:1")
    logging.getLogger("distributed.worker").warning("exceeded 95% memory budget")
    logging.getLogger("distributed.client").warning("Couldn't gather 1 keys, rescheduling ('f',)")
    assert caplog.messages == [
        "Closing Nanny at tcp://127.0.0.1:1",
        "exceeded 95% memory budget",
        "Couldn't gather 1 keys, rescheduling ('f',)",
    ]


def test_log_filter_is_added_once():
    filters = list(logging.getLogger("distributed.nanny").filters)
    hide_worker_exit_lines()
    assert logging.getLogger("distributed.nanny").filters == filters


def test_log_is_silenced_for_a_while():
    logger_of_library = logging.getLogger("some.library")
    logger_of_library.setLevel(logging.INFO)
    with silenced("some.library"):
        assert not logger_of_library.isEnabledFor(logging.ERROR)
        assert logger_of_library.isEnabledFor(logging.CRITICAL)
    assert logger_of_library.level == logging.INFO


def test_log_is_silenced_until_an_exception():
    logger_of_library = logging.getLogger("some.library")
    logger_of_library.setLevel(logging.INFO)
    with pytest.raises(ValueError, match="of func"), silenced("some.library"):
        raise ValueError("of func")
    assert logger_of_library.level == logging.INFO


SHOW = """
import logging
SETUP
from psweep_dask._logging import log, show_log_lines
show_log_lines()
show_log_lines()
log.info("a line")
"""


@pytest.mark.parametrize(
    ("setup", "line"),
    [
        ("", "psweep_dask: a line\n"),
        ("logging.basicConfig(format='mine: %(message)s', level='INFO')", "mine: a line\n"),
        ("logging.basicConfig()", ""),
    ],
)
def test_log_lines_are_shown_once_and_as_the_script_wants(setup, line):
    command = [sys.executable, "-c", SHOW.replace("SETUP", setup)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", line)
