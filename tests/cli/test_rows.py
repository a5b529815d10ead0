"""The commands that show rows, as they are installed, while runs go on and afterwards."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.driver_process import start, wait_for_journal
from helpers.terminal import BIN_DIR, psweep_dask, run_command, shown_in_terminal

import psweep_dask as ps

COMMAND = str(BIN_DIR / "psweep-dask")


def func(pset):
    print(f"at {pset['a']}")
    if pset["a"] == 3:
        raise ValueError("no 3")
    Path("calc", pset["_pset_id"], "out.txt").write_text("1234")
    return {"y": pset["a"] / 3, "long": "x" * 300}


@pytest.fixture
def df(study_folder):
    return ps.run(func, ps.plist("a", range(6)), cluster="local", capture_logs="file")


@pytest.fixture
def database(study_folder):
    ps.run(lambda pset: {"y": pset["a"] * 2}, ps.plist("a", [1, 2]), cluster="sync")
    return "calc/database.pk"


def test_table_shows_all_rows_or_those_asked_for(df):
    lines = psweep_dask("table").splitlines()
    assert lines[0].split() == ["a", "y", "long"]
    assert len(lines) == 8
    assert "…" not in "".join(lines)  # a pipe gets all of it
    assert psweep_dask("table", "calc", "a", "-n", "2", "-f", "plain") == "  a\n  4\n  5\n"
    failed = psweep_dask("table", "calc", "a", "_status", "--where", "_status == 'error'")
    assert failed.splitlines()[2].split() == ["3", "error"]
    assert "_exec_host" in psweep_dask("table", "-a")
    assert "no column 'q'; there are a, _run_id" in psweep_dask("table", "calc", "q", code=2)
    output = psweep_dask("table", "calc", "--where", "q > 1", code=1)
    assert output.startswith("Error: 'q > 1': ")


def test_table_in_a_terminal_is_cut_to_its_width(df):
    lines = shown_in_terminal([COMMAND, "table"], 60, "stdout").splitlines()
    assert max(map(len, lines)) == 60
    assert lines[2].endswith("…")


def test_table_whose_reader_leaves_early_is_no_error(df):
    done = subprocess.run(
        f"{COMMAND} table | head -n 1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["a", "y", "long"]
    assert done.stderr == ""


def test_show_has_row_folder_log_and_traceback(df):
    good, bad = df._pset_id.iloc[2], df._pset_id.iloc[3]
    text = psweep_dask("show", good[:8])
    assert "     a  2\n" in text
    assert "0.6666666667" in text
    assert "out.txt  4 bytes" in text
    assert "log:\n  at 2\n" in text
    assert "Traceback" not in text
    text = psweep_dask("show", bad, "calc")
    assert text.rstrip().endswith("ValueError: no 3")


def test_show_finds_a_pset_by_the_number_in_messages(df):
    assert "     a  3\n" in psweep_dask("show", "3")
    assert "no pset has an id that begins" in psweep_dask("show", "149", code=1)
    assert "no pset has an id that begins" in psweep_dask("show", "zz", code=1)


def test_show_and_tail_cut_lists_by_their_number_of_characters_only(study_folder):
    lists = [list(range(50)), tuple(range(10)), list(range(1000))]
    ps.run(lambda pset: {"y": dict.fromkeys(pset["a"], 0)}, ps.plist("a", lists), cluster="sync")
    assert f"     a  {lists[0]}\n" in psweep_dask("show", "0")
    text = psweep_dask("show", "1")
    assert f"     a  {lists[1]}\n" in text
    assert f"     y  {dict.fromkeys(range(10), 0)}\n" in text
    assert f"     a  {str(lists[2])[:197]}...\n" in psweep_dask("show", "2")
    for line, value in zip(psweep_dask("tail").splitlines(), lists, strict=True):
        text = str(value) if len(str(value)) <= 40 else str(value)[:37] + "..."
        assert f"a={text}, y={{0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, ..." in line


def test_tail_follows_a_run_to_its_end(study_folder):
    with start(study_folder, count=150) as driver:
        wait_for_journal(study_folder, 1)
        lines = psweep_dask("tail", "-n", "1000").splitlines()
        assert driver.wait(30) == 0
    assert sorted(int(line.split()[0]) for line in lines) == list(range(150))
    assert lines[0].split()[1] == "ok"


def test_tail_begins_with_the_last_rows_and_ends_where_nothing_runs(df):
    lines = psweep_dask("tail", "-n", "2").splitlines()
    assert len(lines) == 2
    (line,) = psweep_dask("tail", "--where", "_status != 'ok'").splitlines()
    assert line.split()[:2] == ["3", "error"]
    assert line.endswith("ValueError: no 3")
    assert psweep_dask("tail", "-n", "0") == ""


def test_table_and_tail_work_after_the_driver_was_killed(study_folder):
    with start(study_folder, count=500) as driver:
        wait_for_journal(study_folder)
        driver.send_signal(signal.SIGKILL)
    count = len(ps.load("calc"))
    assert len(psweep_dask("table", "-f", "plain").splitlines()) == count + 1
    assert len(psweep_dask("tail", "-n", "1000").splitlines()) == count


def test_db2json_prints_records(database):
    rows = json.loads(run_command("psweep-db2json", database))
    assert [(row["a"], row["y"], row["_pset_seq"]) for row in rows] == [(1, 2, 0), (2, 4, 1)]


def test_db2json_takes_an_orient(database):
    split = json.loads(run_command("psweep-db2json", "-o", "split", database))
    assert split["columns"][0] == "a"
    assert "not one of" in run_command("psweep-db2json", "-o", "tree", database, code=2)


def test_db2table_hides_book_keeping_and_index(database):
    assert run_command("psweep-db2table", database).splitlines() == [
        "  a    y",
        "---  ---",
        "  1    2",
        "  2    4",
    ]


def test_db2table_shows_what_is_asked_for(database):
    assert "_run_id" in run_command("psweep-db2table", "-a", database)
    words = ["psweep-db2table", "-f", "pipe", database, "y", "_pset_seq"]
    assert run_command(*words).splitlines() == [
        "|   y |   _pset_seq |",
        "|----:|------------:|",
        "|   2 |           0 |",
        "|   4 |           1 |",
    ]
    assert run_command("psweep-db2table", "-i", database).splitlines()[2].startswith("20")


def test_db2table_names_an_unknown_column_and_those_there_are(database):
    message = run_command("psweep-db2table", database, "z", code=2)
    assert "no column 'z'; there are a, _run_id" in message


def test_db2table_names_a_file_that_is_missing_or_no_database(study_folder):
    assert "nowhere.pk" in run_command("psweep-db2table", "nowhere.pk", code=2)
    (study_folder / "README.md").write_text("# no pickle")
    message = run_command("psweep-db2table", "README.md", code=1)
    assert message.startswith("Error: 'README.md' cannot be read as a database: ")


@pytest.mark.parametrize("name", ["psweep-db2json", "psweep-db2table"])
def test_db2json_and_db2table_whose_reader_leaves_early_are_no_error(database, name):
    done = subprocess.run(
        f"set -o pipefail; {BIN_DIR / name} {database} | head -c 1",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


class Runs:
    def __reduce__(self):
        return os.makedirs, ("it-has-run", 0o777, True)


@pytest.mark.parametrize("command", ["status", "table", "show 0", "tail", "check", "runs", "stop"])
@pytest.mark.parametrize("lost", ["run.json", "plan.pk"])
def test_commands_that_look_run_no_code_of_a_study(study_folder, command, lost):
    params = [{"a": a, "pset_": Runs()} for a in (1, 2)]
    df = ps.run(lambda pset: {"y": Runs(), "z": [Runs()]}, params, cluster="sync", tmpsave=True)
    ps.df_write(df.assign(y=[Runs(), Runs()]), "calc/database.pk")
    (run_dir,) = Path("calc/runs").iterdir()
    journal = gzip.decompress((run_dir / "rows-0.gz").read_bytes())
    (run_dir / "journal").write_bytes(journal)  # as if it were not merged
    for name in {"run.json", lost}:
        (run_dir / name).unlink()
    if Path("it-has-run").exists():
        Path("it-has-run").rmdir()
    output = psweep_dask(*command.split(), code=int(command in ("check", "stop")))
    assert ("makedirs" in output) == (command in ("table", "show 0", "tail"))
    assert not Path("it-has-run").exists()
    ps.load("calc")  # as the manual says, this does
    assert Path("it-has-run").exists()
