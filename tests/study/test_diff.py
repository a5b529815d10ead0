"""What differed between two runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psweep_dask as ps
from psweep_dask.storage.layout import Layout
from psweep_dask.study.diff import compare_runs
from psweep_dask.study.runs import all_runs

COMMAND = str(Path(sys.executable).with_name("psweep-dask"))


def compare_both():
    return list(compare_runs(*all_runs(Layout("calc"))))


def func(pset):
    return {"y": 1}


def other_func(pset):
    return {"y": 2}


def test_diff_of_the_same_twice_is_empty():
    ps.run(func, [{"a": 1}], cluster="sync")
    ps.run(func, [{"a": 2}], cluster="sync")
    assert compare_both() == []


def test_diff_shows_code_packages_and_number_of_psets(study_folder):
    ps.run(func, [{"a": 1}], cluster="sync")
    ps.run(other_func, [{"a": 2}, {"a": 3}], cluster="local")
    path = all_runs(Layout("calc"))[1].folder.info_path
    info = json.loads(path.read_text())
    info["packages"] |= {"numpy": "0.1", "new": "1.0"}
    del info["check"]  # the checksum by which an edit is seen
    path.write_text(json.dumps(info))
    lines = compare_both()
    assert "func: func -> other_func" in lines
    assert "psets: 1 -> 2" in lines
    assert "cluster kind: sync -> local" in lines
    assert "new: (none) -> 1.0" in lines
    assert any(line.startswith("numpy: ") and line.endswith(" -> 0.1") for line in lines)
    assert '-    return {"y": 1}' in lines
    assert '+    return {"y": 2}' in lines


def test_diff_shows_what_git_had_not_committed(study_folder):
    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *identity, *words], check=True, capture_output=True)

    Path(".gitignore").write_text("calc\n")
    Path("model.py").write_text("A = 1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    ps.run(func, [{"a": 1}], cluster="sync")
    Path("model.py").write_text("A = 2\n")
    ps.run(func, [{"a": 2}], cluster="sync")
    lines = compare_both()
    assert "git dirty: False -> True" in lines
    assert "++A = 2" in lines
    printed = subprocess.run([COMMAND, "runs"], capture_output=True, text=True, check=True).stdout
    assert printed.count(" + changes") == 1


def test_diff_command_says_if_nothing_differed():
    ps.run(func, [{"a": 1}], cluster="sync")
    done = subprocess.run([COMMAND, "diff", "0", "0"], capture_output=True, text=True, check=True)
    assert done.stdout == "no known difference\n"
