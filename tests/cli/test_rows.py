"""The commands that show rows, as they are installed, while runs go on and afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.driver_process import start, wait_for_journal
from helpers.terminal import shown_in_terminal

import psweep_dask as ps

COMMAND = str(Path(sys.executable).with_name("psweep-dask"))


def command(*words, code=0):
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def func(pset):
    print(f"at {pset['a']}")
    if pset["a"] == 3:
        raise ValueError("no 3")
    Path("calc", pset["_pset_id"], "out.txt").write_text("1234")
    return {"y": pset["a"] / 3, "long": "x" * 300}


@pytest.fixture
def df(study_folder):
    return ps.run(func, ps.plist("a", range(6)), cluster="local", capture_logs="file")


def test_a_table_of_all_rows_or_of_some(df):
    lines = command("table").splitlines()
    assert lines[0].split() == ["a", "y", "long"]
    assert len(lines) == 8
    assert "…" not in "".join(lines)  # a pipe gets all of it
    assert command("table", "calc", "a", "-n", "2", "-f", "plain") == "  a\n  4\n  5\n"
    failed = command("table", "calc", "a", "_status", "--where", "_status == 'error'")
    assert failed.splitlines()[2].split() == ["3", "error"]
    assert "_exec_host" in command("table", "-a")
    assert "no column 'q'; there are a, _run_id" in command("table", "calc", "q", code=2)
    assert command("table", "calc", "--where", "q > 1", code=1).startswith("Error: 'q > 1': ")


def test_in_a_terminal_lines_are_cut_to_its_width(df):
    lines = shown_in_terminal([COMMAND, "table"], 60, "stdout").splitlines()
    assert max(map(len, lines)) == 60
    assert lines[2].endswith("…")


def test_a_reader_who_leaves_early_is_no_error(df):
    done = subprocess.run(
        f"{COMMAND} table | head -n 1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["a", "y", "long"]
    assert done.stderr == ""


def test_one_pset_with_its_folder_its_log_and_its_traceback(df):
    good, bad = df._pset_id.iloc[2], df._pset_id.iloc[3]
    text = command("show", good[:8])
    assert "     a  2\n" in text
    assert "0.6666666667" in text
    assert "out.txt  4 bytes" in text
    assert "log:\n  at 2\n" in text
    assert "Traceback" not in text
    text = command("show", bad, "calc")
    assert text.rstrip().endswith("ValueError: no 3")
    assert "no pset has an id that begins so" in command("show", "zz", code=1)


def test_rows_are_followed_while_a_run_goes_on(study_folder):
    with start(study_folder, count=150) as driver:
        wait_for_journal(study_folder, 1)
        lines = command("tail", "-n", "1000").splitlines()
        assert driver.wait(30) == 0
    assert sorted(int(line.split()[0]) for line in lines) == list(range(150))
    assert lines[0].split()[1] == "ok"


def test_following_begins_with_the_last_rows_and_ends_where_nothing_runs(df):
    lines = command("tail", "-n", "2").splitlines()
    assert len(lines) == 2
    (line,) = command("tail", "--where", "_status != 'ok'").splitlines()
    assert line.split()[:2] == ["3", "error"]
    assert line.endswith("ValueError: no 3")
    assert command("tail", "-n", "0") == ""


def test_all_of_it_works_while_a_run_is_dead(study_folder):
    with start(study_folder, count=500) as driver:
        wait_for_journal(study_folder)
        driver.send_signal(signal.SIGKILL)
    count = len(ps.load("calc"))
    assert len(command("table", "-f", "plain").splitlines()) == count + 1
    assert len(command("tail", "-n", "1000").splitlines()) == count


def test_a_pset_is_found_by_the_number_that_messages_give_it(df):
    assert "     a  3\n" in command("show", "3")
    assert "{'long'" in command("reproduce", "2", "calc")
    assert "{'long'" in command("reproduce", "calc", df._pset_id.iloc[2][:13])  # as it was once
    assert "no pset has an id that begins so" in command("show", "149", code=1)
