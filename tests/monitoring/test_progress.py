"""What a person sees in the terminal, and what stands in a log file."""

from __future__ import annotations

import errno
import io
import logging
import subprocess
import sys

import pytest
from helpers.terminal import shown_in_terminal

import psweep_dask as ps
from psweep_dask.monitoring import progress as progress_module
from psweep_dask.monitoring.progress import Progress
from psweep_dask.worker.work import Failure, SliceResult


def result_of(ok=0, **failures):
    """A slice with this number of good psets, and failures by kind with the number of the pset."""
    result = SliceResult()
    for _ in range(ok):
        result.count("ok", None)
    for kind, seq in failures.items():
        text = f"Traceback (most recent call last):\n  File 'x.py'\n{kind}: bad"
        result.count("error", Failure(kind, seq, "{'a': 1}", text, f"{kind}: bad"))
    return result


def test_summary_has_counts_kinds_and_an_example():
    progress = Progress(10, show=False)
    progress.update(result_of(ok=4))
    progress.update(result_of(ValueError=7, ok=2))
    progress.update(result_of(KeyError=8))
    progress.update(result_of(KeyError=9))
    assert progress.stats.counts() == {"ok": 6, "error": 3, "left": 1}
    summary = progress.summary(remarks=["2 workers were lost"])
    assert "; 2 workers were lost\n" in summary
    assert "9 of 10 psets" in summary
    assert "6 ok, 3 failed (2 KeyError, 1 ValueError)" in summary
    assert "for example pset 8, {'a': 1}" in summary
    assert "    KeyError: bad" in summary


def test_failure_is_logged_as_it_comes_once_for_each_kind(caplog):
    progress = Progress(10, show=False)
    for seq in range(3):
        progress.update(result_of(KeyError=seq))
    assert caplog.messages == ["pset 0 failed: KeyError: bad"]
    progress.close()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


@pytest.mark.parametrize(("limit", "expected"), [(None, False), (1, True), (2, True), (3, False)])
def test_too_many_failed_compares_with_the_limit(limit, expected):
    progress = Progress(10, show=False)
    progress.update(result_of(KeyError=3))
    progress.update(result_of(KeyError=4))
    assert progress.too_many_failed(limit) is expected


def test_bar_says_what_a_run_waits_for_until_it_goes_on(capsys):
    progress = Progress(10, show=True)
    progress.wait_for("waiting for jobs: 3 pending (Resources)")
    assert "waiting for jobs: 3 pending (Resources)" in capsys.readouterr().err
    progress.wait_for("")
    progress.update(result_of(ok=4))
    progress.close()
    assert "waiting" not in capsys.readouterr().err.rpartition("\r")[2]


def test_log_without_a_bar_says_now_and_then_what_a_run_waits_for(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "psweep_dask")
    progress = Progress(10, show=False)
    for text in ("3 pending", "3 pending", "2 pending", "", "1 pending"):
        progress.wait_for(text)
    assert caplog.messages == ["3 pending"]
    monkeypatch.setattr(progress_module, "CHANGE_LOG_INTERVAL_SECONDS", 0.0)  # the time is over
    progress.wait_for("")
    progress.wait_for("1 starting")
    assert caplog.messages == ["3 pending", "1 starting"]


def test_log_without_a_bar_says_once_in_a_while_how_far_a_run_is(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "psweep_dask")
    progress = Progress(10, show=False)
    progress.update(result_of(ok=1))
    assert not caplog.messages
    monkeypatch.setattr(progress_module, "LOG_INTERVAL_SECONDS", 0.0)  # a minute is over
    progress.update(result_of(ok=4))
    assert caplog.messages[0].startswith("5 of 10 psets (50 %), 0 failed, ")
    assert caplog.messages[0].endswith(" left")


SCRIPT = """
import logging, sys
import psweep_dask as ps
LOGGING
def func(pset):
    return {"y": 1 / (pset["a"] - 3)}
ps.run(func, ps.plist("a", range(10)), cluster="sync", save=False)
"""


def test_bar_is_shown_in_a_terminal(study_folder):
    (study_folder / "script.py").write_text(SCRIPT.replace("LOGGING", ""))
    shown = shown_in_terminal([sys.executable, "script.py"], 100, "stderr")
    assert "10/10" in shown
    assert "pset/s" in shown
    assert "1 failed" in shown
    assert "psweep_dask: 10 of 10 psets" in shown


