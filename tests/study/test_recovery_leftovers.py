"""What a dead run leaves; tests/integration has it with a real SLURM."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.fake_commands import command

from psweep_dask.storage.layout import PRIVATE_PREFIX, Layout
from psweep_dask.study import recovery
from psweep_dask.study.runs import StoredRun

RUN_ID = "bb32aade-6ac9-4ac2-9019-3093c5f00965"


@pytest.fixture
def past():
    past = StoredRun(Layout("calc"), {"run_id": RUN_ID})
    past.jobs_path.parent.mkdir(parents=True)
    return past


@pytest.fixture
def bin_dir(tmp_path, monkeypatch):
    """The only folder in which commands are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.usefixtures("bin_dir")
def test_a_run_that_has_left_nothing_is_not_worth_a_word(past, caplog):
    recovery.clear_leftovers(past)
    assert caplog.messages == []


@pytest.mark.usefixtures("bin_dir")
def test_credentials_are_removed_and_nothing_else(past):
    run_dir = past.jobs_path.parent
    private = run_dir / f"{PRIVATE_PREFIX}x1y2"
    private.mkdir(mode=0o700)
    (private / "key.pem").write_text("secret")
    (run_dir / "logs").mkdir()
    (run_dir / "plan.pk").touch()
    recovery.clear_leftovers(past)
    assert sorted(one.name for one in run_dir.iterdir()) == ["logs", "plan.pk"]


@pytest.mark.usefixtures("bin_dir")
def test_jobs_that_cannot_be_cancelled_from_here_are_told_and_remembered(past, caplog):
    past.jobs_path.write_text("17 psweep-bb32aade\n")
    recovery.clear_leftovers(past)
    assert caplog.messages == [
        f"run {RUN_ID} has left jobs that cannot be cancelled from here, see {past.jobs_path}"
    ]
    assert past.jobs_path.read_text() == "17 psweep-bb32aade\n"


def test_jobs_that_stay_all_the_same_are_remembered(past, bin_dir, caplog):
    command(bin_dir, "squeue", "exit 0")
    command(bin_dir, "scancel", "echo 'Unable to contact slurm controller' >&2; exit 1")
    past.jobs_path.write_text("17 psweep-bb32aade\n18 psweep-bb32aade\n")
    recovery.clear_leftovers(past)
    assert caplog.messages == [
        f"the jobs psweep-bb32aade that run {RUN_ID} has left stay: "
        "Unable to contact slurm controller"
    ]
    assert past.jobs_path.exists()


def test_a_line_that_the_driver_did_not_finish_writing_does_no_harm(past, bin_dir):
    command(bin_dir, "squeue", "exit 0")
    command(bin_dir, "scancel", 'echo "$@" >> cancelled')
    past.jobs_path.write_text("17 psweep-bb32aade\n18")
    recovery.clear_leftovers(past)
    (line,) = Path("cancelled").read_text().splitlines()
    assert line.split()[-1] == "--name=psweep-bb32aade"
    assert not past.jobs_path.exists()
