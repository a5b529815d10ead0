"""The group of all commands, as it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.terminal import BIN_DIR, psweep_dask, run_command

import psweep_dask as ps
from psweep_dask.cli.main import main

COMMANDS = {
    **{f"psweep-dask {name}": command for name, command in main.commands.items()},
    **{
        point.name: point.load()
        for point in entry_points(group="console_scripts")
        if point.value.startswith("psweep_dask.") and point.name != "psweep-dask"
    },
}


def test_commands_are_all_there():
    assert set(COMMANDS) - {f"psweep-dask {name}" for name in main.commands} == {
        "psweep-db2json",
        "psweep-db2table",
        "psweep-pull",
        "psweep-push",
    }
    assert len(main.commands) == 22


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_shows_an_example_on_a_line_of_its_own(name):
    lines = CliRunner().invoke(COMMANDS[name], ["--help"]).output.splitlines()
    names = (name, name.replace("psweep-dask ", "psweep-"))  # push and pull are commands too
    examples = [line for line in lines if line.startswith("  ") and line.strip().startswith(names)]
    assert examples
    assert not any("\\b" in line for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_option_is_a_sentence(name):
    for option in COMMANDS[name].params:
        text = getattr(option, "help", None)  # arguments are explained above the options
        if text is not None:
            assert text[0].isupper() or text[0] in "-.", (name, option.name, text)


def test_help_imports_nothing_that_takes_long():
    code = """
import sys
from psweep_dask.cli.main import main
for words in (["--help"], ["status", "--help"]):
    main(words, standalone_mode=False)
print({"bokeh", "dask", "distributed", "numpy", "pandas", "tabulate"} & {*sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_version_is_that_of_the_package():
    assert psweep_dask("--version") == f"psweep_dask, version {ps.__version__}\n"


def test_commands_are_those_of_dask_psweep_too():
    ours = psweep_dask("--help").split()
    of_dask = run_command("dask", "psweep", "--help").split()
    assert ours[1:7] == ["psweep-dask", "[OPTIONS]", "COMMAND", "[ARGS]...", "Look", "at"]
    assert of_dask[of_dask.index("Look") :] == ours[ours.index("Look") :]


def test_exit_status_is_1_after_an_error_and_2_if_the_command_is_wrong(study_folder):
    message = psweep_dask("resume", "nowhere", code=1)
    assert message.startswith("Error: there is no study in 'nowhere'")
    assert len(message.splitlines()) == 1  # no traceback
    assert "No such command 'fly'" in psweep_dask("fly", code=2)
    assert "No such option" in psweep_dask("resume", "--fly", code=2)


def test_tab_key_completes_commands_options_and_folders(study_folder):
    Path("calc").mkdir()

    def completed(*words):
        env = os.environ | {
            "_PSWEEP_DASK_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["psweep-dask", *words]),
            "COMP_CWORD": str(len(words)),
        }
        done = subprocess.run(
            [BIN_DIR / "psweep-dask"], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert completed("exp") == ["plain,export"]
    assert "plain,--where" in completed("export", "--")
    assert completed("status", "c")[0].startswith("file,")  # bash completes the name itself
