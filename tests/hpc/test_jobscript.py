from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from helpers.driver_process import wait_until
from helpers.offline_study import write

from psweep_dask.hpc.jobscript import (
    JobscriptError,
    add_end_lines,
    interpreter,
    is_shell,
    output_patterns,
    read_directives,
    read_job_end,
)

SHELLS = ["sh", "bash", "dash"]


def run(script, **options):
    write({"job/script": add_end_lines(script, "script")})
    return subprocess.run(
        [*interpreter(script), "script"], cwd="job", capture_output=True, text=True, **options
    )


def end():
    return read_job_end(Path("job/ended").read_text())


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("body", "code"),
    [("true", 0), ("exit 3", 3), ("set -eu\nfalse\ntrue", 1), ("cd /; exit 2", 2)],
)
def test_end_of_a_shell_script_is_written_down(shell, body, code):
    start = int(time.time())
    done = run(f"#!/usr/bin/env {shell}\n{body}\n")
    assert (done.returncode, done.stderr) == (code, "")
    assert end().exit_code == code
    assert start <= end().begun <= end().ended <= time.time()
    assert end().host == os.uname().nodename


@pytest.mark.parametrize("shell", SHELLS)
def test_end_of_a_script_that_is_asked_to_end_is_not_written_down(shell):
    script = f"#!/usr/bin/env {shell}\necho >here\nsleep 60\n"
    write({"job/script": add_end_lines(script, "script")})
    with subprocess.Popen([shell, "script"], cwd="job", start_new_session=True) as process:
        wait_until(lambda: Path("job/here").exists())
        wait_until(psutil.Process(process.pid).children)  # which must hear it too
        os.killpg(process.pid, signal.SIGTERM)  # as a batch system does
        assert process.wait(timeout=20) != 0
    assert not Path("job/ended").exists()


def test_end_shows_a_killed_program_by_its_exit_code():
    run("#!/bin/sh\nsh -c 'kill -9 $$'\n")
    assert end().exit_code == 128 + 9


@pytest.mark.parametrize("name", ["PBS_O_WORKDIR", "SLURM_SUBMIT_DIR"])
def test_end_of_a_job_that_starts_elsewhere_is_written_where_it_was_submitted(tmp_path, name):
    script = add_end_lines("#!/bin/sh\nexit 4\n", "it's a script")
    write({"job/it's a script": script, "elsewhere/x": ""})
    command, submitted = ["sh", "../job/it's a script"], {name: str(tmp_path / "job")}
    subprocess.run(command, cwd="elsewhere", env=os.environ | submitted, check=False)
    assert end().exit_code == 4
    Path("job/ended").unlink()
    inside = {name: str(tmp_path / "elsewhere")}  # as in an interactive job
    subprocess.run(["sh", "it's a script"], cwd="job", env=os.environ | inside, check=False)
    assert end().exit_code == 4


def test_end_lines_stand_behind_the_directives_and_before_the_first_command():
    script = "#!/bin/sh\n#SBATCH -n 1\n\n# why\n  # and more\nrun\nexit\n"
    head, _, tail = add_end_lines(script, "x").partition("# Three lines of psweep_dask")
    assert head == "#!/bin/sh\n#SBATCH -n 1\n\n# why\n  # and more\n"
    assert tail.endswith("\nrun\nexit\n")


def test_end_lines_are_not_added_to_other_languages():
    for script in ["#!/usr/bin/python3\nprint(1)\n", "run without a first line\n", ""]:
        assert add_end_lines(script, "x") == script


@pytest.mark.parametrize("end_of_line", ["\r", "\f", "\x1c", "\x85", "\u2028"])
def test_end_lines_leave_a_comment_a_comment_whatever_is_in_it(end_of_line):
    script = f"#!/bin/sh\n# case {end_of_line}touch pwned\ntrue\n"
    assert f"# case {end_of_line}touch pwned\n" in add_end_lines(script, "x")
    run(script)
    assert not Path("job/pwned").exists()
    assert end().exit_code == 0


def test_end_of_a_script_without_a_command_is_written_down():
    run("#!/bin/sh\n# nothing")
    assert end().exit_code == 0


@pytest.mark.parametrize(
    ("first", "shell"),
    [
        ("#!/bin/bash -l", True),
        ("#! /usr/bin/env bash", True),
        ("#!/opt/zsh", True),
        (f"#!{sys.executable}", False),
        ("#!", False),
        ("#!/usr/bin/fish", False),
    ],
)
def test_is_shell_looks_at_the_first_line(first, shell):
    assert is_shell(first + "\necho") is shell


@pytest.mark.parametrize("text", ["", "exit_code=", "exit_code=x begun=1 ended=2 host=n"])
def test_end_that_is_half_written_is_none(text):
    assert read_job_end(text) is None


def test_directives_are_without_what_each_job_has_for_itself():
    script = (
        "#!/bin/bash\n"
        "#SBATCH --time 00:20:00\n"
        "#SBATCH -o out.job -n 4 # with a comment\n"
        '#SBATCH -J "my job" --comment="two words"\n'
        "#SBATCH --err=err --inp in\n"
        "##SBATCH --mem=1G\n"
        "echo\n"
        "#SBATCH --mem=2G\n"
    )
    directives = read_directives(script, Path("jobscript"))
    assert directives.kept == (
        "#SBATCH --time 00:20:00",
        "#SBATCH -n 4",
        '#SBATCH "--comment=two words"',
    )
    assert (directives.input, directives.output, directives.error) == ("in", "out.job", "err")
    assert directives.name == "my job"


@pytest.mark.parametrize("option", ["-a 1-3", "--array=1-3", "-D /tmp", "--chdir /tmp"])
def test_directives_that_an_array_cannot_have_are_an_error(option):
    with pytest.raises(JobscriptError, match="jobscript: '#SBATCH .*does not go with array=True"):
        read_directives(f"#!/bin/sh\n#SBATCH {option}\n", Path("jobscript"))


def test_directives_with_an_open_quote_are_an_error():
    with pytest.raises(JobscriptError, match="jobscript: '#SBATCH -J \"x' cannot be read"):
        read_directives('#!/bin/sh\n#SBATCH -J "x\n', Path("jobscript"))


def test_output_patterns_are_globs():
    assert output_patterns("#!/bin/sh\n#SBATCH -o [x]-%j -e %x.%4N\n") == ["[[]x]-*", "*.*"]
