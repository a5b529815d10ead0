from __future__ import annotations

import logging

import pytest

from psweep_dask._logging import silenced, tell_deaths_ourselves


@pytest.fixture(autouse=True)
def _deaths_told():
    tell_deaths_ourselves()


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
def test_deaths_that_we_tell_ourselves_are_not_told_twice(caplog, logger, line):
    logging.getLogger(f"distributed.{logger}").warning(line)
    assert caplog.messages == []


def test_other_lines_are_told(caplog):
    logging.getLogger("distributed.nanny").warning("Closing Nanny at %s", "tcp://127.0.0.1:1")
    logging.getLogger("distributed.worker").warning("exceeded 95% memory budget")
    logging.getLogger("distributed.client").warning("Couldn't gather 1 keys, rescheduling ('f',)")
    assert caplog.messages == [
        "Closing Nanny at tcp://127.0.0.1:1",
        "exceeded 95% memory budget",
        "Couldn't gather 1 keys, rescheduling ('f',)",
    ]


def test_it_can_be_asked_for_again_and_again():
    before = list(logging.getLogger("distributed.nanny").filters)
    tell_deaths_ourselves()
    assert logging.getLogger("distributed.nanny").filters == before


def test_a_logger_is_silenced_for_a_while():
    one = logging.getLogger("some.library")
    one.setLevel(logging.INFO)
    with silenced("some.library"):
        assert not one.isEnabledFor(logging.ERROR)
        assert one.isEnabledFor(logging.CRITICAL)
    assert one.level == logging.INFO


def test_a_logger_speaks_again_after_an_exception():
    one = logging.getLogger("some.library")
    one.setLevel(logging.INFO)
    with pytest.raises(ValueError, match="of func"), silenced("some.library"):
        raise ValueError("of func")
    assert one.level == logging.INFO