def test_bar_is_not_shown_in_a_log_file_but_the_summary_is(study_folder):
    (study_folder / "script.py").write_text(SCRIPT.replace("LOGGING", ""))
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True)
    assert "\r" not in done.stderr
    assert done.stderr.splitlines()[0] == (
        "psweep_dask: pset 3 failed: ZeroDivisionError: division by zero"
    )
    assert "9 ok, 1 failed (1 ZeroDivisionError)" in done.stderr
    assert 'return {"y": 1 / (pset["a"] - 3)}' in done.stderr


def test_log_of_a_script_that_sets_up_logging_itself_keeps_its_format(study_folder):
    setup = 'logging.basicConfig(level="INFO", format="MINE %(message)s")'
    (study_folder / "script.py").write_text(SCRIPT.replace("LOGGING", setup))
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True)
    assert "MINE 10 of 10 psets" in done.stderr
    assert "psweep_dask: " not in done.stderr


def test_traceback_that_is_very_long_is_shown_without_its_middle():
    result = SliceResult()
    text = "\n".join(f"line {number} {'x' * 1000}" for number in range(10_000))
    result.count("error", Failure("ValueError", 7, "{'a': 1}", text, "ValueError: no"))
    progress = Progress(10, show=False)
    progress.update(result)
    summary = progress.summary()
    assert len(summary.splitlines()) < 70
    assert max(map(len, summary.splitlines())) < 600
    assert "    line 0 " in summary
    assert "    line 9999 " in summary
    assert "... 9940 lines are left out ..." in summary


class WriteOnly:
    """Stands for stderr in programs with windows."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("stderr", [None, WriteOnly()])
def test_stderr_that_is_closed_or_no_file_stops_no_run(stderr, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", stderr)
    assert len(ps.run(lambda pset: {}, ps.plist("a", [1, 2]), cluster="sync")) == 2
    assert capsys.readouterr().out == ""


def test_verbose_prints_rows_or_the_columns_asked_for(capsys):
    params = ps.plist("a", [7, 8])
    ps.run(lambda pset: {"y": 2}, params, cluster="sync", save=False, verbose=True)
    assert "_pset_sha1" in capsys.readouterr().out
    ps.run(lambda pset: {"y": 2}, params, cluster="sync", save=False, verbose=["a", "y"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["a", "y"]
    assert [line for line in lines if line != ["a", "y"]] == [["7", "2"], ["8", "2"]]


class Unprintable:
    """A result of a user that has no text."""

    def __repr__(self):
        raise RuntimeError("no text")


def test_verbose_of_a_row_that_cannot_be_printed_stops_no_run(capsys):
    df = ps.run(
        lambda pset: {"y": Unprintable()}, [{"a": 1}], cluster="sync", save=False, verbose=True
    )
    assert df._status.tolist() == ["ok"]
    assert "1 rows that cannot be printed: RuntimeError('no text')" in capsys.readouterr().out


class Broken(io.StringIO):
    """A stream on a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def streams():
    closed = io.StringIO()
    closed.close()
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    return {"closed": closed, "full": Broken(), "none": None, "ascii": ascii_only, "int": 5}


class Rude:
    def __repr__(self):
        raise SystemExit("not me")


@pytest.mark.parametrize("name", streams())
@pytest.mark.parametrize("stream_name", ["stdout", "stderr"])
def test_no_stream_ends_a_run(name, stream_name, monkeypatch, study_folder):
    monkeypatch.setattr(sys, stream_name, streams()[name])
    df = ps.run(
        lambda pset: {"y": "ü"}, ps.plist("a", [1, 2]), cluster="sync", verbose=True, progress=True
    )
    assert df._status.tolist() == ["ok", "ok"]


def test_rows_are_printed_in_the_characters_that_stdout_has(monkeypatch, study_folder):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    ps.run(lambda pset: {"y": "ü"}, ps.plist("a", [1]), cluster="sync", verbose=["y"])
    stream.flush()
    assert rb"\xfc" in stream.buffer.getvalue()


def test_value_that_ends_the_process_when_printed_is_printed_as_an_error(capsys, study_folder):
    df = ps.run(lambda pset: {"y": Rude()}, ps.plist("a", [1]), cluster="sync", verbose=True)
    assert df._status.tolist() == ["ok"]
    assert "1 rows that cannot be printed: SystemExit('not me')" in capsys.readouterr().out
