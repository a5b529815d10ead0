"""Two runs are told apart by what their stories say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import psweep_dask as ps
from psweep_dask.storage.layout import Layout
from psweep_dask.study.diff import CompareError, differences, find_run

COMMAND = str(Path(sys.executable).with_name("psweep-dask"))


def compared():
    layout = Layout("calc")
    return list(differences(find_run(layout, "0"), find_run(layout, "1")))


def func(pset):
    return {"y": 1}


def other_func(pset):
    return {"y": 2}


def test_the_same_twice_differs_in_nothing():
    ps.run(func, [{"a": 1}], cluster="sync")
    ps.run(func, [{"a": 2}], cluster="sync")
    assert compared() == []


def test_code_packages_and_number_of_psets(study_folder):
    ps.run(func, [{"a": 1}], cluster="sync")
    ps.run(other_func, [{"a": 2}, {"a": 3}], cluster="local")
    (path,) = [
        one for one in Path("calc/runs").glob("*/run.json") if '"run_seq": 1' in one.read_text()
    ]
    info = json.loads(path.read_text())
    info["packages"] |= {"numpy": "0.1", "new": "1.0"}
    del info["check"]  # that nothing in it was edited
    path.write_text(json.dumps(info))
    lines = compared()
    assert "func: func -> other_func" in lines
    assert "psets: 1 -> 2" in lines
    assert "cluster kind: sync -> local" in lines
    assert "new: (none) -> 1.0" in lines
    assert any(line.startswith("numpy: ") and line.endswith(" -> 0.1") for line in lines)
    assert '-    return {"y": 1}' in lines
    assert '+    return {"y": 2}' in lines


def test_what_git_had_not_committed(study_folder):
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
    lines = compared()
    assert "git dirty: False -> True" in lines
    assert "++A = 2" in lines
    said = subprocess.run([COMMAND, "runs"], capture_output=True, text=True, check=True).stdout
    assert said.count(" + changes") == 1


def test_runs_are_found_by_their_id_or_number():
    df = ps.run(func, [{"a": 1}], cluster="sync")
    run_id = df._run_id.iloc[0]
    assert find_run(Layout("calc"), run_id[:9]).run_id == run_id
    told = rf"no run has the number zz, or an id that begins so: 0 \({run_id[:8]}\)"
    with pytest.raises(CompareError, match=told):
        find_run(Layout("calc"), "zz")
    done = subprocess.run([COMMAND, "diff", "0", "0"], capture_output=True, text=True, check=True)
    assert done.stdout == "nothing that is known differed\n"
