"""Jobs that wait, are cancelled, never start, lose their node or reach their walltime."""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack

import pytest
from helpers import slurm_lab
from helpers.driver_process import wait_until


@pytest.mark.slow
def test_pending_jobs_are_waited_for_and_replaced_when_cancelled(study_folder):
    others = slurm_lab.occupy("-N2", "--exclusive")
    wait_until(lambda: slurm_lab.states() == ["RUNNING"])
    slurm_lab.write_machine(study_folder, **slurm_lab.TWO_BY_TWO)
    options = "cluster='lab', progress=True"
    with slurm_lab.driving(
        study_folder, body="    time.sleep(0.05)", count=20, options=options
    ) as driver:
        name = slurm_lab.jobs_of(study_folder)
        waits = re.compile(r"2 pending \((Resources|Priority)\)")
        slurm_lab.wait_with(driver, lambda: waits.search(slurm_lab.said(study_folder)))
        first, second = slurm_lab.jobs(name)
        slurm_lab.ask("scancel", first)
        slurm_lab.wait_with(
            driver,
            lambda: first not in slurm_lab.jobs(name) and slurm_lab.states(name) == ["PENDING"] * 2,
        )
        assert second in slurm_lab.jobs(name)
        slurm_lab.ask("scancel", others)
        assert driver.wait(60) == 0
    slurm_lab.assert_all_ok(study_folder, 20)
    assert sorted(slurm_lab.begun(study_folder)) == list(range(20))


@pytest.mark.slow
def test_pending_jobs_are_logged_with_their_reason_without_a_bar(study_folder):
    others = slurm_lab.occupy("-N2", "--exclusive")
    wait_until(lambda: slurm_lab.states() == ["RUNNING"])
    slurm_lab.write_machine(study_folder)
    with slurm_lab.driving(study_folder) as driver:
        waits = re.compile(r"2 pending \((Resources|Priority)\)")
        slurm_lab.wait_with(driver, lambda: waits.search(slurm_lab.said(study_folder)))
        driver.send_signal(signal.SIGINT)
        assert driver.wait(20) == 0
    slurm_lab.ask("scancel", others)


@pytest.mark.slow
def test_cancelled_jobs_and_lost_nodes_cost_no_attempt(study_folder):
    slurm_lab.write_machine(study_folder, **slurm_lab.TWO_BY_TWO)
    with slurm_lab.driving(study_folder, body="    wait_for('go', 0.5)", count=300) as driver:
        slurm_lab.wait_with(driver, lambda: len(slurm_lab.begun(study_folder)) > 8)
        name = slurm_lab.jobs_of(study_folder)
        (first, _), (second, (_, node)) = slurm_lab.jobs(name).items()

        def replaced(lost):
            return lost not in slurm_lab.jobs(name) and slurm_lab.states(name) == ["RUNNING"] * 2

        slurm_lab.ask("scancel", first)
        slurm_lab.wait_with(driver, lambda: replaced(first))
        slurm_lab.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        slurm_lab.wait_with(driver, lambda: second not in slurm_lab.jobs(name))
        slurm_lab.bring_back(node)
        slurm_lab.wait_with(driver, lambda: replaced(second))
        (study_folder / "go").touch()
        assert driver.wait(60) == 0
    slurm_lab.assert_all_ok(study_folder, 300)
    assert set(slurm_lab.begun(study_folder)) == set(range(300))
    assert len(slurm_lab.begun(study_folder)) <= 300 + 4  # the psets that ran on what was lost


@pytest.mark.slow
def test_failed_jobs_without_worker_end_the_run_with_the_reason(study_folder):
    """One starts at the second try; the others end the run, and the error has the reason."""
    (study_folder / "no_python").write_text(
        "#!/bin/sh\nsleep 0.1\necho no python here >&2\nexit 4\n"
    )
    (study_folder / "no_python").chmod(0o755)
    bad = "echo 'module: no such module' >&2; exit 3"
    flaky = "mkdir tried 2>/dev/null && exit 3"
    machines = {
        "prologue": {"jobs": 2, "job_script_prologue": [bad]},
        "python": {"jobs": 1, "python": str(study_folder / "no_python")},
        "refused": {"jobs": 1, "cores": 64, "processes": 1},
        "flaky": {"jobs": 1, "job_script_prologue": [flaky]},
    }
    folders = {
        name: slurm_lab.folder_for(study_folder, name, lab) for name, lab in machines.items()
    }
    with ExitStack() as stack:
        drivers = {
            name: stack.enter_context(slurm_lab.driving(folder)) for name, folder in folders.items()
        }
        ended = {name: driver.wait(60) for name, driver in drivers.items()}
    said = {name: slurm_lab.said(folder) for name, folder in folders.items()}
    assert ended == {"prologue": 1, "python": 1, "refused": 1, "flaky": 0}
    for name, line, code in [
        ("prologue", "module: no such module", 3),
        ("python", "no python here", 4),
    ]:
        error = said[name][said[name].index("ExecutorError: ") :]
        assert "3 jobs in a row have ended without a worker of theirs" in error
        assert re.search(r"the last, job \d+, as FAILED \(NonZeroExitCode\)", error), code
        assert re.search(r"should reach the scheduler at tls://[\d.]+:\d+;", error)
        assert f"\n    {line}\n" in error
    refusal = "More processors requested than permitted"
    error = said["refused"][said["refused"].index("ExecutorError: ") :]
    assert "the batch system takes no job: sbatch: error: " in error
    assert refusal in error
    assert "correct cores: below jobqueue: in info.yaml" in error
    slurm_lab.assert_all_ok(folders["flaky"], 4)
    assert [len(slurm_lab.begun(folder)) for folder in folders.values()] == [0, 0, 0, 4]


@pytest.mark.slow
def test_walltime_costs_nothing_and_a_pset_that_never_fits_is_a_row(study_folder):
    """Jobs of a minute, which SLURM ends after 60 to 90 s."""
    short = slurm_lab.folder_for(study_folder, "short", {"jobs": 1, "walltime": "1"})
    long = slurm_lab.folder_for(study_folder, "long", {"jobs": 1, "walltime": "0:20"})
    body = """
    time.sleep(5)
    return {"job": os.environ["SLURM_JOB_ID"]}
"""
    with ExitStack() as stack:
        drivers = [
            stack.enter_context(slurm_lab.driving(short, body=body, count=13)),
            stack.enter_context(slurm_lab.driving(long, body="    time.sleep(300)", count=1)),
        ]
        assert [driver.wait(150) for driver in drivers] == [0, 0]
    df = slurm_lab.assert_all_ok(short, 13)
    assert sorted(slurm_lab.begun(short)) == list(range(13))
    assert df.job.nunique() == 2
    assert "were lost" not in slurm_lab.said(short)
    (row,) = slurm_lab.rows(long).itertuples()
    assert row[slurm_lab.rows(long).columns.get_loc("_status") + 1] == "killed"
    assert slurm_lab.begun(long) == [0]
    assert re.search(
        r"the walltime of its job, 60 s, ended the pset after \d\d s.*: the pset takes longer than",
        slurm_lab.said(long),
    )
