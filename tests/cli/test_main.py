"""The commands as they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import psweep_dask as ps
from psweep_dask.cli import main as main_module
from psweep_dask.driver.driver_job import FOLLOWERS, LEAD

BIN = Path(sys.executable).parent


@pytest.fixture
def database(study_folder):
    ps.run(lambda pset: {"y": pset["a"] * 2}, ps.plist("a", [1, 2]), cluster="sync")
    return "calc/database.pk"


def command(*arguments, code=0):
    done = subprocess.run(
        [BIN / arguments[0], *arguments[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_db2json_prints_records(database):
    rows = json.loads(command("psweep-db2json", database))
    assert [(row["a"], row["y"], row["_pset_seq"]) for row in rows] == [(1, 2, 0), (2, 4, 1)]


def test_db2json_takes_an_orient(database):
    split = json.loads(command("psweep-db2json", "-o", "split", database))
    assert split["columns"][0] == "a"
    assert "not one of" in command("psweep-db2json", "-o", "tree", database, code=2)


def test_db2table_hides_book_keeping_and_index(database):
    assert command("psweep-db2table", database).splitlines() == [
        "  a    y",
        "---  ---",
        "  1    2",
        "  2    4",
    ]


def test_db2table_shows_what_is_asked_for(database):
    assert "_run_id" in command("psweep-db2table", "-a", database)
    assert command("psweep-db2table", "-f", "pipe", database, "y", "_pset_seq").splitlines() == [
        "|   y |   _pset_seq |",
        "|----:|------------:|",
        "|   2 |           0 |",
        "|   4 |           1 |",
    ]
    assert command("psweep-db2table", "-i", database).splitlines()[2].startswith("20")


def test_db2table_names_an_unknown_column_and_those_there_are(database):
    message = command("psweep-db2table", database, "z", code=2)
    assert "no column 'z'; there are a, _run_id" in message


def test_a_file_that_is_no_database_is_named(study_folder):
    (study_folder / "README.md").write_text("# no pickle")
    message = command("psweep-db2table", "README.md", code=1)
    assert message.startswith("Error: 'README.md' cannot be read as a database: ")


@pytest.mark.parametrize("name", ["psweep-db2json", "psweep-db2table"])
def test_help_shows_an_example_on_a_line_of_its_own(name):
    lines = command(name, "--help").splitlines()
    assert any(line.strip().startswith(f"{name} ") for line in lines)
    assert not any("\\b" in line for line in lines)


def test_a_missing_file_is_named(study_folder):
    assert "nowhere.pk" in command("psweep-db2table", "nowhere.pk", code=2)


@pytest.mark.parametrize("name", ["psweep-db2json", "psweep-db2table"])
def test_a_pipe_that_closes_early_is_no_error(database, name):
    done = subprocess.run(
        f"set -o pipefail; {BIN / name} {database} | head -c 1",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_help_of_each_command_shows_an_example():
    for name, one in main_module.main.commands.items():
        lines = CliRunner().invoke(one, ["--help"]).output.splitlines()
        starts = (f"psweep-dask {name}", f"psweep-{name}")
        assert any(line.strip().startswith(starts) for line in lines), name
        assert not any("\\b" in line for line in lines), name


def test_the_commands_are_those_of_dask_psweep_too():
    assert (
        command("dask", "psweep", "--help").split()[8:]
        == command("psweep-dask", "--help").split()[7:]
    )


def test_retry_in_the_shell_takes_the_kinds_asked_for(study_folder):
    ps.run(lambda pset: {"y": 1 / pset["a"]}, ps.plist("a", [0, 1]), cluster="sync")
    command("psweep-dask", "retry", "calc", "--cluster", "sync", "--kind", "killed")
    assert len(ps.load("calc")) == 2
    command("psweep-dask", "retry", "calc", "--cluster", "sync")
    assert ps.load("calc")._attempt.tolist() == [1, 1, 2]


def test_errors_are_a_line_without_a_traceback(study_folder):
    message = command("psweep-dask", "resume", "nowhere", code=1)
    assert message.startswith("Error: there is no study in 'nowhere'")
    assert len(message.splitlines()) == 1


def test_the_tab_key_completes_commands_options_and_folders(study_folder):
    Path("calc").mkdir()

    def completed(*words):
        env = os.environ | {
            "_PSWEEP_DASK_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["psweep-dask", *words]),
            "COMP_CWORD": str(len(words)),
        }
        done = subprocess.run(
            [BIN / "psweep-dask"], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert completed("exp") == ["plain,export"]
    assert "plain,--where" in completed("export", "--")
    assert completed("status", "c")[0].startswith("file,")  # bash completes the name itself


def test_what_is_for_push_only_is_an_error_of_pull():
    said = command("psweep-pull", "cluster", "-v", "--submit", code=2)
    assert "--submit is for psweep-push cluster" in said


def test_the_help_of_submit_tells_the_defaults_that_hold():
    said = command("psweep-dask", "submit", "--help")
    assert f"before its end ({LEAD})" in said
    assert f"may follow ({FOLLOWERS})" in said
