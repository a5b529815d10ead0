"""Files on disk name no module of this package; those of a later version are an error."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pickle_scan import modules_named, pickles_in

import psweep_dask as ps
from psweep_dask.storage import pickling, plan, record
from psweep_dask.storage.plan import PlanError
from psweep_dask.storage.record import HEADER, RecordError
from psweep_dask.worker.early_rows import read_early_file
from psweep_dask.worker.work import SliceResult, Work, WorkError

OLD_STUDIES = Path(__file__).parents[1] / "data" / "studies" / "0.1.0.dev0"

SCRIPT = """
import dataclasses
import enum
import io
import os
import signal
import time
from pathlib import Path

import numpy as np

import psweep_dask as ps
from psweep_dask import PsweepError, rng

class Mode(enum.Enum):
    FAST = 1
    SLOW = 2

@dataclasses.dataclass
class Point:
    x: float

def func(pset):
    a = pset["a"]
    if a == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(3 if a == "slow" else 0.01)
    if a == 1:
        raise PsweepError("one is too many")
    if a == 2:
        return "no dict"
    if a == 3:
        ps.intspace(1, 2, num=-1)
    try:
        ps.plist(5, 5)
    except PsweepError as err:
        error = err
    return {
        "x": rng(pset).random(),
        "mode_too": pset["mode"],
        "at": Point(pset["at"].x),
        "array": np.arange(3.0),
        "objects": np.array([Point(1), None]),
        "list": [1, (2, {3})],
        "function": ps.pgrid,
        "error": error,
        "itself": func,
    }

def psets(*last):
    values = [*range(4), *last]
    return [{"a": a, "mode": Mode.FAST, "at": Point(0.5), "w": np.ones(2)} for a in values]

def late_slice():
    from psweep_dask.params.pset import check_params
    from psweep_dask.storage import pickling
    from psweep_dask.worker.task import SlicePayload, run_slice
    from psweep_dask.worker.work import Work

    (run,) = Path("calc/runs").iterdir()  # the run that was killed
    work = Work(run.name, 0, "calc", pickling.dumps(func), cwd=os.getcwd())
    payload = SlicePayload(list(range(100, 105)), *check_params(psets("slow")))
    result = run_slice(work.pack(), "", payload.pack(), budget=1.0)
    assert result.has_early_file
"""

PARTS = {
    "killed": 'ps.run(func, psets(4, 5, 6, 7, "kill"), cluster="sync", tmpsave=True)',
    "late": "late_slice()",
    "done": "ps.run(func, psets(), cluster='sync', calc_dir='done')",
    "prepared": "ps.prep_batch(psets()[:2], func=func, calc_dir='prepared')",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with studies of all kinds of files, made by a script."""
    folder = tmp_path_factory.mktemp("written")
    machine = folder / "templates/machines/local"
    machine.mkdir(parents=True)
    (machine / "info.yaml").write_text("subcmd: sh\n")
    (machine / "jobscript").write_text("#!/bin/sh\npython -m psweep_dask.offline.job\n")
    script = folder / "script.py"
    for part, call in PARTS.items():
        script.write_text(f"{SCRIPT}\nif __name__ == '__main__':\n    {call}\n")
        done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True)
        assert done.returncode == (-9 if part == "killed" else 0), done.stderr
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["sh", "prepared/run_local.sh"]  # one of the two jobs fails
    subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    assert len(list(folder.glob("prepared/*/record.pk"))) == 2
    return folder


FILES = [
    "calc/runs/*/plan.pk",
    "calc/runs/*/journal",
    "calc/runs/*/early/100.slice",
    "calc/tmpsave/*/*.pk",
    "done/database.pk",
    "prepared/database.pk",
    "prepared/runs/*/work.pk",
    "prepared/*/pset.pk",
    "prepared/*/record.pk",
]


@pytest.mark.parametrize("pattern", FILES)
def test_format_names_no_module_of_this_package(written, pattern):
    paths = list(written.glob(pattern))
    assert paths
    for path in paths:
        named = modules_named(path.read_bytes())
        assert named
        assert not [module for module in named if module.startswith("psweep_dask.")]


