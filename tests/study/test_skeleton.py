"""``psweep-dask init``: the files that a new study begins with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from psweep_dask.study import skeleton


def start(*arguments):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        arguments, cwd="mystudy", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def means(output):
    return [line.split() for line in output.splitlines()]


EXPECTED = [["a", "result"], ["1", "15.0"], ["2", "30.0"], ["3", "45.0"]]


def test_init_makes_a_study_that_runs_live():
    skeleton.create_study(Path("mystudy"))
    start(sys.executable, "10run.py")
    assert means(start(sys.executable, "20eval.py")) == EXPECTED


def test_init_makes_a_study_that_runs_offline_and_grows():
    skeleton.create_study(Path("mystudy"))
    start(sys.executable, "10run.py", "--offline")
    start("sh", "calc/run_local.sh")
    assert means(start(sys.executable, "20eval.py")) == EXPECTED
    script = Path("mystudy/10run.py")
    script.write_text(script.read_text().replace("[1, 2, 3]", "[1, 2, 3, 4]"))
    assert start(sys.executable, "10run.py", "--offline").count(" prepared ") == 2
    start("sh", "calc/run_local.sh")
    assert means(start(sys.executable, "20eval.py")) == [*EXPECTED, ["4", "60.0"]]


@pytest.mark.parametrize("taken", ["mystudy/20eval.py", "mystudy"])
def test_init_overwrites_nothing(taken):
    Path(taken).parent.mkdir(exist_ok=True)
    Path(taken).write_text("mine")
    with pytest.raises(skeleton.SkeletonError, match=f"'{taken}' exists; nothing was written"):
        skeleton.create_study(Path("mystudy"))
    assert Path(taken).read_text() == "mine"
    assert not Path("mystudy/10run.py").exists()


def test_init_files_are_in_the_wheel(tmp_path):
    root = Path(__file__).parents[2]
    copy = shutil.copytree(
        root, tmp_path / "copy", ignore=shutil.ignore_patterns(".venv", ".git", "calc", ".*_cache")
    )
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "-w", "dist", str(copy)]
    subprocess.run(pip, check=True, capture_output=True)
    (wheel,) = Path("dist").glob("*.whl")
    shutil.unpack_archive(wheel, "wheel", "zip")
    installed = Path("wheel/psweep_dask/skeleton_files")
    names = sorted(path.relative_to(installed) for path in installed.rglob("*") if path.is_file())
    skeleton.create_study(Path("mystudy"))
    assert names == sorted(
        path.relative_to("mystudy") for path in Path("mystudy").rglob("*") if path.is_file()
    )