def test_format_is_scanned_in_all_files_that_are_written(written):
    scanned = {path for pattern in FILES for path in written.glob(pattern)}
    pickled = {
        path
        for study in ("calc", "done", "prepared")
        for path in (written / study).rglob("*")
        if path.is_file() and list(pickles_in(path.read_bytes()))
    }
    assert {path.relative_to(written) for path in pickled - scanned} == {
        path.relative_to(written) for path in written.glob("done/runs/*/plan.pk")
    } | {path.relative_to(written) for path in written.glob("prepared/runs/*/plan.pk")}


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("tmpsave/calc/runs/*/plan.pk", {"psweep_dask.work", "psweep_dask.errors"}),
        ("tmpsave/calc/runs/*/journal", {"psweep_dask.record"}),
        ("dead/calc/runs/*/early/18.slice", {"psweep_dask.glimpse", "psweep_dask.record"}),
        ("done/calc/database.pk", {"psweep_dask.pickling"}),
    ],
)
def test_format_of_the_version_before_is_found_to_name_modules(pattern, named):
    (path,) = OLD_STUDIES.glob(pattern)
    assert named <= modules_named(path.read_bytes())


def test_format_of_errors_of_this_package_is_their_public_base(written):
    (database,) = written.glob("done/database.pk")
    df = ps.df_read(database)
    assert {type(error) for error in df.error.dropna()} == {ps.PsweepError}
    assert df.function.iloc[0] is ps.pgrid
    assert "BadResultError: func must return a dict" in df._exc_txt.iloc[2]


@pytest.fixture
def killed(written, study_folder):
    """A copy of the study that was killed, to work in, and the folder of its run."""
    shutil.copytree(written / "calc", study_folder / "calc")
    (run,) = (study_folder / "calc" / "runs").iterdir()
    return run


def rewrite(path, change):
    """Change what the first frame of a file holds."""
    first, *others = record.read_frames(io.BytesIO(path.read_bytes()))
    changed = pickling.dumps(change(pickling.loads(first)))
    path.write_bytes(b"".join(map(record.to_frame, [changed, *others])))


def newer(content):
    """The same content in a format that this version does not know."""
    if isinstance(content, dict):
        return {**content, "format": content["format"] + 1}
    number, *others = content
    return (number + 1, *others, "new")


@pytest.mark.parametrize("action", [ps.load, lambda: ps.resume(cluster="sync")])
def test_format_of_a_later_journal_is_an_error(killed, action):
    rewrite(killed / "journal", newer)
    with pytest.raises(
        RecordError,
        match=r"^a journal has format 3, and this version of psweep_dask knows formats up to 2: a "
        "later version has written it; install that version to read it$",
    ):
        action()


def test_format_of_a_later_plan_is_an_error(killed):
    rewrite(killed / "plan.pk", newer)
    with pytest.raises(PlanError, match=r"^the plan has format 3, .* a later version has written"):
        plan.load(io.BytesIO((killed / "plan.pk").read_bytes()))
    with pytest.raises(ps.PsweepError, match="the plan has format 3"):
        ps.resume(cluster="sync")


def test_format_of_later_work_is_an_error(killed):
    def with_newer_work(head):
        return {**head, "work": pickling.dumps(newer(pickling.loads(head["work"])))}

    rewrite(killed / "plan.pk", with_newer_work)
    with pytest.raises(WorkError, match=r"^the work of a run has format 4, .* a later version has"):
        ps.resume(cluster="sync")


@pytest.mark.parametrize("action", [ps.load, lambda: ps.resume(cluster="sync")])
def test_format_of_later_early_rows_is_an_error(killed, action):
    rewrite(killed / "early" / "100.slice", newer)
    message = "^the result of a slice has format 4, .* a later version has written it"
    with pytest.raises(RecordError, match=message):
        read_early_file(killed / "early" / "100.slice")
    with pytest.raises(RecordError, match=message):
        action()


def test_format_of_today_is_read_by_today(killed):
    before = ps.load()
    assert {"kill", "slow"}.isdisjoint(before.a)
    work = Work.unpack(plan.load(io.BytesIO((killed / "plan.pk").read_bytes()))[1])
    assert work.load_func().__name__ == "func"
    early = read_early_file(killed / "early" / "100.slice")
    assert early.seqs() == set(range(100, 104))
    assert early.failed == {"PsweepError": 1, "BadResultError": 1, "ParamsError": 1}
    again = SliceResult.unpack(early.pack())
    assert again == early
    payload = (killed / "journal").read_bytes()[HEADER.size :]
    assert pickle.loads(payload)[0] == record.FORMAT
